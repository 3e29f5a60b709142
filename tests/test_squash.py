"""tanh, but for the gradient that leads back from where it is flat."""

import numpy as np
import pytest

import models
from models.squash import FLOOR, squash
from tests.updaters import CPU
from utils.stack import F, chainer

X = np.float32([-90, -9, -2, -0.1, 0, 0.1, 2, 9, 90])


def gradient(function, x, gy, device=CPU):
    x, gy = (chainer.Variable(device.send(values)) for values in (x, gy))
    (found,) = chainer.grad([function(x)], [x], [gy])
    return chainer.get_device("@numpy").send(found.array)


@pytest.mark.parametrize("sign", [1, -1])
def test_it_is_tanh_but_for_the_way_back(sign):
    gy = np.full_like(X, 3 * sign)
    expected = gradient(F.tanh, X, gy)
    back = (abs(X) > 3) & (np.sign(X) == sign)
    expected[back] = 3 * sign * FLOOR
    np.testing.assert_array_equal(squash(X).array, F.tanh(X).array)
    found = gradient(squash, X, gy)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_nan_stays_nan():
    gy = np.float32([1, np.nan, -1])
    found = gradient(squash, np.float32([np.nan, 1, np.nan]), gy)
    assert np.isnan(found).all()


def test_its_gradient_has_no_gradient():
    x = chainer.Variable(X)
    with pytest.raises(NotImplementedError, match="no gradient"):
        chainer.grad([squash(x)], [x], enable_double_backprop=True)


LAST = {  # {architecture: its last convolution}
    "multiscale": lambda gen: gen.refiners[-1][-1],
    "seq2seq": lambda gen: gen.readout[-2],
    "skip-autoencoder": lambda gen: gen.last,
}


@pytest.mark.parametrize("arch", LAST)
def test_a_network_whose_pixels_are_all_black_learns_from_white_ones(arch):
    gen = models.create(arch, 4, 1, 3, (32, 32), width="small")
    last = LAST[arch](gen)
    last.b.array[...] = -50
    past = np.random.default_rng(0).uniform(-1, 1, (1, 4, 3, 32, 32)).astype(np.float32)
    predicted = gen.pyramid(past)[-1]
    assert (predicted.array == -1).all()
    loss = F.mean_squared_error(predicted, np.ones_like(predicted.array))
    (gradient,) = chainer.grad([loss], [last.b])
    np.testing.assert_allclose(gradient.array.sum(), -4 * FLOOR, rtol=1e-4)


@pytest.mark.gpu
def test_a_gpu_finds_the_same_gradient(gpu):
    x = np.concatenate([X, np.float32([np.nan])])
    for gy in np.ones_like(x), -np.ones_like(x):
        found, expected = (gradient(squash, x, gy, device) for device in (gpu, CPU))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=5e-7)
