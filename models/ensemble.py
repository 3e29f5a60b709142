"""Three ways to predict side by side, after a leading entry of the wandb/catz benchmark."""

import numpy as np

from models.conv3d_residual import Conv3DResidual
from models.convlstm_residual import ConvLSTMResidual
from models.last_frame import LastFrame
from models.predictor import Predictor, stacked, unstacked
from utils.stack import F, L, chainer


def build(history, horizon, channels, size):
    """The video that tells of it names neither ways nor kernel: here the three ways it teaches, and
    3x3.  The output is linear and may leave [-1, 1] slightly."""
    return Ensemble(history, horizon, channels)


class Ensemble(Predictor):
    """The predictions side by side, joined by a convolution that begins with their mean."""

    def __init__(self, history, horizon, channels):
        super().__init__(history, horizon, channels)
        ways = [
            way(history, horizon, channels) for way in (LastFrame, Conv3DResidual, ConvLSTMResidual)
        ]
        made = horizon * channels
        with self.init_scope():
            self.ways = chainer.ChainList(*ways)
            small = chainer.initializers.LeCunNormal(0.01)
            self.join = L.Convolution2D(len(ways) * made, made, 3, pad=1, initialW=small)
        self.join.W.array[:, :, 1, 1] = np.tile(np.eye(made) / len(ways), len(ways))

    def pyramid(self, past):
        predictions = [stacked(way.pyramid(past)[-1]) for way in self.ways]
        return [unstacked(self.join(F.concat(predictions, axis=1)), self.channels)]
