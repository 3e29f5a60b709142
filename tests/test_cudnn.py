"""Chainer's convolutions through cuDNN's interface: right in all types, whatever their shapes."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import driver
from tests.arrays import CUDA, assert_near, double, put, random, rounded
from tests.convolutions import every_result, only
from utils.errors import UserError
from utils.stack import F, casts, chainer, cudnn, onednn
from utils.stack.precision import using_dtype

# How far results may be, as a share of the largest. In 16 bits both factors, the result are
# rounded. The real cuDNN rounds the factors in TF32, too; in float32 it may take FFT, Winograd's
# way.
NEAR = {"bfloat16": 4 * 2**-8, "float16": 4 * 2**-11}
NEAR["float32"], NEAR["tf32"] = (1e-5, 1e-5) if driver.library() else (1e-4, NEAR["float16"])
EXAMPLES = {"bfloat16": 20, "float16": 20, "float32": 60, "tf32": 60}


@st.composite
def cases(draw, dimensions=(2,)):
    """A convolution with its arrays: any stride, dilation, padding, groups, channel counts."""
    dimension = draw(st.sampled_from(dimensions))

    def per_axis(low, high):
        return draw(st.tuples(*dimension * [st.integers(low, high)]))

    stride, dilate, pad, kernel = per_axis(1, 3), per_axis(1, 2), per_axis(0, 3), per_axis(1, 4)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilate, strict=True)]
    size = [max(1, r - 2 * p) + draw(st.integers(0, 5)) for r, p in zip(reach, pad, strict=True)]
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    taken, made = (groups * draw(st.sampled_from([1, 3, 4, 5])) for _ in range(2))
    x = random((draw(st.integers(1, 3)), taken, *size))
    w, b = random((made, taken // groups, *kernel), 1), random(made, 2)
    how = {"stride": stride, "dilate": dilate, "pad": pad, "groups": groups}
    return (x, w, b), {**how, "cover_all": draw(st.booleans())}


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", NEAR)
def test_agrees_with_chainers_own_code(gpu_with_cudnn, dtype):
    @settings(max_examples=EXAMPLES[dtype], deadline=None, derandomize=True, database=None)
    @given(cases((1, 2, 2, 3)))
    def check(case):
        arrays, how = case
        with cudnn.using_dtype(dtype), only("cuDNN"):
            ours = every_result(put, *arrays, **how)
        for a, truth in zip(ours, every_result(double, *arrays, **how), strict=True):
            assert a.dtype == np.float32 and a.flags.c_contiguous
            assert type(a) is CUDA.ndarray
            near = NEAR[dtype] * max(1, np.abs(truth).max())
            np.testing.assert_allclose(a.get(), truth, rtol=0, atol=near)

    check()


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", casts.DTYPES)
@pytest.mark.parametrize("layer", ["convolution", "deconvolution", "linear", "three axes"])
def test_no_array_is_packed_twice(gpu_with_cudnn, monkeypatch, dtype, layer):
    packed, real = [], casts.Packed
    monkeypatch.setattr(casts, "Packed", lambda *a: packed.append(real(*a)) or packed[-1])
    apply, shapes = {
        "convolution": (F.convolution_2d, [(2, 3, 5, 5), (4, 3, 3, 3)]),
        "deconvolution": (F.deconvolution_2d, [(2, 4, 5, 5), (4, 3, 3, 3)]),
        "linear": (F.linear, [(2, 3), (4, 3)]),
        "three axes": (F.convolution_nd, [(2, 3, 4, 5, 5), (4, 3, 2, 3, 3)]),
    }[layer]
    x, w = (chainer.Variable(put(random(shape))) for shape in shapes)
    with cudnn.using_dtype(dtype), only("cuDNN"):
        y = apply(x, w)
        y.grad = put(random(y.shape, 1))
        y.backward()
        assert len(packed) == 3  # x, w, the gradient of y
        x.array[...] *= 2  # as by an optimizer: nothing is known of it any more
        again = apply(x, w)
    assert len(packed) == 5
    assert (again.array == 2 * y.array).all()


@pytest.mark.gpu
def test_bfloat16_rounds_factors_and_the_result_but_not_the_bias(acted):
    x, w, b = random((2, 3, 9, 9)), random((5, 3, 3, 3), 1), 1e-4 * random(5, 2)
    with cudnn.using_dtype("bfloat16"), only("cuDNN"):
        y = F.convolution_2d(put(x), put(w), put(b), pad=1).array.get()
    exact = F.convolution_2d(*map(double, map(rounded, (x, w))), pad=1).array
    np.testing.assert_allclose(y, rounded(exact.astype("f4")) + b[:, None, None], rtol=1e-6)


@pytest.mark.gpu
@pytest.mark.parametrize("scales", [(1e9, 1e-12), (1e-18, 1e-18), (3e4, 3e4), (1e-3, 1e30)])
def test_float16_has_the_range_of_float32(gpu_with_cudnn, scales):
    x, w = random((4, 8, 12, 12)), random((8, 8, 5, 5), 1)
    x, w = (a * np.float32(scale) for a, scale in zip((x, w), scales, strict=True))
    with cudnn.using_dtype("float16"), only("cuDNN"):
        y = F.convolution_2d(put(x), put(w), pad=2).array.get()
    truth = F.convolution_2d(double(x), double(w), pad=2).array
    near = max(3e-3 * np.abs(truth).max(), 1e-45)
    np.testing.assert_allclose(y, truth, rtol=0, atol=near)


@pytest.mark.gpu
@pytest.mark.parametrize("terms", [1, 25, 6400, 65536])
def test_float16_does_not_overflow_even_if_all_terms_are_the_largest(gpu_with_cudnn, terms):
    x = np.full((1, terms), 65504, np.float32)
    with cudnn.using_dtype("float16"), only("cuDNN"):
        y = F.linear(put(x), put(x)).array.get()
    np.testing.assert_allclose(y, [[terms * 65504.0**2]], rtol=2e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", casts.DTYPES)
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_pass_through_16_bits(acted, dtype, poison):
    x, w = random((1, 3, 7, 7)), random((5, 3, 3, 3), 1)
    x[0, 1, 3, 3] = poison
    with cudnn.using_dtype(dtype), np.errstate(all="ignore"):
        y = F.convolution_2d(put(x), put(w)).array.get()
        truth = F.convolution_2d(x, w).array
    assert np.array_equal(np.isfinite(y), np.isfinite(truth))


@pytest.mark.gpu
@pytest.mark.parametrize("bias", [True, False])
def test_linear_layers(gpu_with_cudnn, bias):
    x, w, b, gy = random((5, 7)), random((3, 7), 1), random(3, 2), random((5, 3), 3)
    off = put(np.append(np.float32(0), w))[1:].reshape(w.shape)
    for a, v in [(put(x), put(w)), (put(x.T.copy()).T, off)]:
        inputs = [chainer.Variable(one) for one in (a, v, *[put(b)] * bias)]
        with cudnn.using_dtype("float32"), only("cuDNN"):
            y = F.linear(*inputs)
            y.grad = put(gy)
            y.backward()
        truth = x.astype("f8") @ w.T + b * bias, gy.astype("f8") @ w, gy.astype("f8").T @ x
        for found, exact in zip((y.array, *(v.grad for v in inputs[:2])), truth, strict=True):
            assert found.flags.c_contiguous and found.dtype == np.float32
            np.testing.assert_allclose(found.get(), exact, rtol=0, atol=NEAR["float32"])


@pytest.mark.gpu
def test_gradients_of_gradients(gpu_with_cudnn):
    def results(put):
        x, w = (chainer.Variable(put(a)) for a in (random((2, 3, 6, 5)), random((4, 3, 3, 2), 1)))
        y = F.convolution_2d(x, w, stride=2, pad=1)
        gx, gw = chainer.grad([y], [x, w], [y * y], enable_double_backprop=True)
        return [v.array for v in chainer.grad([gx, gw], [x, w], [gx, gw])]

    with cudnn.using_dtype("float32"), only("cuDNN"):
        ours = results(put)
    for a, truth in zip(ours, results(double), strict=True):
        assert_near(a, truth, NEAR["float32"])


@pytest.mark.gpu
def test_an_image_smaller_than_the_kernel_is_chainers_error(gpu_with_cudnn):
    x, w = put(random((1, 3, 2, 2))), put(random((2, 3, 5, 5)))
    with pytest.raises(RuntimeError, match="should be positive"):
        F.convolution_2d(x, w)


@pytest.mark.gpu
def test_weights_overwritten_in_place_are_seen(gpu_with_cudnn):
    x, w = put(random((1, 4, 6, 6))), put(random((4, 4, 3, 3), 1))
    before = F.convolution_2d(x, w).array
    w *= 2
    assert (F.convolution_2d(x, w).array == 2 * before).all()


@pytest.mark.gpu
@pytest.mark.parametrize(
    "name, capability, cure",
    [("tf32", "75", "8.0"), ("bfloat16", "75", "8.0"), ("float16", "61", "7.0")],
)
def test_types_that_the_gpu_cannot_do_are_refused(
    gpu_with_cudnn, monkeypatch, name, capability, cure
):
    device = SimpleNamespace(compute_capability=capability)
    monkeypatch.setattr(CUDA.cupy.cuda, "Device", lambda: device)
    with pytest.raises(UserError, match=f"{name} needs a GPU of compute capability {cure}"):
        cudnn.using_dtype(name).__enter__()


def test_type_is_that_of_the_device():
    cpu, before = chainer.get_device("@numpy"), (cudnn._dtype, onednn._dtype)
    assert before == ("tf32", "float32")
    with pytest.raises(UserError, match="float16 is for a GPU; on a CPU use float32 or tf32"):
        using_dtype("float16", cpu).__enter__()
    with using_dtype("tf32", cpu), using_dtype(None, cpu):
        assert (cudnn._dtype, onednn._dtype) == ("tf32", "tf32")
    assert (cudnn._dtype, onednn._dtype) == before


@pytest.mark.gpu
def test_type_on_a_gpu(gpu_with_cudnn):
    with using_dtype("bfloat16", gpu_with_cudnn):
        assert (cudnn._dtype, onednn._dtype) == ("bfloat16", "float32")
    assert cudnn._dtype == "tf32"
