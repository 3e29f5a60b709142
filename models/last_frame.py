"""The last frame, repeated: no parameters, and what every other architecture has to beat."""

from models.predictor import Predictor
from utils.stack import F


def build(history, horizon, channels, size):
    """The baseline that beats a plain convolution in the lecture of lukas/ml-class."""
    return LastFrame(history, horizon, channels)


class LastFrame(Predictor):
    """Predicts that nothing moves."""

    def pyramid(self, past):
        """past (B, history, C, H, W) -> [(B, horizon, C, H, W)]."""
        return [F.repeat(past[:, -1:], self.horizon, axis=1)]
