"""What changes from each frame of a film, uint8 (T, H, W, C), to the next."""

import dataclasses

import numpy as np

STRIP = 8  # rows of pixels that are summarised by the largest change in each of their columns
SAMPLED_ROWS = 32  # at most so many rows of a frame, evenly spaced, tell its mean change
CACHED_BYTES = 2**19  # of frames that are compared at a time, so that they stay in the cache


@dataclasses.dataclass(frozen=True)
class Changes:
    """The T-1 steps from frame to frame of a film.

    means: mean absolute change as a share of full scale, float (T-1,), estimated from some rows.
    strips: the largest absolute change in each column of each strip of STRIP rows (the last strip
    may have fewer), uint8 (T-1, ceil(H / STRIP), W, C).
    """

    means: np.ndarray
    strips: np.ndarray


def find_changes(film):
    """The Changes of a film, uint8 (T, H, W, C), computed in one pass over it."""
    length, height, width, channels = film.shape
    whole, every = height // STRIP, 1 + height // SAMPLED_ROWS
    shape = length - 1, -(-height // STRIP), width, channels
    strips, sums = np.empty_like(film, shape=shape), np.zeros(length - 1)
    at_once = max(1, CACHED_BYTES // film[0].nbytes)
    for first in range(0, length - 1, at_once):
        frames, steps = film[first : first + at_once + 1], slice(first, first + at_once)
        change = difference(frames[:-1], frames[1:])
        sums[steps] = change[:, ::every].sum(axis=(1, 2, 3), dtype=np.uint64)
        rows = change[:, : whole * STRIP].reshape(len(change), whole, STRIP, width, channels)
        np.maximum.reduce(rows, axis=2, out=strips[steps, :whole])
        if whole < shape[1]:
            np.maximum.reduce(change[:, whole * STRIP :], axis=1, out=strips[steps, whole])
    return Changes(sums / (255 * film[0, ::every].size), strips)


def difference(before, after):
    """Absolute difference of two uint8 arrays, uint8: without overflow, without a wider type."""
    change = np.maximum(before, after)
    change -= np.minimum(before, after)
    return change


def find_cuts(means, threshold):
    """Which steps between successive frames are scene cuts, bool (steps,).

    `means`: the mean change of each step. A step is a cut if its change exceeds that of the calmer
    of its two neighbours by more than `threshold`. So a quick pan, which changes as much in every
    step, is none, while a flash, or a shot of one frame, is two cuts in a row.
    """
    means = np.asarray(means, float)
    if len(means) < 2:
        return means > threshold
    # The first and the last step are compared with the two on their one side, since a block of
    # frames may begin or end with a flash.
    around = np.concatenate([means[:3][-1:], means, means[-3:][:1]])
    return means - np.minimum(around[:-2], around[2:]) > threshold
