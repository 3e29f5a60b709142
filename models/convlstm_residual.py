"""The last frame with a ConvLSTM's corrections, the second hybrid of wandb/catz."""

from models.chance import GaussianNoise
from models.convlstm import ConvLSTM
from models.predictor import Predictor, unstacked
from utils.stack import L, chainer


def build(history, horizon, channels, size, maps=6, noise=0.0):
    """maps: of the ConvLSTM.  noise: of the past in training, as a share of the pixels' range; the
    benchmark's is 0.1.  The sum may leave [-1, 1] slightly."""
    return ConvLSTMResidual(history, horizon, channels, maps, noise)


class ConvLSTMResidual(Predictor):
    """What the ConvLSTM has made after the last frame becomes a correction for each next one."""

    def __init__(self, history, horizon, channels, maps=6, noise=0.0):
        super().__init__(history, horizon, channels)
        with self.init_scope():
            self.noise = GaussianNoise(noise)
            self.watch = ConvLSTM(channels, maps)
            # Small first weights: what it learns from is the last frame, nearly.
            small = chainer.initializers.LeCunNormal(0.01)
            self.change = L.Convolution2D(maps, horizon * channels, 3, pad=1, initialW=small)

    def pyramid(self, past):
        past = self.noise(past)
        _, (h, _) = self.watch(past)
        return [past[:, -1:] + unstacked(self.change(h), self.channels)]
