"""0 added, 1 multiplied: on a GPU the same array, else a new one of the same numbers."""

import numpy as np
import pytest

from tests.arrays import put
from utils.stack import chainer

NEUTRAL = {
    "0 + x": lambda x: 0 + x,
    "x - 0.0": lambda x: x - 0.0,
    "1 * x": lambda x: 1 * x,
    "x * 1.0": lambda x: x * np.float32(1),
}


def result_and_gradient(function, numbers):
    x = chainer.Variable(numbers)
    y = function(x)
    gy = chainer.Variable(numbers + 1)
    (gx,) = chainer.grad([y], [x], [gy])
    return (x.array, y.array), (gy.array, gx.array)


@pytest.mark.gpu
@pytest.mark.parametrize("name", NEUTRAL)
def test_nothing_happens_on_a_gpu(gpu, name):
    numbers = np.arange(6, dtype="f4").reshape(2, 3)
    for before, after in result_and_gradient(NEUTRAL[name], put(numbers)):
        assert before is after


@pytest.mark.parametrize("name", NEUTRAL)
def test_nothing_changes_on_a_cpu(name):
    numbers = np.arange(6, dtype="f4").reshape(2, 3)
    for before, after in result_and_gradient(NEUTRAL[name], numbers):
        assert np.array_equal(before, after)


@pytest.mark.gpu
@pytest.mark.parametrize("function", [lambda x: 2 + x, lambda x: 3 * x, lambda x: 0 * x + 1])
def test_other_numbers_count(gpu, function):
    numbers = np.arange(6, dtype="f4").reshape(2, 3)
    expected = result_and_gradient(function, numbers)
    for found, wanted in zip(result_and_gradient(function, put(numbers)), expected, strict=True):
        assert [array.get().tolist() for array in found] == [array.tolist() for array in wanted]
