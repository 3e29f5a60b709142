import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from utils.draws import distinct, draw_exempt, draw_moving, even_shares

SEED = (7, 0, 1, 3)


def maps():
    rng = np.random.default_rng(0)
    return [rng.random((6, 5)) < share for share in (0.5, 0, 1, 0.1)] + [None]


def test_only_moving_crops_each_once():
    passing = maps()
    everything = sum(int(crops.sum()) for crops in passing[:4])
    drawn, left = draw_moving(passing, 0, everything, SEED)
    assert left == 0 and len(set(drawn)) == len(drawn) == everything
    assert all(passing[window][y, x] for window, y, x in drawn)
    more, left = draw_moving(passing, 0, everything + 1, SEED)
    assert len(more) == everything and left == 0


def test_later_draws_continue_earlier_ones():
    first, left = draw_moving(maps(), 0, 10, SEED)
    second, less = draw_moving(maps(), 10, 7, SEED)
    both, _ = draw_moving(maps(), 0, 17, SEED)
    assert sorted(first + second) == sorted(both) and len(set(both)) == 17
    assert less == left - 7


def test_exempt_crops_leave_the_moving_ones():
    passing = maps()
    exempt = draw_exempt(passing, 60, SEED)
    assert len(set(exempt)) == 60 and not any(passing[w][y, x] for w, y, x in exempt)
    assert any(w == 1 for w, _, _ in exempt)  # where nothing moves, too
    assert draw_exempt([None, None], 5, SEED) == []
    assert len(draw_exempt(maps(), 1000, SEED)) == 4 * 30


def test_uniform():
    crops = np.zeros((20, 20), bool)
    crops[5:15, 3:13] = True
    counts = np.zeros((20, 20), int)
    for seed in range(400):
        for _, y, x in draw_moving([crops], 0, 10, (seed, 0, 1, 0))[0]:
            counts[y, x] += 1
    inside = counts[5:15, 3:13]
    assert counts.sum() == inside.sum() == 4000
    chi_square = ((inside - 40) ** 2 / 40).sum()  # 99 degrees of freedom
    assert 55 < chi_square < 150


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
