"""The baseline of the wandb/catz benchmark: convolutions at full and at half size."""

from models.blocks import convolution
from models.predictor import Predictor, stacked, unstacked
from models.resampling import enlarge
from utils.stack import F, L

MAPS = 32


def build(history, horizon, channels, size):
    """Its output is linear and may leave [-1, 1] slightly; the benchmark's ends in a ReLU, for
    pixels from 0 to 255. The benchmark's loss is --loss mse=1."""
    return Catz(history, horizon, channels)


class Catz(Predictor):
    """A convolution of the stacked frames, the maxima of 2x2, a convolution, back up, another."""

    multiple = 2

    def __init__(self, history, horizon, channels):
        super().__init__(history, horizon, channels)
        with self.init_scope():
            self.full = convolution(history * channels, MAPS)
            self.half = convolution(MAPS, MAPS)
            self.last = L.Convolution2D(MAPS, horizon * channels, 3, pad=1)

    def pyramid(self, past):
        """past (B, history, C, H, W), H and W even -> [(B, horizon, C, H, W)]."""
        x = F.max_pooling_2d(self.full(stacked(past)), 2)
        return [unstacked(self.last(enlarge(self.half(x), 2)), self.channels)]
