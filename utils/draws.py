"""Random crops drawn from maps of what moves, the same for the same seeds."""

import bisect

import numpy as np


def draw_exempt(passing, count, seed):
    """Draw `count` distinct crops as (window, y, x), moving or not; they leave `passing`.

    `passing`: for each window a bool map of the crops that move, None where it is unusable.
    """
    usable = [window for window, crops in enumerate(passing) if crops is not None]
    if not usable:
        return []
    shape = passing[usable[0]].shape
    places = len(usable) * shape[0] * shape[1]
    drawn = []
    for pick in distinct(np.random.default_rng((*seed, 1)), places, min(count, places)):
        window, y, x = np.unravel_index(pick, (len(usable), *shape))
        passing[usable[window]][y, x] = False
        drawn.append((usable[window], int(y), int(x)))
    return drawn


def draw_moving(passing, before, more, seed):
    """Draw `more` distinct passing crops beyond the `before` drawn first, evenly over windows.

    Returns them as a list of (window, y, x), with the number of those still left.
    """
    capacity = np.array([0 if crops is None else np.count_nonzero(crops) for crops in passing])
    order = np.random.default_rng((*seed, 2)).permutation(len(capacity))
    had = even_shares(capacity, before, order)
    have = even_shares(capacity, before + more, order)
    drawn = []
    for window in np.flatnonzero(have > had):
        crops = passing[window]
        flat = np.flatnonzero(crops)
        rng = np.random.default_rng((*seed, 3, window))
        for pick in distinct(rng, len(flat), have[window])[had[window] :]:
            y, x = divmod(int(flat[pick]), crops.shape[1])
            drawn.append((int(window), y, x))
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
