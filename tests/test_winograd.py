"""Convolutions by minimal filtering: near the exact result, repeatable, used where they pay."""

import logging
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.arrays import random
from tests.convolutions import needs_onednn
from utils.stack import F, chainer, onednn, tiles, winograd
from utils.stack.geometry import Geometry

pytestmark = needs_onednn

PAPER = (2, 128, 32, 32), (256, 128, 5, 5), 2  # images, weights, padding: a layer that it pays for


@pytest.fixture
def always(monkeypatch):
    """Choose it for all convolutions that it can compute."""
    monkeypatch.setattr(winograd, "pays", winograd.suits)
    onednn._compile.cache_clear()
    yield
    onednn._compile.cache_clear()


def geometry_of(images, weights, pad, dtype="float32"):
    size = [n + 2 * p - weights[-1] + 1 for n, p in zip(images[2:], pad, strict=True)]
    outputs = images[0], weights[0], *size
    return Geometry(images, weights, outputs, (1, 1), pad, (1, 1), 1, dtype)


def exact(x, w, b, gy, pad):
    """Outputs, images' gradient, weights' gradient in float64 by Chainer's own code."""
    x, w, b, gy = (chainer.Variable(array.astype(np.float64)) for array in (x, w, b, gy))
    y = F.convolution_2d(x, w, b, pad=pad)
    y.grad = gy.array
    y.backward()
    return y.array, x.grad, w.grad


@st.composite
def cases(draw):
    kernel = draw(st.integers(2, 7))
    pad = draw(st.tuples(*2 * [st.integers(0, kernel - 1)]))
    size = [max(1, kernel - 2 * p) + draw(st.integers(0, 20)) for p in pad]
    batch, taken, made = (
        draw(st.sampled_from(numbers)) for numbers in ([1, 2, 5], *2 * [[1, 3, 17]])
    )
    return (
        (batch, taken, *size),
        (made, taken, kernel, kernel),
        pad,
        draw(st.sampled_from([("float32", 1e-4), ("tf32", 1e-2)])),
        draw(st.sampled_from([64, 1000, 32768])),
        draw(st.sampled_from([64, 3000, 2**21])),
        draw(st.sampled_from([1, 1000, 2**19])),
    )


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(cases())
def test_any_shape_is_near_the_exact_result(case):
    images, weights, pad, (dtype, bound), at_once, in_cache, columns = case
    geometry = geometry_of(images, weights, pad, dtype)
    x, w, b, gy = (
        random(images),
        random(weights, 1),
        random(weights[0], 2),
        random(geometry.outputs, 3),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "AT_ONCE", at_once)
        patch.setattr(tiles, "IN_CACHE", in_cache)
        patch.setattr(winograd, "POINTS_IN_CACHE", columns)
        ours = (
            winograd.forward(geometry, True)(x, w, b),
            winograd.data_gradient(geometry)(gy, w),
            winograd.weight_gradient(geometry)(x, gy),
        )
    for a, truth in zip(ours, exact(x, w, b, gy, pad), strict=True):
        assert a.dtype == np.float32 and a.flags.c_contiguous
        np.testing.assert_allclose(a, truth, rtol=0, atol=bound * max(1, np.abs(truth).max()))


@pytest.mark.parametrize(
    "dtype, least, most",
    [("float32", 1e-6, 1e-5), ("tf32", 2e-5, 1e-3)],  # direct: 3e-7; operands rounded to tf32: 3e-4
)
def test_rounding_errors_of_a_layer_of_the_paper(dtype, least, most):
    images, weights, pad = PAPER
    geometry = geometry_of(images, weights, (pad, pad), dtype)
    assert winograd.pays(geometry)
    x, w, b = np.abs(random(images)), random(weights, 1), random(256, 2)
    gy = random(geometry.outputs, 3)
    ours = (
        winograd.forward(geometry, True)(x, w, b),
        winograd.data_gradient(geometry)(gy, w),
        winograd.weight_gradient(geometry)(x, gy),
    )
    for a, truth in zip(ours, exact(x, w, b, gy, pad), strict=True):
        error = np.sqrt(np.mean((a - truth) ** 2) / np.mean(truth**2))
        assert least < error < most


@pytest.mark.parametrize("function", [F.convolution_2d, F.deconvolution_2d])
def test_gradients_are_the_numerical_ones(always, function):
    from chainer import gradient_check  # only after utils.stack has patched Chainer

    inputs = random((2, 4, 9, 8)), random((4, 4, 3, 3), 1), random(4, 2)

    def run(*inputs):
        return function(*inputs, pad=1)

    gy = random(run(*inputs).shape, 3)
    gradient_check.check_backward(run, inputs, gy, eps=0.5, rtol=1e-3, atol=1e-3)
    again = tuple(random(array.shape, 4) for array in inputs)
    gradient_check.check_double_backward(run, inputs, gy, again, eps=0.5, rtol=2e-3, atol=2e-3)


def test_a_number_that_is_not_finite_stays_in_its_tiles(always):
    x, w = random((1, 3, 32, 32)), random((2, 3, 5, 5), 1)
    clean = F.convolution_2d(x, w, pad=2).array
    x[0, 1, 17, 17] = np.inf
    y = F.convolution_2d(x, w, pad=2).array
    assert not np.isfinite(y[:, :, 15:20, 15:20]).any()
    far = np.ones_like(y, bool)
    far[:, :, 8:24, 8:24] = False
    assert np.array_equal(y[far], clean[far])


def test_same_call_same_bits_in_threads_at_once():
    images, weights, pad = PAPER
    x, w = random(images), random(weights, 1)
    truth = F.convolution_2d(x, w, pad=pad).array
    right = []

    def work():
        for _ in range(3):
            right.append(np.array_equal(F.convolution_2d(x, w, pad=pad).array, truth))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == 9 * [True]


def test_where_it_pays(monkeypatch):
    large = geometry_of(PAPER[0], PAPER[1], (2, 2))
    assert winograd.pays(large)
    assert not winograd.pays(geometry_of((2, 128, 4, 4), PAPER[1], (2, 2)))  # few tiles
    assert not winograd.pays(geometry_of((2, 3, 32, 32), (128, 3, 5, 5), (2, 2)))
    for other in ({"stride": (2, 2)}, {"groups": 2}, {"dilate": (2, 2)}):
        assert not winograd.pays(large._replace(**other))
    monkeypatch.setenv("CHAINER_WINOGRAD", "0")
    assert not winograd.pays(large)


def test_convolutions_choose_it_where_it_pays(monkeypatch, caplog):
    caplog.set_level(logging.INFO, onednn.__name__)
    onednn._compile.cache_clear()
    images, weights, pad = PAPER
    F.convolution_2d(random(images), random(weights, 1), pad=pad)
    chosen = onednn._compile("forward", geometry_of(images, weights, (pad, pad)), False)
    assert chosen.implementation == "winograd" and onednn._compile.cache_info().hits == 1
