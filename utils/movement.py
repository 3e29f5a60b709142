"""How much each crop of successive frames moves."""

import numpy as np

from utils.pixels import HALF_RANGE

UNIT = HALF_RANGE**2  # movement is published for frames in [-1, 1]; sums here are over 0..255
SAMPLED_ROWS = 32  # of a frame, to learn its mean change


def count_type(size, channels, steps):
    """The smallest unsigned type that holds the movement of any (height, width) crop exactly."""
    largest = size[0] * size[1] * channels * steps * 255**2
    return np.uint32 if largest < 2**32 else np.uint64


def difference(before, after):
    """How far each value of two frames lies from the other's, uint8 of their shape."""
    change = np.maximum(before, after)
    change -= np.minimum(before, after)
    return change


def mean_change(change):
    """The mean of a `difference`, from rows spread over the frame, as a share of full scale."""
    return float(change[:: 1 + len(change) // SAMPLED_ROWS].mean()) / 255


def find_cuts(changes, threshold):
    """Which steps between successive frames are scene cuts, bool (steps,).

    `changes`: the mean change of each step. A cut changes the frame by more than `threshold`, and
    by that much more than the step before it did: a quick pan changes as much in every step.
    """
    changes = np.asarray(changes, float)
    if len(changes) < 2:
        return changes > threshold
    before = np.concatenate([changes[1:2], changes[:-1]])  # the first has only the step after it
    return np.minimum(changes, changes - before) > threshold


def step_movement(change, size, dtype):
    """Sums of the squares of a `difference`, uint8 (H, W, C), over every crop of `size` (h, w).

    Returns `dtype` (H-h+1, W-w+1), exact, in units of 1 / UNIT; entry [y, x] belongs to the crop
    whose top left pixel is (y, x).
    """
    energy = np.zeros(change.shape[:2], dtype)
    busy = np.flatnonzero(change.any(axis=(1, 2)))  # few rows, as a rule
    squares = np.square(change[busy], dtype=np.uint16)
    total = squares[..., 0].astype(dtype)
    for channel in range(1, change.shape[2]):  # 7 times as fast as sum(axis=2)
        total += squares[..., channel]
    energy[busy] = total
    rows = run_sums(energy, size[0])
    return run_sums(np.ascontiguousarray(rows.T), size[1]).T


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
