"""Convolutions as one matrix product: right for any shape, used where they pay."""

import numpy as np
import pytest
from hypothesis import given, settings

from tests.arrays import double, random
from tests.convolutions import cases, every_result, needs_onednn, only, without_onednn
from utils.stack import F, onednn, unfolded, winograd
from utils.stack.geometry import Geometry

pytestmark = needs_onednn

DEEP = Geometry((8, 256, 4, 4), (512, 256, 4, 4), (8, 512, 2, 2), (2, 2), (1, 1), (1, 1))


def agrees_with_chainers_own_code(*arrays, **how):
    """Choose it for all convolutions that it can compute; their results are Chainer's."""
    with pytest.MonkeyPatch.context() as patch, only("oneDNN"):
        patch.setattr(winograd, "pays", lambda geometry: False)
        patch.setattr(unfolded, "pays", unfolded.suits)
        patch.setattr(onednn, "_compile", onednn._compile.__wrapped__)
        ours = every_result(np.asarray, *arrays, **how)
    with without_onednn():
        truths = every_result(double, *arrays, **how)
    for a, truth in zip(ours, truths, strict=True):
        assert a.dtype == np.float32 and a.flags.c_contiguous
        np.testing.assert_allclose(a, truth, rtol=0, atol=1e-5 * max(1, np.abs(truth).max()))


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(cases())
def test_any_shape(case):
    *arrays, how = case
    agrees_with_chainers_own_code(*arrays, **how)


def test_one_axis_or_three():
    for images, weights in (((2, 3, 20), (16, 3, 5)), ((2, 4, 3, 9, 8), (5, 4, 3, 2, 1))):
        arrays = random(images), random(weights, 1), random(weights[0], 2)
        agrees_with_chainers_own_code(*arrays, stride=2, pad=1)


def test_convolutions_choose_it_where_it_pays():
    onednn._compile.cache_clear()
    x, w = random(DEEP.images), random(DEEP.weights, 1)
    F.convolution_2d(x, w, stride=2, pad=1)
    chosen = onednn._compile("forward", DEEP, False)
    assert chosen.implementation == "unfolded" and onednn._compile.cache_info().hits == 1
    assert unfolded.pays("weight_gradient", DEEP) and not unfolded.pays("data_gradient", DEEP)


@pytest.mark.parametrize(
    "other",
    [
        {"outputs": (64, 512, 2, 2)},
        {"outputs": (8, 512, 8, 8)},
        {"weights": (512, 16, 4, 4)},
        {"weights": (128, 256, 4, 4), "outputs": (8, 128, 2, 2)},
        {"groups": 2},
        {"dtype": "bfloat16"},
    ],
)
def test_where_it_does_not_pay(other):
    assert not unfolded.pays("forward", DEEP._replace(**other))
