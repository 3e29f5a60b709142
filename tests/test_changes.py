"""What changes between frames, by hand-made films; what is a scene cut."""

import numpy as np
import pytest

from utils.changes import STRIP, find_changes, find_cuts


@pytest.mark.parametrize("height", [1, STRIP - 1, STRIP, 3 * STRIP + 2])
@pytest.mark.parametrize("planar", [False, True])
def test_strips_hold_the_largest_changes(height, planar):
    film = np.random.default_rng(height).integers(0, 256, (4, height, 5, 3), dtype=np.uint8)
    if planar:
        film = np.moveaxis(np.ascontiguousarray(np.moveaxis(film, 3, 1)), 1, 3)
    changes = np.abs(np.diff(film.astype(int), axis=0))
    expected = [changes[:, top : top + STRIP].max(axis=1) for top in range(0, height, STRIP)]
    assert np.array_equal(find_changes(film).strips, np.stack(expected, axis=1))


def test_a_cut_is_a_leap_not_a_pan():
    pan, cut = [0.2] * 6, [0.02, 0.02, 0.3, 0.02]
    assert not find_cuts(pan, 0.1).any()
    assert list(np.flatnonzero(find_cuts(cut, 0.1))) == [2]
    assert list(find_cuts([0.3, 0.02], 0.1)) == [True, False]
    assert list(find_cuts([0.02, 0.3], 0.1)) == [False, True]
    assert not find_cuts(cut, 1.0).any()
    assert list(find_cuts([0.3], 0.1)) == [True] and len(find_cuts([], 0.1)) == 0


def test_two_cuts_in_a_row_do_not_hide_each_other():
    flash, flashes = [0.01, 0.5, 0.5, 0.01], [0.5, 0.5, 0.01, 0.01, 0.5, 0.5]
    assert list(find_cuts(flash, 0.1)) == [False, True, True, False]
    assert list(np.flatnonzero(find_cuts(flashes, 0.1))) == [0, 1, 4, 5]


def test_mean_change_of_a_frame():
    black = np.zeros((64, 48, 3), np.uint8)
    film = np.stack([black, ~black, ~black - np.uint8(51)])
    assert find_changes(film).means == pytest.approx([1, 0.2])
