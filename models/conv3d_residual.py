"""The last frame with a 3D convolution's corrections, the first hybrid of lukas/ml-class."""

from models.blocks import NEARLY_ZERO
from models.chance import GaussianNoise
from models.predictor import Predictor
from utils.stack import L


def build(history, horizon, channels, size, noise=0.0):
    """The sum may leave [-1, 1] slightly.

    noise: the scale of GaussianNoise on the past; the benchmark's is 0.1.
    """
    return Conv3DResidual(history, horizon, channels, noise)


class Conv3DResidual(Predictor):
    """As in the benchmark, frames are the maps; the kernel slides over colours, rows, columns."""

    def __init__(self, history, horizon, channels, noise=0.0):
        super().__init__(history, horizon, channels)
        with self.init_scope():
            self.noise = GaussianNoise(noise)
            self.change = L.Convolution3D(history, horizon, 3, pad=1, initialW=NEARLY_ZERO)

    def pyramid(self, past):
        """past (B, history, C, H, W) -> [(B, horizon, C, H, W)]."""
        past = self.noise(past)
        return [past[:, -1:] + self.change(past)]
