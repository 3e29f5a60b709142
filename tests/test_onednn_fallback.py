"""What oneDNN cannot do, or is not there to do, Chainer's own code does, and the log says why."""

import functools
import logging
import types

import numpy as np
import pytest

from tests.arrays import random
from tests.convolutions import needs_onednn
from tests.processes import run_python
from utils.stack import F, chainer, direct, dnnl, onednn, products, providers

pytestmark = pytest.mark.usefixtures("log_anew")


@needs_onednn
def test_product_that_onednn_refuses_is_chainers_own(caplog, monkeypatch):
    def refuse(a, b, out):
        raise dnnl.Error("unimplemented")

    caplog.set_level(logging.INFO, providers.__name__)
    monkeypatch.setattr(onednn.products, "multiply", refuse)
    ones = np.ones((2, 3), np.float32)
    assert (F.linear(ones, ones).array == 3).all()
    assert "unimplemented" in caplog.text


@needs_onednn
def test_linear_layer_of_another_precision_is_chainers_own(caplog):
    caplog.set_level(logging.INFO, providers.__name__)
    assert F.linear(random((5, 7)).astype("f8"), random((3, 7)).astype("f8")).dtype == "f8"
    assert "float64" in caplog.text


def test_empty_batch_is_chainers_own():
    x, w = np.zeros((0, 3, 8, 8), np.float32), random((4, 3, 3, 3))
    assert F.convolution_2d(x, w, pad=1).shape == (0, 4, 8, 8)


@needs_onednn
@pytest.mark.parametrize("dtype", ["f8", "f2"])
def test_other_precisions_are_chainers_own_said_once(dtype, caplog):
    caplog.set_level(logging.INFO, providers.__name__)
    x, w = (random(shape).astype(dtype) for shape in [(1, 3, 5, 5), (2, 3, 3, 3)])
    assert F.convolution_2d(x, w).dtype == dtype
    F.convolution_2d(x, w)
    (line,) = caplog.messages
    assert np.dtype(dtype).name in line


@needs_onednn
@pytest.mark.parametrize(
    "function, shape, weights",
    [
        (F.convolution_2d, (1, 3, 5, 5), (2, 3, 3, 3)),
        (F.convolution_nd, (1, 3, 5, 5, 5), (2, 3, 3, 3, 3)),
        (F.deconvolution_2d, (1, 3, 5, 5), (3, 2, 3, 3)),
        (F.linear, (2, 3), (4, 3)),
    ],
)
def test_gradients_of_weights_have_their_type(function, shape, weights):
    """Though they are computed from images and outputs' gradients that are both float32."""
    W = chainer.Parameter(random(weights).astype("f2"))
    F.sum(F.cast(function(random(shape), W), "f4")).backward()
    assert W.grad.dtype == "f2"


@pytest.mark.parametrize("function", [F.deconvolution_2d, F.deconvolution_nd])
@pytest.mark.parametrize("kernel", [1, 2])  # would make images of -1 or 0 pixels a side
def test_a_deconvolution_with_nothing_to_make_is_refused(function, kernel):
    with pytest.raises((AssertionError, RuntimeError), match="be positive"):
        function(random((2, 4, 1, 1)), random((4, 3, kernel, kernel)), pad=1)


def refusing(geometry, bias):
    raise dnnl.Error("unimplemented")


def slowly(geometry, bias):
    return types.SimpleNamespace(implementation="ref:any")


@needs_onednn
@pytest.mark.parametrize("forward, said", [(refusing, "unimplemented"), (slowly, "no fast")])
def test_case_that_onednn_refuses_is_chainers_own_said_once(forward, said, caplog, monkeypatch):
    x, w = random((1, 3, 5, 5)), random((2, 3, 3, 3), 1)
    truth = F.convolution_2d(x, w).array
    caplog.set_level(logging.INFO, providers.__name__)
    monkeypatch.setattr(direct, "forward", forward)
    onednn._compile.cache_clear()
    for _ in range(2):
        np.testing.assert_allclose(F.convolution_2d(x, w).array, truth, rtol=0, atol=1e-5)
    (line,) = caplog.messages
    assert said in line and "(1, 3, 5, 5)" in line


def test_missing_library_is_said_once_with_its_cure(caplog, monkeypatch):
    monkeypatch.delenv("CHAINER_ONEDNN", raising=False)
    monkeypatch.setattr(dnnl, "_path", lambda: "libdnnl-that-is-not.so.3")
    monkeypatch.setattr(dnnl, "library", functools.cache(dnnl.Library))
    monkeypatch.setattr(onednn, "_obstacle", None)
    ones = np.ones((1, 1, 3, 3), np.float32)
    for _ in range(2):
        assert F.convolution_2d(ones, ones).array == 9
    (line,) = caplog.messages
    assert "libdnnl-that-is-not.so.3" in line and f"pip install {dnnl.WHEEL}" in line


@needs_onednn
def test_a_library_without_some_function_is_said(caplog, monkeypatch):
    monkeypatch.setattr(dnnl, "FUNCTIONS", {"no_such_function": []})
    monkeypatch.setattr(dnnl, "library", functools.cache(dnnl.Library))
    monkeypatch.setattr(onednn, "_obstacle", None)
    ones = np.ones((1, 1, 3, 3), np.float32)
    assert F.convolution_2d(ones, ones).array == 9
    (line,) = caplog.messages
    assert "dnnl_no_such_function" in line and f"pip install {dnnl.WHEEL}" in line


def test_a_system_without_openmp_is_told_what_to_install(caplog, monkeypatch):
    def library():
        raise OSError("libgomp.so.1: cannot open shared object file: No such file or directory")

    monkeypatch.delenv("CHAINER_ONEDNN", raising=False)
    monkeypatch.setattr(dnnl, "library", library)
    monkeypatch.setattr(onednn, "_obstacle", None)
    ones = np.ones((1, 1, 3, 3), np.float32)
    assert F.convolution_2d(ones, ones).array == 9
    (line,) = caplog.messages
    assert "apt install libgomp1" in line and "pip" not in line


def test_switched_off():
    program = (
        "import logging; logging.basicConfig(level='INFO')\n"
        "import numpy as np\n"
        "from utils.stack import F, dnnl\n"
        "print(F.convolution_2d(*2 * [np.ones((1, 1, 3, 3), 'f')]).array.item())\n"
        "assert dnnl.library.cache_info().currsize == 0\n"
    )
    done = run_python("-c", program, environment={"CHAINER_ONEDNN": "0"})
    assert done.returncode == 0, done.stderr
    assert done.stdout == "9.0\n"
    assert done.stderr.count("CHAINER_ONEDNN is 0") == 1


@pytest.mark.parametrize(
    "environment, reason",
    [
        pytest.param({"ONEDNN_MAX_CPU_ISA": "AVX2"}, "AVX512_BF16", marks=needs_onednn),
        ({"CHAINER_ONEDNN": "0"}, "CHAINER_ONEDNN is 0"),
    ],
)
def test_bfloat16_is_refused_where_it_would_be_slow(environment, reason):
    program = "from utils.stack import onednn\nwith onednn.using_dtype('bfloat16'): pass"
    done = run_python("-c", program, environment=environment)
    *_, line = done.stderr.splitlines()
    assert line.startswith("utils.errors.UserError: bfloat16 needs") and reason in line


@needs_onednn
def test_array_of_another_size_is_refused():
    x, w, b = random((1, 3, 5, 5)), random((4, 3, 3, 3), 1), random(1, 2)
    with chainer.using_config("type_check", False), pytest.raises(ValueError, match="16 bytes"):
        F.convolution_2d(x, w, b)


@needs_onednn
def test_status_other_than_success_is_an_error_with_its_name():
    with pytest.raises(dnnl.Error, match="memory_desc_create_with_tag: invalid_arguments"):
        dnnl.descriptor((-1, 2), dnnl.F32)


@needs_onednn
def test_a_kernel_that_fails_is_done_by_chainer(monkeypatch):
    x, w = random((1, 3, 5, 5)), random((2, 3, 3, 3), 1)
    truth = F.convolution_2d(x, w).array
    monkeypatch.setattr(dnnl.library(), "primitive_execute", lambda *_: 2)
    np.testing.assert_allclose(F.convolution_2d(x, w).array, truth, rtol=0, atol=1e-5)
    with pytest.raises(dnnl.Error, match="primitive_execute: invalid_arguments"):
        products.copy(x, x.copy())
