"""Random crops of what moves in a film, the same for the same seeds."""

import bisect
import math

import numpy as np

TRIES = 64  # crops of a window that are looked at before all are
SAMPLE = 8, 4  # windows of a block, crops of each, whose share that moves stands for all


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
    """Draw `more` distinct moving crops beyond the `before` drawn first, evenly over windows.

    Returns them as a list of (window, y, x), none of them `taken`; the number of those still left,
    None where they have not been counted; a sample, (windows, sum of the shares of their crops that
    move). Crops are drawn from all, those that do not move are passed over: each that moves has the
    same chance. Only where TRIES of each window are not enough, all are looked at.
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
    """`count` crops that move, or all: each window's first pick that does, then each second, ...

    windows: int (n,), picks: int (n, TRIES). Returns (window, y, x), each once, none `taken`.
    """
    free = find_free(motion, windows, picks, taken)
    moving, unsure = (free & some for some in motion.guess(windows, picks))
    drawn, turn = [], 0
    while len(drawn) < count and turn < TRIES:
        need = count - len(drawn)
        found = np.cumsum(moving, axis=1)
        able = found[:, -1] > turn
        earlier = unsure & (found <= turn)  # each may be the one of this turn instead
        undecided = earlier.any(axis=1)
        enough = np.searchsorted(np.cumsum(able & ~undecided), need)
        asked = np.flatnonzero(undecided[:enough])[:need]
        if len(asked):  # who is served in this turn depends on them: they are measured first
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
    """Which picks are neither `taken` nor those of their window again, bool (n, TRIES)."""
    size = math.prod(motion.shape)
    crops = windows[:, None] * size + picks
    free = np.zeros(picks.shape, bool)
    free.flat[np.unique(crops, return_index=True)[1]] = True
    numbers = [window * size + y * motion.shape[1] + x for window, y, x in taken]
    return free & ~np.isin(crops, numbers)


def count_moving(motion, taken):
    """How many crops move, those `taken` left out."""
    return sum(int(np.count_nonzero(crops)) for crops in find_others(motion, taken).values())


def find_others(motion, taken):
    """Copies of the maps of a Motion without the crops that are `taken`."""
    others = {window: crops.copy() for window, crops in motion.maps.items()}
    for window, y, x in taken:
        others[window][y, x] = False
    return others


def draw_others(passing, before, more, seed):
    """Draw `more` of the crops in maps, beyond the `before` drawn first, evenly over windows.

    passing: {window: bool map}. Returns a list of (window, y, x), the number of those still left.
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
    """Spread `total` as evenly as capacities allow; growing `total` never lowers a share."""
    if total >= capacity.sum():
        return capacity.copy()
    levels = range(int(capacity.max()) + 1)
    level = bisect.bisect_right(levels, total, key=lambda n: np.minimum(capacity, n).sum()) - 1
    shares = np.minimum(capacity, level)
    roomy = order[capacity[order] > level]
    shares[roomy[: total - shares.sum()]] += 1
    return shares


def distinct(rng, size, count):
    """The first `count` of a random permutation of range(size), without making all of it."""
    moved, drawn = {}, []
    for i, pick in enumerate(rng.integers(np.arange(count), size).tolist()):
        drawn.append(moved.get(pick, pick))
        moved[pick] = moved.get(i, i)
    return drawn
