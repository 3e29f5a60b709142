"""The multi-scale generator of team-pragmatic-chaos (2017) that sees 8 frames, model_GAN_8."""

from models.multiscale import MultiScale
from models.pyramids import PYRAMIDS, factors_of

# Kernels and feature maps of each scale, coarse to fine, but for the frames themselves.
KERNELS = ((3, 3, 3, 3), (5, 3, 3, 3), (5, 5, 5, 5), (7, 5, 5, 5, 5))
MAPS = ((16, 32, 64), (16, 32, 64), (32, 64, 128), (32, 64, 128, 128))


def build(history, horizon, channels, size, pyramid=None):
    """The published kernels and feature maps, as a MultiScale of any history and horizon.

    The published network predicts one frame from 8, the next 7 by feeding it back. It has no sum
    with the enlarged guess, which it resizes bilinearly, and its own narrower discriminators, which
    do not see the past (as with --unconditional-dis).

    pyramid: shorter sides from coarse to fine, the last one the clips'; theirs is 8-16-32-64.
    """
    factors = factors_of(pyramid, size, PYRAMIDS | {64: "8-16-32-64"})
    return MultiScale(history, horizon, channels, factors, MAPS, KERNELS)
