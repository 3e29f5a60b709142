"""Places spread evenly over a series."""

import numpy as np


def evenly(length, count):
    """Up to `count` indices spread over range(length), ascending, int array.

    The first index is always 0; if there are several, the last is length - 1.
    """
    return np.linspace(0, length - 1, min(count, length)).round().astype(int)
