"""Maximum pooling on the CPU against Chainer's own code."""

import numpy as np
import pytest

from utils.stack import F, chainer, pooling


def results(x, *how):
    """What comes out, its gradient, the gradient's."""
    x = chainer.Variable(x)
    y = F.max_pooling_nd(x, *how)
    gy = chainer.Variable(np.arange(y.size, dtype=np.float32).reshape(y.shape))
    (gx,) = chainer.grad([y], [x], [gy], enable_double_backprop=True)
    (ggy,) = chainer.grad([gx], [gy], [x])
    return y.array, gx.array, ggy.array


@pytest.mark.parametrize("kind", ["of all sorts", "equal", "nan"])
@pytest.mark.parametrize(
    "shape, how",
    [
        ((2, 3, 8, 6), (2, 2, 0, False)),
        ((2, 3, 9, 7), (2, 2, 0, False)),  # a last row, a last column of none
        ((1, 2, 9, 8), ((3, 4), (3, 4), 0, True)),
        ((1, 2, 9, 7), (2, 2, 0, True)),
        ((1, 2, 9, 7), (3, 2, 0, False)),
        ((1, 2, 8, 6), (2, 2, 1, False)),
        ((1, 2, 6), (3, 3, 0, False)),
        ((1, 2, 4, 6, 4), (2, 2, 0, False)),
    ],
)
def test_is_the_same_as_chainers_own(monkeypatch, shape, how, kind):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    if kind == "equal":
        x[...] = 1
    if kind == "nan":
        x[x > 0.5] = np.nan
    ours = results(x, *how)
    monkeypatch.setattr(pooling, "fit", lambda *_: False)
    for found, other in zip(ours, results(x, *how), strict=True):
        assert found.dtype == other.dtype
        np.testing.assert_array_equal(found, other)


def test_windows_next_to_each_other_are_taken(monkeypatch):
    asked, fit = [], pooling.fit
    monkeypatch.setattr(pooling, "fit", lambda *a: asked.append(fit(*a)) or asked[-1])
    results(np.ones((1, 1, 5, 4), np.float32), 2, 2, 0, False)
    results(np.ones((1, 1, 5, 4), np.float32), 2, 2, 0, True)
    assert asked == [True, True, False, False]


@pytest.mark.parametrize("size, ksize", [((3, 8), 4), ((3,), 4), ((5, 5, 1), 2)])
def test_a_window_larger_than_the_image_is_refused(size, ksize):
    x = np.ones((1, 2, *size), np.float32)
    with pytest.raises(AssertionError, match="should be positive"):
        F.max_pooling_nd(x, ksize, cover_all=False)
    assert F.max_pooling_nd(x, ksize).shape[2:] == tuple(-(-n // ksize) for n in size)


def test_an_infinite_gradient_makes_the_rest_of_its_window_nan():
    x = chainer.Variable(np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4))
    gy = np.ones((1, 1, 2, 2), np.float32)
    gy[..., 0, 1] = np.inf
    with np.errstate(invalid="ignore"):
        (gx,) = chainer.grad([F.max_pooling_2d(x, 2)], [x], [chainer.Variable(gy)])
    nan, inf = np.nan, np.inf
    expected = [[0, 0, nan, nan], [0, 1, nan, inf], [0, 0, 0, 0], [0, 1, 0, 1]]
    np.testing.assert_array_equal(gx.array[0, 0], expected)
