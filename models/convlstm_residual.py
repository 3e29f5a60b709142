"""The last frame with a ConvLSTM's corrections, the second hybrid of lukas/ml-class."""

from models.blocks import NEARLY_ZERO
from models.chance import GaussianNoise
from models.convlstm import ConvLSTM
from models.predictor import Predictor, unstacked
from utils.stack import L


def build(history, horizon, channels, size, maps=6, noise=0.0):
    """The sum may leave [-1, 1] slightly.

    maps: feature maps of the ConvLSTM.
    noise: the scale of GaussianNoise on the past; the benchmark's is 0.1.
    """
    return ConvLSTMResidual(history, horizon, channels, maps, noise)


class ConvLSTMResidual(Predictor):
    """The ConvLSTM's state after the last frame becomes a correction for each future one."""

    def __init__(self, history, horizon, channels, maps=6, noise=0.0):
        super().__init__(history, horizon, channels)
        with self.init_scope():
            self.noise = GaussianNoise(noise)
            self.convlstm = ConvLSTM(channels, maps)
            self.change = L.Convolution2D(maps, horizon * channels, 3, pad=1, initialW=NEARLY_ZERO)

    def pyramid(self, past):
        """past (B, history, C, H, W) -> [(B, horizon, C, H, W)]."""
        past = self.noise(past)
        _, (h, _) = self.convlstm(past)
        return [past[:, -1:] + unstacked(self.change(h), self.channels)]
