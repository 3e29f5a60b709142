"""How much crops move, beside sums written out pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.changes import difference, find_changes
from utils.movement import UNIT, Motion, count_type, run_sums, step_movement
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
    strips = find_changes(film).strips
    motion = Motion(film, strips, [0, 2, 6 - frames], size, frames, limit)
    for window, moving in motion.maps.items():
        steps = film[window : window + frames].astype(int)
        for y, x in np.ndindex(motion.shape):
            crop = steps[:, y : y + size[0], x : x + size[1]]
            assert moving[y, x] == ((np.diff(crop, axis=0) ** 2).sum() > limit)
        places = rng.integers(moving.size, size=(3, 5))
        for motion.large in (False, True):
            found = motion.test(np.full(3, window), places)
            assert np.array_equal(found, moving.ravel()[places])
            assert np.array_equal(motion.measure(np.full(3, window), places[:, 0]), found[:, 0])


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
    motion = Motion(film, find_changes(film).strips, range(6), (side, side), 4, limit)
    steps = (np.diff(film.astype(int), axis=0) ** 2).sum(axis=3)
    expected = np.array(
        [
            steps[w : w + 3, y : y + side, x : x + side].sum() > limit
            for w, y, x in np.ndindex(6, *motion.shape)
        ]
    ).reshape(6, -1)
    assert expected.any() and not expected.all()
    motion.large = True
    places = np.tile(np.arange(expected.shape[1]), (6, 1))
    assert np.array_equal(motion.test(np.arange(6), places), expected)


def test_bounds_of_the_largest_movement_do_not_overflow():
    size, black = (40, 130), np.zeros((44, 140, 3), np.uint8)  # its strips make 48 rows
    film, most = np.stack([black, ~black] * 2 + [black]), 40 * 130 * 3 * 4 * 255**2
    assert most < 2**32 < most * 48 // 40
    for limit in most - 1, most:
        motion = Motion(film, find_changes(film).strips, [0], size, 5, limit)
        motion.large = True
        places = np.arange(motion.shape[0] * motion.shape[1])[None]
        assert (motion.test(np.zeros(1, int), places) == (most > limit)).all()


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 11, 12])
def test_run_sums(length):
    values = np.random.default_rng(0).integers(0, 9, (12, 3))
    expected = [values[i : i + length].sum(0) for i in range(12 - length + 1)]
    assert np.array_equal(run_sums(values, length), expected)
