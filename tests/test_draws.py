"""Random crops of what moves: distinct, even, the same for the same seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.changes import find_changes
from utils.draws import count_moving, distinct, draw_exempt, draw_moving, even_shares
from utils.movement import Motion

SEED = (7, 0, 1, 3)
ALL = 10**6


@pytest.fixture(params=[1, ALL], ids=["by pixels", "by maps"], autouse=True)
def look(request, monkeypatch):
    """Both ways to tell what moves."""
    monkeypatch.setattr("utils.movement.FEW_CROPS", request.param)


def motion(side=12, windows=(0, 1, 2, 5)):
    """A film of 9 frames, more and more of which is noise from the left, the last half still."""
    rng = np.random.default_rng(0)
    film = np.full((9, side, side, 3), 90, np.uint8)
    for number, frame in enumerate(film[:5]):
        frame[:, : 3 + 2 * number] = rng.integers(0, 256, frame[:, : 3 + 2 * number].shape)
    return Motion(film, find_changes(film).strips, list(windows), (4, 4), 3, 40000)


def draw(taken=(), before=0, more=10, seed=SEED, of=motion):
    drawn, left, _ = draw_moving(of(), list(taken), before, more, seed)
    return drawn, left


def everything(of=motion):
    return {
        (window, int(y), int(x))
        for window, crops in of().maps.items()
        for y, x in np.argwhere(crops)
    }


def test_only_moving_crops_each_once():
    moving = everything()
    assert 30 < len(moving) < 4 * 81
    drawn, left = draw(more=len(moving))
    assert left == 0 and set(drawn) == moving and len(drawn) == len(moving)
    drawn, left = draw(more=len(moving) + 1)
    assert set(drawn) == moving and left == 0
    assert draw(of=lambda: motion(windows=())) == ([], 0)


def test_a_film_shorter_than_a_clip_has_none():
    for frames in range(2, 22):
        for left in range(1, frames):
            film = np.zeros((left, 12, 12, 3), np.uint8)
            none = Motion(film, find_changes(film).strips, [], (4, 4), frames, 0)
            assert draw_moving(none, [], 0, 10, SEED) == ([], 0, (0, 0.0))
            assert none.most == -1 and draw_exempt(none, 10, SEED) == []


@pytest.mark.parametrize("first, then", [(10, 7), (3, 200), (150, 5), (150, 70)])
def test_later_draws_continue_earlier_ones(first, then):
    before, _ = draw(more=first)
    after, left = draw(before=first, more=then)
    both, same = draw(more=first + then)
    assert sorted(before + after) == sorted(both) and len(set(both)) == first + then
    assert left == same and left in (None, len(everything()) - first - then)


def test_what_is_left_is_counted():
    taken = draw_exempt(motion(), 60, SEED)
    moving = everything() - set(taken)
    assert count_moving(motion(), taken) == len(moving)
    drawn, left = draw(taken, more=170)
    assert left == len(moving) - 170 and set(drawn) <= moving


def test_windows_have_even_shares():
    drawn, left = draw(more=12)
    windows = [window for window, _, _ in drawn]
    assert left is None and sorted(windows.count(w) for w in (0, 1, 2)) == [4, 4, 4]


def test_exempt_crops_are_any():
    exempt = draw_exempt(motion(), 60, SEED)
    assert len(set(exempt)) == 60 and any(window == 5 for window, _, _ in exempt)
    assert not set(exempt) & set(draw(exempt, more=100)[0])
    assert draw_exempt(motion(windows=()), 5, SEED) == []
    assert len(draw_exempt(motion(), 1000, SEED)) == 4 * 81


@pytest.mark.parametrize("more", [10, 60])
def test_every_moving_crop_is_equally_likely(more):
    def of():
        return motion(windows=(1,))

    moving, counts = everything(of), {}
    rounds = 4000 // more
    for seed in range(rounds):
        for crop in draw(more=more, seed=(seed, 0, 1, 0), of=of)[0]:
            counts[crop] = counts.get(crop, 0) + 1
    assert set(counts) == moving
    expected = rounds * min(more, len(moving)) / len(moving)
    chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi_square < 1.6 * len(moving)


def test_both_ways_to_tell_what_moves_draw_the_same(monkeypatch):
    found = []
    for few in (1, ALL):
        monkeypatch.setattr("utils.movement.FEW_CROPS", few)
        found.append(draw_moving(motion(), [], 0, 33, SEED))
    assert found[0] == found[1]
    windows, shares = found[0][2]
    assert windows == 4 and 0 < shares < 3


@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=8),
    st.integers(0, 100),
    st.integers(0, 99),
)
def test_even_shares(capacity, total, seed):
    capacity = np.array(capacity)
    order = np.random.default_rng(seed).permutation(len(capacity))
    shares = even_shares(capacity, total, order)
    assert shares.sum() == min(total, capacity.sum()) and (shares <= capacity).all()
    rest = shares[shares < capacity]
    assert not len(rest) or shares.max() - rest.min() <= 1
    assert (even_shares(capacity, total + 1, order) >= shares).all()


@given(st.integers(1, 50), st.data())
def test_distinct(size, data):
    count = data.draw(st.integers(0, size))
    some = distinct(np.random.default_rng(0), size, count)
    assert len(set(some)) == count and set(some) <= set(range(size))
    assert some == distinct(np.random.default_rng(0), size, size)[:count]
