import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.movement import (
    UNIT,
    Motion,
    count_type,
    difference,
    find_cuts,
    mean_changes,
    run_sums,
    step_movement,
)
from utils.pixels import normalise


def brute_force(before, after, size):
    height, width = size
    change = (normalise(after).astype(np.float64) - normalise(before)) ** 2
    return np.array(
        [
            [
                change[y : y + height, x : x + width].sum()
                for x in range(before.shape[1] - width + 1)
            ]
            for y in range(before.shape[0] - height + 1)
        ]
    )


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 99),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3])),
    data=st.data(),
)
def test_against_a_loop(seed, shape, data):
    size = tuple(data.draw(st.integers(1, n)) for n in shape[:2])
    before, after = np.random.default_rng(seed).integers(0, 256, (2, *shape), dtype=np.uint8)
    after[:: 2 + seed % 3] = before[:: 2 + seed % 3]  # rows without any change
    found = step_movement(difference(before, after), size, count_type(size, shape[2], 1))
    np.testing.assert_allclose(found / UNIT, brute_force(before, after, size), rtol=1e-5, atol=1e-5)


def test_largest_movement_is_exact():
    for side in (32, 160):  # 32 fits in 32 bits, 160 does not
        black = np.zeros((side + 1, side, 3), np.uint8)
        dtype = count_type((side, side), 3, 1)
        found = step_movement(difference(black, ~black), (side, side), dtype)
        assert found.tolist() == [[side * side * 3 * 255**2]] * 2
    assert (count_type((32, 32), 3, 4), dtype) == (np.uint32, np.uint64)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 99),
    size=st.tuples(st.integers(1, 7), st.integers(1, 8)),
    channels=st.sampled_from([1, 3]),
    planar=st.booleans(),
    frames=st.integers(2, 4),
)
def test_motion_of_some_crops_is_that_of_all(seed, size, channels, planar, frames):
    rng = np.random.default_rng(seed)
    film = rng.integers(0, 256, (6, 7, 8, channels), dtype=np.uint8)
    if planar:
        film = np.moveaxis(np.ascontiguousarray(np.moveaxis(film, 3, 1)), 1, 3)
    limit = size[0] * size[1] * channels * (frames - 1) * 255**2 // 6
    motion = Motion(film, [0, 2, 6 - frames], size, frames, limit)
    for window, moving in motion.maps.items():
        steps = film[window : window + frames].astype(int)
        for y, x in np.ndindex(motion.shape):
            crop = steps[:, y : y + size[0], x : x + size[1]]
            assert moving[y, x] == ((np.diff(crop, axis=0) ** 2).sum() > limit)
        places = rng.integers(moving.size, size=9)
        for motion.large in (False, True):
            found = motion.test(np.full(9, window), places)
            assert np.array_equal(found, moving.ravel()[places])


@pytest.mark.parametrize("height, width, channels", [(40, 53, 3), (48, 64, 1), (70, 33, 3)])
@pytest.mark.parametrize("side", [7, 16, 17, 31, 33])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("limit", [0, 255**2])
def test_crops_where_little_changes(height, width, channels, side, planar, limit):
    rng = np.random.default_rng(side)
    film = np.full((9, height, width, channels), 7, np.uint8)
    for frame, y, x in zip(
        film[1:], rng.integers(height, size=8), rng.integers(width, size=8), strict=True
    ):
        frame[y, x, -1] = rng.integers(8, 256)  # one value of one pixel
    film[-3:] = film[-4]
    if planar:
        film = np.moveaxis(np.ascontiguousarray(np.moveaxis(film, 3, 1)), 1, 3)
    motion = Motion(film, range(6), (side, side), 4, limit)
    windows, y, x = (axis.ravel() for axis in np.indices((6, *motion.shape)))
    steps = (np.diff(film.astype(int), axis=0) ** 2).sum(axis=3)
    expected = [
        steps[w : w + 3, i : i + side, j : j + side].sum() > limit
        for w, i, j in zip(windows, y, x, strict=True)
    ]
    assert 0 < sum(expected) < len(expected)
    motion.large = True
    assert motion.test(windows, y * motion.shape[1] + x).tolist() == expected


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 11, 12])
def test_run_sums(length):
    values = np.random.default_rng(0).integers(0, 9, (12, 3))
    expected = [values[i : i + length].sum(0) for i in range(12 - length + 1)]
    assert np.array_equal(run_sums(values, length), expected)


def test_a_cut_is_a_leap_not_a_pan():
    pan, cut = [0.2] * 6, [0.02, 0.02, 0.3, 0.02]
    assert not find_cuts(pan, 0.1).any()
    assert list(np.flatnonzero(find_cuts(cut, 0.1))) == [2]
    assert list(find_cuts([0.3, 0.02], 0.1)) == [True, False]
    assert not find_cuts(cut, 1.0).any()
    assert list(find_cuts([0.3], 0.1)) == [True] and len(find_cuts([], 0.1)) == 0


def test_mean_change_of_a_frame():
    black = np.zeros((64, 48, 3), np.uint8)
    assert mean_changes(np.stack([black, ~black, ~black - np.uint8(51)])) == pytest.approx([1, 0.2])
