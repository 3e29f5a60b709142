"""Sums of maps on the CPU against NumPy's."""

import numpy as np
import pytest

from utils.stack import F, chainer, sums

SHAPES = (3, 4), (3, 4, 1, 1), (3, 4, 7), (2, 5, 8, 9), (2, 3, 4, 5, 6), (1, 1, 300, 300)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_sums_are_those_of_numpy(shape, dtype):
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    axes = (0, *range(2, x.ndim))
    y = F.sum(chainer.Variable(x), axis=axes).array
    assert y.dtype == dtype and y.shape == shape[1:2]
    scale = np.abs(x).sum(axis=axes).max()
    np.testing.assert_allclose(y, x.astype("f8").sum(axis=axes), atol=4e-7 * scale, rtol=0)
    np.testing.assert_array_equal(y, F.sum(np.asfortranarray(x), axis=axes).array)


def test_the_sum_has_its_gradient():
    x = chainer.Variable(np.ones((2, 3, 4, 5), np.float32))
    y = F.sum(x, axis=(0, 2, 3))
    (gx,) = chainer.grad([y], [x], [chainer.Variable(np.arange(3, dtype=np.float32))])
    np.testing.assert_array_equal(gx.array, np.broadcast_to(np.arange(3).reshape(3, 1, 1), x.shape))


def test_a_convolutions_bias_is_summed_by_it_other_sums_are_not(monkeypatch):
    taken, sum_by_map = [], sums.sum_by_map
    monkeypatch.setattr(sums, "sum_by_map", lambda x: taken.append(x.shape) or sum_by_map(x))
    link, x = chainer.links.Convolution2D(3, 2, 3), np.ones((2, 3, 5, 6), np.float32)
    chainer.grad([F.sum(link(x))], [link.b])
    assert taken == [(2, 2, 3, 4)]
    for axis in (None, 0, (0, 2), (0, 3, 2), (1, 2, 3)):
        F.sum(x, axis=axis)
    F.sum(x, axis=(0, 2, 3), keepdims=True)
    F.sum(x.astype(np.float16), axis=(0, 2, 3))
    F.sum(x[:0], axis=(0, 2, 3))
    assert len(taken) == 1
