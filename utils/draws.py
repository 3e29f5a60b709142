"""Random crops of what moves in a film, the same for the same seeds."""

import bisect
import math

import numpy as np

TRIES = 64  # random crops of each window that are tried before all of its crops are measured
SAMPLE = 8, 4  # windows of a block, and crops of each, that the share of moving ones is taken from


def draw_exempt(motion, count, seed):
    """Draw `count` distinct crops of a Motion as (window, y, x), moving or not."""
    shape = len(motion.windows), *motion.shape
    places = math.prod(shape)
    drawn = []
    for pick in distinct(np.random.default_rng((*seed, 1)), places, min(count, places)):
        window, y, x = np.unravel_index(pick, shape)
        drawn.append((motion.windows[window], int(y), int(x)))
    return drawn


def draw_moving(motion, taken, before, more, seed):
    """Draw `more` distinct moving crops beyond the first `before`, evenly over the windows.

    taken: crops (window, y, x) that must not be drawn. seed: a tuple of ints.

    Returns (the crops as a list of (window, y, x); how many moving crops are left, None if that was
    not counted; a sample as (windows, sum of the shares of their crops that move)).

    Random crops are drawn and those that do not move are rejected, so every moving crop has the
    same chance. Only if TRIES draws in each window do not suffice, all crops are measured.
    """
    rng = np.random.default_rng((*seed, 2))
    order = rng.permutation(len(motion.windows))
    windows = np.array(motion.windows, int)[order]
    picks = rng.integers(math.prod(motion.shape), size=(len(order), TRIES))[order]
    moving = motion.test(windows[: SAMPLE[0]], picks[: SAMPLE[0], : SAMPLE[1]])
    sample = len(moving), float(moving.mean(axis=1).sum())
    drawn = by_turns(motion, windows, picks, taken, before + more)
    if len(drawn) == before + more:
        return drawn[before:], None, sample
    others = find_others(motion, taken)
    for window, tried in zip(windows.tolist(), picks, strict=True):
        others[window].flat[tried] = False
    first = max(before, len(drawn))
    rest, left = draw_others(others, first - len(drawn), before + more - first, seed)
    return drawn[before:] + rest, left, sample


def by_turns(motion, windows, picks, taken, count):
    """The first `count` moving crops: the first moving pick of each window, then each second, ...

    windows: int (n,). picks: int (n, TRIES), places of the crops drawn in each. Returns a list of
    (window, y, x), shorter if there are fewer; no crop comes twice, and none is `taken`.

    Crops are measured only if `motion.guess` cannot decide and their answer is needed in this turn.
    """
    free = find_free(motion, windows, picks, taken)
    moving, unsure = (free & some for some in motion.guess(windows, picks))
    drawn, turn = [], 0
    while len(drawn) < count and turn < TRIES:
        need = count - len(drawn)
        found = np.cumsum(moving, axis=1)
        able = found[:, -1] > turn  # windows that have a crop for this turn
        earlier = unsure & (found <= turn)  # picks that would come first if they moved
        undecided = earlier.any(axis=1)
        enough = np.searchsorted(np.cumsum(able & ~undecided), need)
        asked = np.flatnonzero(undecided[:enough])[:need]
        if len(asked):  # measure one pick of each such window, then look at this turn again
            columns = np.argmax(earlier[asked], axis=1)
            moving[asked, columns] = motion.measure(windows[asked], picks[asked, columns])
            unsure[asked, columns] = False
            continue
        rows = np.flatnonzero(able)[:need]
        columns = np.argmax(found[rows] > turn, axis=1)
        crops = windows[rows], *np.divmod(picks[rows, columns], motion.shape[1])
        drawn += zip(*(axis.tolist() for axis in crops), strict=True)
        turn += 1
    return drawn


def find_free(motion, windows, picks, taken):
    """Which picks are neither `taken` nor an earlier one of their window, bool (n, TRIES)."""
    size = math.prod(motion.shape)
    crops = windows[:, None] * size + picks
    free = np.zeros(picks.shape, bool)
    free.flat[np.unique(crops, return_index=True)[1]] = True
    numbers = [window * size + y * motion.shape[1] + x for window, y, x in taken]
    return free & ~np.isin(crops, numbers)


def count_moving(motion, taken):
    """How many crops of a Motion move, not counting those `taken`."""
    return sum(int(np.count_nonzero(crops)) for crops in find_others(motion, taken).values())


def find_others(motion, taken):
    """{window: bool map of its moving crops}: copies of a Motion's maps without those `taken`."""
    others = {window: crops.copy() for window, crops in motion.maps.items()}
    for window, y, x in taken:
        others[window][y, x] = False
    return others


def draw_others(passing, before, more, seed):
    """Draw `more` crops beyond the first `before`, evenly over the windows.

    passing: {window: bool map of the crops to draw from}. Returns (list of (window, y, x), number
    of crops still left).
    """
    capacity = np.array([np.count_nonzero(crops) for crops in passing.values()], int)
    order = np.random.default_rng((*seed, 3)).permutation(len(capacity))
    had = even_shares(capacity, before, order)
    have = even_shares(capacity, before + more, order)
    drawn = []
    for (window, crops), old, new in zip(passing.items(), had, have, strict=True):
        if new == old:
            continue
        flat = np.flatnonzero(crops)
        rng = np.random.default_rng((*seed, 4, window))
        for pick in distinct(rng, len(flat), new)[old:]:
            drawn.append((window, *divmod(int(flat[pick]), crops.shape[1])))
    return drawn, int(capacity.sum() - have.sum())


def even_shares(capacity, total, order):
    """Spread `total` over int (n,) capacities as evenly as these allow -> int (n,) shares.

    order: the permutation by which remainders are given out. A larger `total` lowers no share.
    """
    if total >= capacity.sum():
        return capacity.copy()
    levels = range(int(capacity.max()) + 1)
    level = bisect.bisect_right(levels, total, key=lambda n: np.minimum(capacity, n).sum()) - 1
    shares = np.minimum(capacity, level)
    roomy = order[capacity[order] > level]
    shares[roomy[: total - shares.sum()]] += 1
    return shares


def distinct(rng, size, count):
    """The first `count` of a random permutation of range(size): Fisher-Yates, kept in a dict."""
    moved, drawn = {}, []
    for i, pick in enumerate(rng.integers(np.arange(count), size).tolist()):
        drawn.append(moved.get(pick, pick))
        moved[pick] = moved.get(i, i)
    return drawn
