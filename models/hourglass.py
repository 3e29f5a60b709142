"""A chain of ConvLSTMs that narrows, then widens, the last model of lukas/ml-class."""

import numpy as np

from models.blocks import NEARLY_ZERO
from models.chance import GaussianNoise
from models.convlstm import ConvLSTM, NormalisedConvLSTM
from models.predictor import Predictor, per_frame, unstacked
from models.resampling import enlarge
from utils.stack import F, L


def build(history, horizon, channels, size, maps=4, noise=0.0):
    """The output is linear and may leave [-1, 1] slightly.

    maps: feature maps at full size; there are twice as many at half, four times at a quarter of it.
    noise: the scale of GaussianNoise on the past; the benchmark's is 0.1.
    """
    return Hourglass(history, horizon, channels, maps, noise)


class Hourglass(Predictor):
    """ConvLSTMs at full, half and quarter size, then back up, beside the last frame.

    The benchmark adds the map of half size to what comes up again, then joins the result to the
    last frame, for a 1x1 convolution to choose from at each pixel. Its dropout of 0.2 is left out.
    """

    multiple = 4

    def __init__(self, history, horizon, channels, maps, noise):
        super().__init__(history, horizon, channels)
        with self.init_scope():
            self.noise = GaussianNoise(noise)
            self.full = NormalisedConvLSTM(channels, maps)
            self.half = NormalisedConvLSTM(maps, 2 * maps)
            self.quarter = ConvLSTM(2 * maps, 4 * maps)
            self.up = NormalisedConvLSTM(4 * maps, 4 * maps)
            self.half_again = NormalisedConvLSTM(4 * maps, 2 * maps)
            self.full_again = NormalisedConvLSTM(2 * maps, maps)
            self.choose = L.Convolution2D(
                channels + maps, horizon * channels, 1, initialW=NEARLY_ZERO
            )
        # It begins by choosing the last frame, nearly.
        self.choose.W.array[:, :channels, 0, 0] = np.tile(np.eye(channels), (horizon, 1))

    def pyramid(self, past):
        """past (B, history, C, H, W), H and W multiples of 4 -> [(B, horizon, C, H, W)]."""
        past = self.noise(past)
        full, _ = self.full(past)
        half, _ = self.half(per_frame(shrunk, full))
        quarter, _ = self.quarter(per_frame(shrunk, half))
        up, _ = self.up(enlarge(quarter, 2))
        half_again, _ = self.half_again(up)
        full_again, _ = self.full_again(enlarge(half + half_again, 2))
        chosen = self.choose(F.concat([past[:, -1], full_again[:, -1]], axis=1))
        return [unstacked(chosen, self.channels)]


def shrunk(images):
    """(N, C, H, W) -> (N, C, H/2, W/2), the maximum of each 2x2."""
    return F.max_pooling_2d(images, 2)
