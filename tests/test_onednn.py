"""Chainer's convolutions and linear layers through oneDNN: right, and the same each time."""

import numpy as np
import pytest
from hypothesis import given, settings

from tests.arrays import double, random, rounded
from tests.convolutions import MISSING, cases, every_result, needs_onednn, only, without_onednn
from utils.stack import F, chainer, dnnl, onednn

pytestmark = pytest.mark.usefixtures("log_anew")


def single(values):
    return values


@needs_onednn
@pytest.mark.parametrize(
    ("images", "weights", "how"),
    [
        ((2, 3, 20), (16, 3, 5), {"stride": 2, "pad": 1}),
        ((2, 4, 3, 17, 16), (1, 4, 3, 3, 3), {"pad": 1}),  # as conv3d-residual has it
        ((1, 8, 5, 9, 8), (16, 8, 3, 1, 2), {"stride": (1, 2, 1), "pad": (1, 0, 1)}),
        ((2, 16, 7, 7, 7), (16, 16, 3, 3, 3), {"dilate": 2, "pad": 2}),
    ],
)
def test_one_axis_or_three(images, weights, how):
    arrays = random(images), random(weights, 1), random(weights[0], 2)
    with only("oneDNN"):
        ours = every_result(single, *arrays, **how)
    with without_onednn():
        truths = every_result(double, *arrays, **how)
    for a, truth in zip(ours, truths, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, truth, rtol=0, atol=1e-5 * max(1, np.abs(truth).max()))


@needs_onednn
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(cases())
def test_agrees_with_chainers_own_code_in_single_and_in_double_precision(case):
    *arrays, how = case
    with only("oneDNN"):
        ours = every_result(single, *arrays, **how)
    with without_onednn():
        theirs, truths = (every_result(convert, *arrays, **how) for convert in (single, double))
    for a, b, truth in zip(ours, theirs, truths, strict=True):
        assert a.dtype == np.float32 and a.flags.c_contiguous and type(a) is np.ndarray
        allowed = 1e-5 * max(1, np.abs(truth).max())
        np.testing.assert_allclose(a, truth, rtol=0, atol=allowed)
        np.testing.assert_allclose(a, b, rtol=0, atol=2 * allowed)


@needs_onednn
@pytest.mark.parametrize("channels", [(12, 128), (15, 128), (128, 3)])
def test_channels_of_the_paper(channels):
    taken, made = channels
    x, w, b = random((2, taken, 16, 16)), random((made, taken, 7, 7), 1), random(made, 2)
    with only("oneDNN"):
        ours = every_result(single, x, w, b, pad=3)
    for a, truth in zip(ours, every_result(double, x, w, b, pad=3), strict=True):
        # 2.3e-6 measured where AVX2 is all there is: sums of 128 * 49 products.
        np.testing.assert_allclose(a, truth, rtol=0, atol=4e-6 * np.abs(truth).max())


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("function", [F.convolution_2d, F.deconvolution_2d])
@pytest.mark.parametrize("how", [{}, {"stride": 2, "pad": 1}, {"groups": 2, "dilate": (1, 2)}])
def test_gradients_are_the_numerical_ones(function, bias, how):
    from chainer import gradient_check  # only after utils.stack has patched Chainer

    groups = how.get("groups", 1)
    x, w, b = random((2, 4, 7, 8)), random((4, 4 // groups, 3, 2), 1), random(4, 2)
    inputs = (x, w, b) if bias else (x, w)

    def run(*inputs):
        return function(*inputs, **how)

    gy = random(run(*inputs).shape, 3)
    # Both are linear in each argument, so that differences over a long step are exact but for
    # rounding.
    with only("oneDNN"):
        gradient_check.check_backward(run, inputs, gy, eps=0.5, rtol=1e-3, atol=1e-3)
        again = tuple(random(array.shape, 4) for array in inputs)
        gradient_check.check_double_backward(run, inputs, gy, again, eps=1e-2, rtol=1e-2, atol=1e-2)


@needs_onednn
def test_arrays_of_any_memory_layout():
    x, w, b = random((2, 5, 9, 8)), random((6, 5, 3, 3), 1), random(6, 2)
    truth = F.convolution_2d(x, w, b, pad=1).array
    others = [
        x.transpose(2, 3, 0, 1).copy().transpose(2, 3, 0, 1),
        x[:, ::-1].copy()[:, ::-1],
        np.repeat(x, 2, axis=3)[..., ::2],
        np.asfortranarray(x),
    ]
    for other in others:
        with only("oneDNN"):
            assert np.array_equal(F.convolution_2d(other, w[...], b, pad=1).array, truth)
    same = np.broadcast_to(x[:1], x.shape)
    assert np.array_equal(F.convolution_2d(same, w, b, pad=1).array[1], truth[0])


@needs_onednn
@pytest.mark.parametrize("taken, made", [(1, 1), (3, 16), (16, 3), (32, 32)])
def test_arrays_at_unaligned_addresses(taken, made):
    def shifted(array):
        moved = np.empty(array.nbytes + 4, np.uint8)[4:].view(np.float32).reshape(array.shape)
        moved[...] = array
        return moved

    x, w, b = arrays = random((2, taken, 6, 6)), random((made, taken, 3, 3), 1), random(made, 2)
    truth = F.convolution_2d(x, w, b, pad=1).array
    with only("oneDNN"):
        assert np.array_equal(F.convolution_2d(*map(shifted, arrays), pad=1).array, truth)


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
def test_linear_layers(bias):
    x, w, b, gy = random((5, 7)), random((3, 7), 1), random(3, 2), random((5, 3), 3)
    off = np.empty(4 * w.size + 4, np.uint8)[4:].view(np.float32).reshape(w.shape)
    off[...] = w
    layouts = [(x, w), (np.asfortranarray(x), w), (x, off), (x[::-1][::-1], w)]
    for layout in layouts:
        inputs = [chainer.Variable(array) for array in (*layout, *[b] * bias)]
        with only("oneDNN"):
            y = F.linear(*inputs)
            F.sum(y * gy).backward()
        truth = x.astype("f8") @ w.T + b * bias, gy.astype("f8") @ w, gy.astype("f8").T @ x
        for a, exact in zip((y.array, *(v.grad for v in inputs[:2])), truth, strict=True):
            assert a.dtype == np.float32 and a.flags.c_contiguous
            np.testing.assert_allclose(a, exact, rtol=0, atol=1e-5)


@needs_onednn
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channels", [(3, 5), (16, 32)])
def test_nan_and_infinity_pass_through(poison, channels):
    taken, made = channels
    x, w, b = random((1, taken, 9, 9)), random((made, taken, 3, 3), 1), random(made, 2)
    x[0, 1, 4, 4] = poison
    # no padding: Chainer's own multiplies the zeros of its padding
    with only("oneDNN"), np.errstate(all="ignore"):
        ours = every_result(single, x, w, b)
    with without_onednn(), np.errstate(all="ignore"):
        own = every_result(single, x, w, b)
    assert not np.isfinite(ours[0]).all()
    for a, b in zip(ours, own, strict=True):
        assert np.array_equal(np.isnan(a), np.isnan(b))
        assert np.array_equal(np.isinf(a), np.isinf(b))
    w[0, 0, 0, 0] = poison
    assert not np.isfinite(F.convolution_2d(np.ones_like(x), w).array[0, 0]).any()


@needs_onednn
def test_same_call_same_bits():
    x, w, b = random((8, 15, 16, 16)), random((128, 15, 5, 5), 1), random(128, 2)
    first, *others = (every_result(single, x, w, b, pad=2) for _ in range(5))
    for other in others:
        assert all(map(np.array_equal, first, other))


@needs_onednn
def test_weights_overwritten_in_place_are_seen():
    x, w = random((1, 16, 8, 8)), random((16, 16, 3, 3), 1)
    before = F.convolution_2d(x, w).array
    w *= 2
    np.testing.assert_array_equal(F.convolution_2d(x, w).array, 2 * before)


needs_bfloat16 = pytest.mark.skipif(
    bool(MISSING) or not dnnl.library().has(dnnl.AVX512_BF16),
    reason=MISSING or "neither AVX512_BF16 nor AMX",
)


@needs_bfloat16
@pytest.mark.parametrize("channels", [(3, 5), (15, 128), (128, 3), (64, 64)])
def test_bfloat16_rounds_what_it_multiplies_and_nothing_else(channels):
    taken, made = channels
    x, w, b = random((2, taken, 9, 9)), random((made, taken, 5, 5), 1), random(made, 2)
    gy = random((2, made, 9, 9), 3)

    def results(x, w, gy, dtype):
        x, w, gy, offset = (chainer.Variable(array.astype(dtype)) for array in (x, w, gy, b))
        y = F.convolution_2d(x, w, offset, pad=2)
        y.grad = gy.array
        y.backward()
        return y.array, x.grad, w.grad

    with onednn.using_dtype("bfloat16"), only("oneDNN"):
        ours = results(x, w, gy, np.float32)
    truth = results(*map(rounded, (x, w, gy)), np.float64)
    for a, exact in zip(ours, truth, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, exact, rtol=0, atol=2e-6 * np.abs(exact).max())
    assert not np.array_equal(results(x, w, gy, np.float32)[0], ours[0])  # float32 again


@needs_bfloat16
@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(cases())
def test_bfloat16_of_any_case_is_near(case):
    *arrays, how = case
    with onednn.using_dtype("bfloat16"), only("oneDNN"):
        ours = every_result(single, *arrays, **how)
    for a, truth in zip(ours, every_result(double, *arrays, **how), strict=True):
        np.testing.assert_allclose(a, truth, rtol=0, atol=0.02 * max(1, np.abs(truth).max()))


@needs_onednn
def test_strides_and_padding_may_be_numpy_integers():
    x, w, one = random((1, 3, 5, 5)), random((4, 3, 3, 3), 1), np.int64(1)
    truth = F.convolution_2d(x, w, pad=1, stride=2)
    with only("oneDNN"):
        again = F.convolution_2d(x, w, pad=(one, one), stride=(2 * one, 2 * one))
    assert np.array_equal(again.array, truth.array)
