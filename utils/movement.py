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
    energy = np.zeros(change.shape[:2], dtype)
    busy = np.flatnonzero(change.reshape(len(change), -1).any(axis=1))  # few rows, as a rule
    squares = np.square(change[busy], dtype=np.uint16)
    for channel in range(change.shape[2]):  # 7 times as fast as sum(axis=2)
        energy[busy] += squares[..., channel]
    return run_sums(run_sums(energy, size[0]).T, size[1]).T


def run_sums(values, length):
    """Sums of `length` successive rows, one for each row they can begin at.

    A run of twice the length is two runs: log2(length) additions of whole arrays, here twice as
    fast as differences in a summed-area table.
    """
    if length == 1:
        return values
    half = length // 2
    halves = run_sums(values, half)
    sums = halves[: len(halves) - half] + halves[half:]
    return sums[:-1] + values[length - 1 :] if length % 2 else sums
