"""The last frame with a 3D convolution's corrections, the first hybrid of wandb/catz."""

from models.chance import GaussianNoise
from models.predictor import Predictor
from utils.stack import L, chainer


def build(history, horizon, channels, size, noise=0.0):
    """noise: of the past in training, as a share of the pixels' range; the benchmark's is 0.1.
    The sum may leave [-1, 1] slightly."""
    return Conv3DResidual(history, horizon, channels, noise)


class Conv3DResidual(Predictor):
    """The convolution slides over colours, rows, columns, as in the benchmark; frames are maps."""

    def __init__(self, history, horizon, channels, noise=0.0):
        super().__init__(history, horizon, channels)
        with self.init_scope():
            self.noise = GaussianNoise(noise)
            # Small first weights: what it learns from is the last frame, nearly.
            small = chainer.initializers.LeCunNormal(0.01)
            self.change = L.Convolution3D(history, horizon, 3, pad=1, initialW=small)

    def pyramid(self, past):
        past = self.noise(past)
        return [past[:, -1:] + self.change(past)]
