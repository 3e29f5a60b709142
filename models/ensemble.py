"""Three ways to predict side by side, after a leading entry of the wandb/catz benchmark."""

import numpy as np

from models.blocks import NEARLY_ZERO
from models.conv3d_residual import Conv3DResidual
from models.convlstm_residual import ConvLSTMResidual
from models.last_frame import LastFrame
from models.predictor import Predictor, stacked, unstacked
from utils.stack import F, L, chainer


def build(history, horizon, channels, size):
    """The output is linear and may leave [-1, 1] slightly.

    The video about that entry names neither its members nor its kernel; here they are the three
    predictors that the video teaches, and 3x3.
    """
    return Ensemble(history, horizon, channels)


class Ensemble(Predictor):
    """Three predictions as channels of one image, joined by a convolution."""

    def __init__(self, history, horizon, channels):
        super().__init__(history, horizon, channels)
        networks = LastFrame, Conv3DResidual, ConvLSTMResidual
        ways = [network(history, horizon, channels) for network in networks]
        made = horizon * channels
        with self.init_scope():
            self.ways = chainer.ChainList(*ways)
            self.join = L.Convolution2D(len(ways) * made, made, 3, pad=1, initialW=NEARLY_ZERO)
        # It begins with their mean.
        self.join.W.array[:, :, 1, 1] = np.tile(np.eye(made) / len(ways), len(ways))

    def pyramid(self, past):
        """past (B, history, C, H, W) -> [(B, horizon, C, H, W)]."""
        predictions = [stacked(way.pyramid(past)[-1]) for way in self.ways]
        return [unstacked(self.join(F.concat(predictions, axis=1)), self.channels)]
