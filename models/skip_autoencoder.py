"""The autoencoder with skip connections of team-pragmatic-chaos (2017), model_skip_autoencoder."""

from itertools import pairwise

from models.blocks import convolution, deconvolution, narrowed, transposed_convolution
from models.predictor import Predictor, stacked, unstacked
from models.squash import squash
from utils.stack import F, chainer

MAPS = 32, 64, 128, 256, 512


def build(history, horizon, channels, size, width="paper"):
    """The published network, trained with --alpha 2 --lr-gen 4e-4.

    width: "paper" for the feature maps as published, "small" for an eighth of them.
    """
    return SkipAutoencoder(history, horizon, channels, narrowed(MAPS, width))


class SkipAutoencoder(Predictor):
    """Halves the frame four times, doubles it again, with a skip connection at each size."""

    def __init__(self, history, horizon, channels, maps):
        super().__init__(history, horizon, channels)
        self.multiple = 2 ** (len(maps) - 1)
        *upper, bottom = maps
        with self.init_scope():
            self.first = convolution(history * channels, maps[0])
            self.down = chainer.ChainList(*(convolution(a, b, stride=2) for a, b in pairwise(maps)))
            self.up = chainer.ChainList(deconvolution(bottom, upper[-1], stride=2))
            for above, below in zip(upper[-2::-1], upper[:0:-1], strict=True):
                self.up.append(deconvolution(2 * below, above, stride=2))
            self.last = transposed_convolution(2 * maps[0], horizon * channels, stride=1)

    def pyramid(self, past):
        """past (B, history, C, H, W), H and W multiples of 16 -> [(B, horizon, C, H, W)]."""
        x = self.first(stacked(past))
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        for up in self.up:
            x = F.concat([up(x), skips.pop()], axis=1)
        return [unstacked(squash(self.last(x)), self.channels)]
