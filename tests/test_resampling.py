"""Frames made smaller or larger."""

import numpy as np
import pytest

from models.resampling import enlarge, shrink
from utils.stack import F


def test_shrink_is_average_pooling_and_enlarge_nearest_neighbour():
    frames = np.random.default_rng(0).uniform(-1, 1, (2, 3, 8, 12))
    assert shrink(frames, 4).array == pytest.approx(F.average_pooling_2d(frames, 4).array)
    assert np.array_equal(enlarge(frames, 3).array, frames.repeat(3, 2).repeat(3, 3))
    assert shrink(enlarge(frames, 2), 2).array == pytest.approx(frames)


@pytest.mark.parametrize("factor", [2, 3])
def test_gradients_of_shrink_and_enlarge_are_the_numerical_ones(factor):
    from chainer import gradient_check  # only after utils.stack has patched Chainer

    random = np.random.default_rng(0)
    x, gy = random.normal(size=(2, 2, 6, 12)), random.normal(size=(2, 2, 6 * factor, 12 * factor))
    for function, inputs, grads in (enlarge, x, gy), (shrink, gy, x):

        def run(x, function=function):
            return function(x, factor)

        gradient_check.check_backward(run, inputs, grads, dtype=np.float64)
        gradient_check.check_double_backward(run, inputs, grads, inputs + 1, dtype=np.float64)
        assert run(inputs.astype("f4")).dtype == np.float32
