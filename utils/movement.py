"""How much crops of successive frames move."""

import functools

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from utils.changes import STRIP, difference
from utils.pixels import HALF_RANGE

UNIT = HALF_RANGE**2  # users give movement for frames in [-1, 1]; sums here are over 0..255
FEW_CROPS = 32  # if fewer fit side by side in a frame, all are measured, else only those drawn
CHUNK = 16  # crops that are compared at a time, so that they stay in the cache


def count_type(size, channels, steps):
    """The smallest unsigned type that holds the movement of any (height, width) crop exactly."""
    largest = size[0] * size[1] * channels * steps * 255**2
    return np.uint32 if largest < 2**32 else np.uint64


class Motion:
    """Which crops of `size` (height, width) of a film move by more than `limit`.

    The movement of a crop is the sum of the squared differences between its successive frames, an
    exact integer, in units of 1 / UNIT.

    film: uint8 (T, H, W, C). strips: those of its Changes. windows: numbers of the first frames of
    the usable runs of `frames` frames. A crop is named by its window and either the (y, x) of its
    top left pixel or its place, the flat index into `shape`, which is (H-h+1, W-w+1).
    most: the largest movement seen so far, -1 before any.
    """

    def __init__(self, film, strips, windows, size, frames, limit):
        self.film, self.strips, self.windows, self.limit = film, strips, windows, limit
        self.size, self.frames = size, frames
        self.shape = film.shape[1] - size[0] + 1, film.shape[2] - size[1] + 1
        bounded = max(size[0], STRIP), size[1]
        self.dtype = count_type(bounded, film.shape[3], frames - 1)
        self.most = -1
        area = film.shape[1] * film.shape[2]
        self.large = area >= FEW_CROPS * size[0] * size[1]

    def test(self, windows, places):
        """Which crops move enough, bool (n, k), at int (n, k) places of int (n,) windows."""
        moving, unsure = self.guess(windows, places)
        rows, columns = np.nonzero(unsure)
        moving[rows, columns] = self.measure(windows[rows], places[rows, columns])
        return moving

    def guess(self, windows, places):
        """(crops that surely move enough, crops that must be measured to know), bool (n, k) each.

        Arguments as of `test`. For small frames the answer is exact and nothing is unsure.
        """
        if not self.large or not len(windows):  # a film without windows may be shorter than one
            crops = zip(windows, places, strict=True)
            moving = [self.maps[window].flat[some] for window, some in crops]
            return np.reshape(moving, places.shape).astype(bool), np.zeros(places.shape, bool)
        least, most = self._bounds(windows[:, None], *np.divmod(places, self.shape[1]))
        self.most = max([self.most, *least.max(axis=1).tolist()])
        moving = least > self.limit
        return moving, ~moving & (most > self.limit)

    def measure(self, windows, places):
        """Whether crops move enough, bool (n,), at int (n,) places of int (n,) windows."""
        y, x = np.divmod(places, self.shape[1])
        moving = np.zeros(len(places), bool)
        for first in range(0, len(places), CHUNK):
            some = slice(first, first + CHUNK)
            crops = self.crops[windows[some], y[some], x[some]]  # (n, frames, h, w, C)
            squares = np.square(difference(crops[:, :-1], crops[:, 1:]), dtype=np.uint16)
            moving[some] = self._compare(squares.sum(axis=(1, 2, 3, 4), dtype=self.dtype))
        return moving

    @functools.cached_property
    def crops(self):
        """All crops of all windows, a view (T-frames+1, H-h+1, W-w+1, frames, h, w, C)."""
        shape = self.frames, *self.size, self.film.shape[3]
        return sliding_window_view(self.film, shape)[:, :, :, 0]

    def _bounds(self, windows, y, x):
        """Lower and upper bounds of crops' movement, from the strips of rows that they cover.

        In each column of a strip one pixel changes by the strip's largest change, and none by more.
        So a strip inside the crop adds its square to the lower bound once and to the upper bound
        STRIP times; a strip that the crop covers in part adds to the upper bound alone.
        """
        (height, width), (_, rows, columns) = self.size, self._table.shape
        bottom = y + height
        first = -(-y // STRIP)
        last = np.maximum(first, bottom // STRIP)
        edges = np.stack([y // STRIP, first, last, -(-bottom // STRIP)])
        left = (windows * rows + edges) * columns + x
        sums = self._table.take(left + width) - self._table.take(left)
        above, inside, below = np.diff(sums, axis=0)
        rows_above = (STRIP * first - y).astype(self.dtype)
        rows_below = (bottom - STRIP * last).astype(self.dtype)
        return inside, rows_above * above + STRIP * inside + rows_below * below

    @functools.cached_property
    def _table(self):
        """Summed-area table of the squared strips, added over the steps of each window.

        (T-frames+1, strips+1, W+1). Entries may overflow, but differences of them are exact.
        """
        squares = np.square(self.strips, dtype=np.uint16)
        total = squares[..., 0].astype(self.dtype)
        for channel in range(1, squares.shape[3]):
            total += squares[..., channel]
        total = run_sums(total, self.frames - 1)
        table = np.zeros([total.shape[0], *(1 + side for side in total.shape[1:])], self.dtype)
        np.cumsum(total, axis=2, out=table[:, 1:, 1:])
        for row in range(2, table.shape[1]):  # twice as fast as cumsum(axis=1)
            table[:, row] += table[:, row - 1]
        return table

    @functools.cached_property
    def maps(self):
        """{window: which of all its crops move enough, bool array of `shape`}."""
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


def step_movement(change, size, dtype):
    """Sums of the squares of `change`, uint8 (H, W, C), over every crop of `size` (h, w).

    Returns `dtype` (H-h+1, W-w+1), exact, in units of 1 / UNIT; entry [y, x] belongs to the crop
    whose top left pixel is (y, x).
    """
    rows = change.reshape(len(change), -1)
    busy = np.flatnonzero(np.bitwise_or.reduce(rows, axis=1))  # rows that change, mostly few
    squares = np.square(change[busy], dtype=np.uint16)
    total = squares[..., 0].astype(dtype)
    for channel in range(1, change.shape[2]):  # 7 times as fast as sum(axis=2)
        total += squares[..., channel]
    across = run_sums(np.ascontiguousarray(total.T), size[1])
    rows = np.zeros((len(change), len(across)), dtype)
    rows[busy] = across.T
    return run_sums(rows, size[0])


def run_sums(values, length):
    """Sums of every `length` successive rows of an array.

    A sum of 2n rows is two sums of n rows, so log2(length) additions of whole arrays suffice; here
    that is twice as fast as differences of cumulative sums.
    """
    if length == 1:
        return values
    half = length // 2
    halves = run_sums(values, half)
    sums = halves[: len(halves) - half] + halves[half:]
    return sums[:-1] + values[length - 1 :] if length % 2 else sums
