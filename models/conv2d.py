"""One 3x3 convolution over the stacked frames, linear; lukas/ml-class has a ReLU."""

from models.predictor import Predictor, stacked, unstacked
from utils.stack import L


def build(history, horizon, channels, size):
    """The smallest network that can learn; its output is linear and may leave [-1, 1] slightly."""
    return Conv2D(history, horizon, channels)


class Conv2D(Predictor):
    """Each predicted value is a weighted sum of the 3x3 pixels around it in all past frames."""

    def __init__(self, history, horizon, channels):
        super().__init__(history, horizon, channels)
        with self.init_scope():
            self.convolution = L.Convolution2D(history * channels, horizon * channels, 3, pad=1)

    def pyramid(self, past):
        """past (B, history, C, H, W) -> [(B, horizon, C, H, W)]."""
        return [unstacked(self.convolution(stacked(past)), self.channels)]
