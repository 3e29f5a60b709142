"""How much crops of successive frames move."""

import functools
import itertools

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from utils.pixels import HALF_RANGE

UNIT = HALF_RANGE**2  # movement is published for frames in [-1, 1]; sums here are over 0..255
SAMPLED_ROWS = 32  # of a frame, to learn its mean change
FEW_CROPS = 32  # that fit side by side into a frame: looking at all pays, else at those drawn
TILE = 16  # pixels: a crop moves no more than the tiles do that it touches
CHUNK = 16  # crops that are compared at a time: what they take stays in the cache


def count_type(size, channels, steps):
    """The smallest unsigned type that holds the movement of any (height, width) crop exactly."""
    largest = size[0] * size[1] * channels * steps * 255**2
    return np.uint32 if largest < 2**32 else np.uint64


def difference(before, after):
    """How far each value of two frames lies from the other's, uint8 of their shape."""
    change = np.maximum(before, after)
    change -= np.minimum(before, after)
    return change


class Motion:
    """Which crops of `size` (height, width) of a film move by more than `limit`.

    film: uint8 (T, H, W, C). `windows` are the numbers of the first frames of those runs of
    `frames` frames that count. A crop is known by its window, with its place in a row of all
    `shape` (H-h+1, W-w+1) of them or the (y, x) of its top left pixel. Movement is exact, in units
    of 1 / UNIT; `most` is the largest seen so far, -1 before any.
    """

    def __init__(self, film, windows, size, frames, limit):
        self.film, self.windows, self.size, self.frames = film, windows, size, frames
        self.limit = limit
        self.shape = film.shape[1] - size[0] + 1, film.shape[2] - size[1] + 1
        self.dtype = count_type(size, film.shape[3], frames - 1)
        self.most = -1
        area = film.shape[1] * film.shape[2]
        self.large = area >= FEW_CROPS * size[0] * size[1]

    def test(self, windows, places):
        """Whether crops move enough, bool (n,): those at int (n,) places of int (n,) windows."""
        y, x = np.divmod(places, self.shape[1])
        if not self.large:
            crops = zip(windows, y, x, strict=True)
            return np.array([self.maps[w][i, j] for w, i, j in crops], bool)
        moving = np.zeros(len(places), bool)
        self.most = max(self.most, 0)
        able = np.flatnonzero(self.able[windows, y // TILE, x // TILE])
        for first in range(0, len(able), CHUNK):
            some = able[first : first + CHUNK]
            crops = self.crops[windows[some], y[some], x[some]]  # (n, frames, h, w, C)
            squares = np.square(difference(crops[:, :-1], crops[:, 1:]), dtype=np.uint16)
            moving[some] = self._compare(squares.sum(axis=(1, 2, 3, 4), dtype=self.dtype))
        return moving

    @functools.cached_property
    def crops(self):
        """All crops of all windows, a view (T-frames+1, H-h+1, W-w+1, frames, h, w, C)."""
        shape = self.frames, *self.size, self.film.shape[3]
        return sliding_window_view(self.film, shape)[:, :, :, 0]

    @functools.cached_property
    def able(self):
        """Whether the crops of a window that begin in a tile may move enough, by tile_bounds.

        bool (T-frames+1, tiles down, tiles across).
        """
        reach = [self.frames - 1, *(1 + (side + TILE - 2) // TILE for side in self.size)]
        bounds = np.pad(tile_bounds(self.film), [(0, 0), *((0, n - 1) for n in reach[1:])])
        for axis, length in enumerate(reach):
            bounds = sliding_window_view(bounds, length, axis).sum(axis=-1, dtype=np.uint64)
        return bounds > self.limit

    @functools.cached_property
    def maps(self):
        """For each window, which of all its crops move enough, {number: bool `shape`}."""
        steps, maps, total = {}, {}, 0
        for window in self.windows:
            for first in list(steps):
                if first < window:
                    total -= steps.pop(first)
            for first in range(window, window + self.frames - 1):
                if first not in steps:
                    steps[first] = self._step(first)
                    total = total + steps[first]
            maps[window] = self._compare(total)
        return maps

    def _step(self, first):
        change = difference(*self.film[first : first + 2])
        return step_movement(change, self.size, self.dtype)

    def _compare(self, movement):
        self.most = max(self.most, int(movement.max()))
        return movement > self.limit


def tile_bounds(film):
    """At most how much tiles move from frame to frame, uint32 (T-1, tiles down, tiles across).

    film: uint8 (T, H, W, C). Of each column of pixels the largest change stands for all.
    """
    length, height, width, channels = film.shape
    down, across, whole = -(-height // TILE), -(-width // TILE), height // TILE
    strips = np.zeros_like(film, shape=(length - 1, down, across * TILE, channels))
    for strip, before, after in zip(strips[:, :, :width], film, film[1:], strict=False):
        change = difference(before, after)
        tiles = change[: whole * TILE].reshape(whole, TILE, width, channels)
        np.maximum.reduce(tiles, axis=1, out=strip[:whole])
        if whole < down:
            np.maximum.reduce(change[whole * TILE :], axis=0, out=strip[whole])
    tiles = strips.reshape(length - 1, down, across, TILE, channels)
    return TILE * np.einsum("tyxkc,tyxkc->tyx", tiles, tiles, dtype=np.uint32)


def mean_changes(film):
    """The mean change from each frame to the next as a share of full scale, float (T-1,).

    film: uint8 (T, H, W, C). Rows spread over the frames stand for all.
    """
    rows = film[:, :: 1 + film.shape[1] // SAMPLED_ROWS]
    sums = [difference(*pair).sum(dtype=np.uint64) for pair in itertools.pairwise(rows)]
    return np.array(sums, float) / (255 * rows[0].size)


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
    rows = change.reshape(len(change), -1)
    busy = np.flatnonzero(np.bitwise_or.reduce(rows, axis=1))  # few, as a rule; any() takes longer
    squares = np.square(change[busy], dtype=np.uint16)
    total = squares[..., 0].astype(dtype)
    for channel in range(1, change.shape[2]):  # 7 times as fast as sum(axis=2)
        total += squares[..., channel]
    across = run_sums(np.ascontiguousarray(total.T), size[1])
    rows = np.zeros((len(change), len(across)), dtype)
    rows[busy] = across.T
    return run_sums(rows, size[0])


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
