"""Places spread evenly over a series."""

import numpy as np


def evenly(length, count):
    """Up to `count` of the indices below `length`, rising: the first; of several the last, too."""
    return np.linspace(0, length - 1, min(count, length)).round().astype(int)
