"""How much each crop of successive frames moves."""

import numpy as np

from utils.pixels import HALF_RANGE

UNIT = HALF_RANGE**2  # movement is published for frames in [-1, 1]; sums here are over 0..255


def count_type(size, channels, steps):
    """The smallest unsigned type that holds the movement of any (height, width) crop exactly."""
    largest = size[0] * size[1] * channels * steps * 255**2
    return np.uint32 if largest < 2**32 else np.uint64


def step_movement(before, after, size, dtype):
    """Sums of squared differences between two frames over every crop of `size` (h, w).

    `before`, `after`: uint8 (H, W, C). Returns `dtype` (H-h+1, W-w+1), exact, in units of
    1 / UNIT; entry [y, x] belongs to the crop whose top left pixel is (y, x).
    """
    change = np.maximum(before, after)
    change -= np.minimum(before, after)
    energy = np.multiply(change, change, dtype=np.uint16).sum(axis=2, dtype=dtype)
    height, width = size
    # Summed-area table. It may wrap around, but differences of unsigned integers are exact
    # as long as the sum over one crop fits, which count_type sees to.
    table = np.zeros((energy.shape[0] + 1, energy.shape[1] + 1), dtype)
    np.cumsum(energy, axis=0, out=table[1:, 1:])
    np.cumsum(table, axis=1, out=table)
    rows = table[height:] - table[:-height]
    return rows[:, width:] - rows[:, :-width]
