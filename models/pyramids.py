"""The sizes at which a multi-scale network predicts, as --pyramid gives them."""

import math
from itertools import pairwise

PYRAMIDS = {16: "4-8-16", 32: "4-8-16-32", 64: "4-8-16-32-64"}  # {shorter side of clips: usual one}


def factors_of(pyramid, size, usual=PYRAMIDS):
    """How much smaller than clips of `size` each scale of `pyramid` is: "4-8-16" -> [4, 2, 1].

    None stands for usual[shorter side of the clips]. Raises ValueError if there is none, or for a
    pyramid whose last scale is not that side or whose scales are not multiples of each other.
    """
    side = min(size)
    pyramid = usual.get(side) if pyramid is None else pyramid
    if pyramid is None:
        raise ValueError(
            f"{size[0]}x{size[1]} clips have no usual pyramid; give one, such as --pyramid "
            f"{halved(size)}"
        )
    try:
        scales = [int(scale) for scale in pyramid.split("-")]
    except ValueError:
        scales = []
    growing = all(a and b > a and b % a == 0 for a, b in pairwise(scales))
    # The gradient difference loss needs neighbouring pixels.
    if not scales or not growing or scales[0] < 2 or scales[-1] != side:
        raise ValueError(
            f"--pyramid {pyramid}: list sizes from 2 up, coarse to fine, each a multiple of the "
            f"one before, up to the clips' shorter side, {side}; for example {halved(size)}"
        )
    return [side // scale for scale in scales]


def halved(size):
    """The longest pyramid for clips of `size` whose scales double, none of them below 4 pixels."""
    scales, common = [min(size)], math.gcd(*size)
    while scales[0] >= 8 and common % 2 == 0:
        scales.insert(0, scales[0] // 2)
        common //= 2
    return "-".join(map(str, scales))
