"""Places spread evenly over a series."""

import numpy as np


def evenly(length, count):
    """At most `count` of the indices below `length`, rising, the first and the last among them."""
    return np.linspace(0, length - 1, min(count, length)).round().astype(int)
