"""Gradients of slices against what numpy.add.at makes."""

import numpy as np
import pytest

from utils.stack import chainer

CPU = chainer.get_device("@numpy")
X = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32)
INDEXES = [
    np.s_[:, 1:],
    np.s_[..., :-1],
    np.s_[1],
    np.s_[-1, ::2, None, ::-1],
    np.s_[:0],
    np.s_[1, 2, 3],
    np.s_[:, [0, 0, 2]],  # takes some twice
    X > 0,
]


@pytest.fixture(params=["cpu", pytest.param("gpu", marks=pytest.mark.gpu)])
def device(request):
    return request.getfixturevalue("gpu") if request.param == "gpu" else CPU


@pytest.mark.parametrize("index", INDEXES, ids=str)
def test_gradient_goes_where_the_numbers_came_from(device, index):
    x = chainer.Variable(device.send(X))
    y = x[device.send(index) if isinstance(index, np.ndarray) else index]
    gy = np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)
    (gx,) = chainer.grad([y], [x], [chainer.Variable(device.send(gy))])
    expected = np.zeros_like(X)
    np.add.at(expected, index, gy)
    assert gx.dtype == X.dtype
    np.testing.assert_array_equal(CPU.send(gx.array), expected)


def test_gradients_of_slices_have_gradients():
    x = chainer.Variable(X)
    gy = chainer.Variable(np.ones((3, 3, 5), np.float32))
    (gx,) = chainer.grad([x[:, 1:]], [x], [gy], enable_double_backprop=True)
    (ggy,) = chainer.grad([gx], [gy], [chainer.Variable(X)])
    np.testing.assert_array_equal(ggy.array, X[:, 1:])
