"""Chainer's convolutions through cuDNN's interface: what it is told, on a stand-in for a GPU."""

import contextlib
import logging
import shutil
import sys
import threading
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import acted_cudnn
from tests.acted_cudnn import Engine, array, rounded
from utils.errors import UserError
from utils.stack import F, casts, chainer, cudnn, cudnn_engines, cudnn_plans, onednn, providers
from utils.stack.geometry import Geometry
from utils.stack.precision import using_dtype

CUDA = chainer.backends.cuda
needs_compiler = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("g++"), reason="no g++ to compile kernels"
)
many = settings(max_examples=60, deadline=None, derandomize=True, database=None)
few = settings(many, max_examples=20)


@contextlib.contextmanager
def stand_in():
    """In this context Chainer takes the stand-in's arrays for CuPy's -> the stand-in's library."""
    library = acted_cudnn.Library()
    loaded, cupy = cudnn_plans.Library(library), acted_cudnn.cupy(library)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CHAINER_CUDNN", raising=False)
        patch.setitem(sys.modules, "cupy", cupy)
        patch.setattr(cudnn_plans, "library", lambda: loaded)
        patch.setattr(cudnn_engines, "_thread", cudnn_engines.Thread())
        patch.setattr(cudnn_engines, "_kept", [])
        patch.setattr(cudnn, "missing", lambda: None)
        patch.setattr(cudnn_engines, "idle", lambda cycles: None)
        patch.setattr(casts, "CONVERSIONS", acted_cudnn.CONVERSIONS)
        patch.setattr(CUDA, "ndarray", acted_cudnn.ndarray)
        patch.setattr(CUDA, "cupy", cupy, raising=False)
        # All else that Chainer does with these arrays it does as with NumPy's.
        patch.setattr(CUDA, "available", False)
        patch.setattr(CUDA.GpuDevice, "from_array", lambda array: None)
        nodes = F.connection.convolution_2d
        for node in (nodes.Convolution2DFunction, nodes.Convolution2DGradW):
            patch.setattr(node, "_forward_gpu_core", node._forward_cpu_core)
        for node in (F.activation.relu.ReLU, F.activation.relu.ReLUGrad2):
            patch.setattr(node, "forward_gpu", node.forward_cpu)
        casts._kernel.cache_clear()
        providers.log_once.cache_clear()
        yield library
        casts._kernel.cache_clear()


@pytest.fixture
def gpu():
    with stand_in() as library:
        yield library


@contextlib.contextmanager
def only_cudnn():
    """In this context an array that cuDNN does not take is a failure."""

    def refuse(level, reason):
        assert "not cuDNN" not in reason

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(providers, "log_once", refuse)
        yield


def random(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def double(values):
    return values.astype(np.float64)


def every_result(put, x, w, b, **how):
    """Convolution, then deconvolution back, with all their gradients; put: values -> array."""
    how, size = how.copy(), x.shape[2:]
    if len(size) == 2:
        convolve, deconvolve = F.convolution_2d, F.deconvolution_2d
    else:
        convolve, deconvolve = F.convolution_nd, F.deconvolution_nd
    x, w, b = (chainer.Variable(put(values)) for values in (x, w, b))
    y = convolve(x, w, b, **how)
    gy = np.cos(np.arange(y.size)).reshape(y.shape).astype(np.float32)
    y.grad = put(gy)
    y.backward()
    how.pop("cover_all", None)
    small, v, c = (chainer.Variable(put(a)) for a in (gy, w.array, random(x.shape[1], 9)))
    z = deconvolve(small, v, c, outsize=size, **how)
    z.grad = put(x.array)
    z.backward()
    return y.array, x.grad, w.grad, z.array, small.grad, v.grad


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


@many
@given(cases((1, 2, 2, 3)))
def test_agrees_with_chainers_own_code(case):
    arrays, how = case
    with stand_in(), only_cudnn():
        ours = every_result(array, *arrays, **how)
    for a, truth in zip(ours, every_result(double, *arrays, **how), strict=True):
        assert a.dtype == np.float32 and a.flags.c_contiguous
        assert type(a) is acted_cudnn.ndarray
        np.testing.assert_allclose(a, truth, rtol=0, atol=1e-5 * max(1, np.abs(truth).max()))


@needs_compiler
@pytest.mark.parametrize("dtype, digits", [("bfloat16", 8), ("float16", 11)])
def test_any_case_in_16_bits_is_near(dtype, digits):
    @few
    @given(cases((1, 2, 3)))
    def check(case):
        arrays, how = case
        with stand_in(), using(dtype), only_cudnn():
            ours = every_result(array, *arrays, **how)
        for a, truth in zip(ours, every_result(double, *arrays, **how), strict=True):
            assert a.dtype == np.float32 and a.flags.c_contiguous
            # Rounded are both factors, the result.
            near = 4 * 2**-digits * max(1, np.abs(truth).max())
            np.testing.assert_allclose(a, truth, rtol=0, atol=near)

    check()


@contextlib.contextmanager
def using(dtype):
    with cudnn.using_dtype(dtype):
        yield


@needs_compiler
@pytest.mark.parametrize("dtype", casts.DTYPES)
@pytest.mark.parametrize("layer", ["convolution", "deconvolution", "linear", "three axes"])
def test_no_array_is_packed_twice(gpu, monkeypatch, dtype, layer):
    packed, real = [], casts.Packed
    monkeypatch.setattr(casts, "Packed", lambda *a: packed.append(real(*a)) or packed[-1])
    apply, shapes = {
        "convolution": (F.convolution_2d, [(2, 3, 5, 5), (4, 3, 3, 3)]),
        "deconvolution": (F.deconvolution_2d, [(2, 4, 5, 5), (4, 3, 3, 3)]),
        "linear": (F.linear, [(2, 3), (4, 3)]),
        "three axes": (F.convolution_nd, [(2, 3, 4, 5, 5), (4, 3, 2, 3, 3)]),
    }[layer]
    x, w = (chainer.Variable(array(random(shape))) for shape in shapes)
    with using(dtype), only_cudnn():
        y = apply(x, w)
        y.grad = array(random(y.shape, 1))
        y.backward()
        assert len(packed) == 3  # x, w, the gradient of y
        x.array[...] *= 2  # as by an optimizer: nothing is known of it any more
        again = apply(x, w)
    assert len(packed) == 5
    np.testing.assert_array_equal(again.array, 2 * y.array)


@needs_compiler
def test_bfloat16_rounds_factors_and_the_result_but_not_the_bias(gpu):
    x, w, b = random((2, 3, 9, 9)), random((5, 3, 3, 3), 1), 1e-4 * random(5, 2)
    with using("bfloat16"), only_cudnn():
        y = F.convolution_2d(array(x), array(w), array(b), pad=1).array
    exact = F.convolution_2d(*map(double, map(rounded, (x, w))), pad=1).array
    np.testing.assert_allclose(y, rounded(exact.astype("f4")) + b[:, None, None], rtol=1e-6)


@needs_compiler
@pytest.mark.parametrize("scales", [(1e9, 1e-12), (1e-20, 1e-20), (3e4, 3e4), (1e-3, 1e30)])
def test_float16_has_the_range_of_float32(gpu, scales):
    x, w = random((4, 8, 12, 12)), random((8, 8, 5, 5), 1)
    x, w = (a * np.float32(scale) for a, scale in zip((x, w), scales, strict=True))
    with using("float16"), only_cudnn():
        y = F.convolution_2d(array(x), array(w), pad=2).array
    truth = F.convolution_2d(double(x), double(w), pad=2).array
    near = max(3e-3 * np.abs(truth).max(), 1e-45)
    np.testing.assert_allclose(y, truth, rtol=0, atol=near)


@needs_compiler
@pytest.mark.parametrize("terms", [1, 25, 6400, 65536])
def test_float16_does_not_overflow_even_if_all_terms_are_the_largest(gpu, terms):
    x = np.full((1, terms), 65504, np.float32)
    with using("float16"), only_cudnn():
        y = F.linear(array(x), array(x)).array
    np.testing.assert_allclose(y, [[terms * 65504.0**2]], rtol=2e-3)


@needs_compiler
@pytest.mark.parametrize("dtype", casts.DTYPES)
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_pass_through_16_bits(gpu, dtype, poison):
    x, w = random((1, 3, 7, 7)), random((5, 3, 3, 3), 1)
    x[0, 1, 3, 3] = poison
    with using(dtype), np.errstate(all="ignore"):
        y = F.convolution_2d(array(x), array(w)).array
        truth = F.convolution_2d(x, w).array
    assert np.array_equal(np.isfinite(y), np.isfinite(truth))


@pytest.mark.parametrize("bias", [True, False])
def test_linear_layers(gpu, bias):
    x, w, b, gy = random((5, 7)), random((3, 7), 1), random(3, 2), random((5, 3), 3)
    off = array(np.append(np.float32(0), w))[1:].reshape(w.shape)
    for a, v in [(array(x), array(w)), (array(x.T.copy()).T, off)]:
        inputs = [chainer.Variable(one) for one in (a, v, *[array(b)] * bias)]
        with only_cudnn():
            y = F.linear(*inputs)
            y.grad = array(gy)
            y.backward()
        truth = x.astype("f8") @ w.T + b * bias, gy.astype("f8") @ w, gy.astype("f8").T @ x
        for found, exact in zip((y.array, *(v.grad for v in inputs[:2])), truth, strict=True):
            assert found.flags.c_contiguous and found.dtype == np.float32
            np.testing.assert_allclose(found, exact, rtol=0, atol=1e-5)


def test_gradients_of_gradients(gpu):
    def results(put):
        x, w = (chainer.Variable(put(a)) for a in (random((2, 3, 6, 5)), random((4, 3, 3, 2), 1)))
        y = F.convolution_2d(x, w, stride=2, pad=1)
        gx, gw = chainer.grad([y], [x, w], [y * y], enable_double_backprop=True)
        return [v.array for v in chainer.grad([gx, gw], [x, w], [gx, gw])]

    with only_cudnn():
        ours = results(array)
    for a, truth in zip(ours, results(double), strict=True):
        np.testing.assert_allclose(a, truth, rtol=0, atol=1e-5 * np.abs(truth).max())


def convolve(seed=0, batch=1, **how):
    """A small convolution with a bias."""
    x, w, b = random((batch, 3, 5, 5), seed), random((2, 3, 3, 3), 1), random(2, 2)
    return F.convolution_2d(array(x), array(w), array(b), **how).array


def truth(seed=0, batch=1):
    x, w, b = random((batch, 3, 5, 5), seed), random((2, 3, 3, 3), 1), random(2, 2)
    return F.convolution_2d(double(x), double(w), double(b)).array


TC, DOWN, SUMS, RANDOM = 0, 1, 2, 4
OFFERED = [
    Engine(1, (TC,), workspace=2**28 + 1),
    Engine(2, works=False),
    Engine(3, (TC, DOWN)),
    Engine(4, (SUMS,)),
    Engine(5, (TC, RANDOM)),
    Engine(6, (TC,), workspace=64),
    Engine(8, (RANDOM,)),
    Engine(9, runs=False),
    Engine(10),
]


@pytest.mark.parametrize(
    "dtype, config, engine",
    [
        ("tf32", {}, 5),
        ("tf32", {"cudnn_deterministic": True}, 6),
        ("tf32", {"use_cudnn_tensor_core": "never"}, 8),
        ("float32", {}, 8),
        ("float32", {"cudnn_deterministic": True}, 10),
    ],
)
def test_first_engine_that_may_compute_does(gpu, dtype, config, engine):
    gpu.engines[3] = OFFERED
    with contextlib.ExitStack() as stack:
        stack.enter_context(using(dtype))
        for name, value in config.items():
            stack.enter_context(chainer.using_config(name, value))
        for _ in range(2):
            np.testing.assert_allclose(convolve(), truth(), atol=1e-5)
    assert set(gpu.executed) == {engine}


def test_other_heuristics_are_asked_in_turn(gpu):
    gpu.engines = {3: [Engine(2, works=False)], 1: [], 2: [Engine(11)]}
    convolve()
    gpu.engines[1] = [Engine(10)]
    convolve(batch=2)
    assert gpu.executed == [11, 11, 10, 10]  # the first time twice, to see that it runs


def test_bias_that_no_engine_adds_is_added(gpu):
    gpu.engines[3] = [Engine(1, adds_bias=False)]
    with only_cudnn():
        np.testing.assert_allclose(convolve(), truth(), atol=1e-5)


def test_bias_of_another_size_is_refused(gpu, caplog):
    caplog.set_level(logging.INFO, providers.__name__)
    x, w, b = (array(random(shape)) for shape in [(1, 3, 5, 5), (2, 3, 3, 3), (3,)])
    with chainer.using_config("type_check", False), pytest.raises(ValueError):
        F.convolution_2d(x, w, b)
    assert "a bias of (3,) for 2 channels" in caplog.text
    assert gpu.executed == []


def test_autotune_takes_the_fastest_and_remembers_it(gpu):
    gpu.engines[3] = [Engine(n) for n in (1, 2, 3, 7, 8)]
    with chainer.using_config("autotune", True):
        np.testing.assert_allclose(convolve(), truth(), atol=1e-5)
        tried = len(gpu.executed)
        convolve(seed=1)
    assert gpu.executed[tried - 1 :] == [7, 7]
    assert set(gpu.executed) == {1, 2, 3, 7, 8}


def test_autotune_tries_no_more_than_eight_each_once(gpu):
    gpu.engines[3] = [Engine(n) for n in range(20, 24)]
    gpu.engines[1] = [Engine(n) for n in range(20, 60)]
    with chainer.using_config("autotune", True):
        convolve()
    assert set(gpu.executed) == set(range(20, 28))


def test_plan_is_made_once_for_a_shape(gpu):
    asked = []
    gpu.finalizers = {**gpu.finalizers, 4: lambda self, made: asked.append(made)}
    for batch in (1, 2, 1, 2, 1):
        np.testing.assert_allclose(convolve(batch, batch), truth(batch, batch), atol=1e-5)
    assert len(asked) == 2 and len(gpu.executed) == 7
    with using("float32"):
        convolve()
    assert len(asked) == 3


def test_threads_share_nothing(gpu):
    def handles():
        return [o for o in gpu.objects.values() if o.kind == "handle"]

    convolve()
    thread = threading.Thread(target=convolve)
    thread.start()
    thread.join()
    assert len(handles()) == 2


def test_stream_is_set_where_it_changed(gpu, monkeypatch):
    cupy, streams = sys.modules["cupy"], [0, 0, 5, 5, 0]
    stream = cupy.cuda.get_current_stream()
    monkeypatch.setattr(cupy.cuda, "get_current_stream", lambda: stream)
    for stream.ptr in streams:
        convolve()
    assert gpu.streams == [0, 5, 0]


def test_descriptors_are_destroyed(gpu):
    convolve()
    before = len(gpu.objects)
    for _ in range(3):
        convolve()
    assert len(gpu.objects) == before
    cudnn_engines._thread.plans.clear()
    assert len(gpu.objects) == before  # a graph may need them
    cudnn_engines._kept.clear()
    assert {o.kind for o in gpu.objects.values()} == {"handle"}


@pytest.mark.parametrize(
    "direction, shape, version, engine",
    [
        ("forward", (4, 4, 4), 91500, 24),
        ("forward", (4, 4, 4), 91501, 23),
        ("forward", (4, 4), 91500, 23),
        ("data_gradient", (4, 4, 4), 91900, 24),
        ("weight_gradient", (4, 4, 4), 91900, 23),
    ],
)
def test_engines_known_to_be_wrong_are_left_out(gpu, direction, shape, version, engine):
    gpu.engines[3] = [Engine(23), Engine(24)]
    cudnn_plans.library().version = version
    three = (3,) * len(shape)
    shapes = (1, 2, *shape), (2, 2, *three), (1, 2, *shape)
    one = (1,) * len(shape)
    geometry = Geometry(*shapes, one, one, one, 1, "tf32")
    plans = cudnn_plans.plans(cudnn_plans.Handle(), direction, geometry)
    assert next(plans).engine == engine


def test_an_engine_that_fails_later_is_replaced(gpu, caplog):
    gpu.engines[3] = [Engine(4), Engine(5)]
    convolve()
    broken = Engine(4, runs=False)
    gpu.engines[3] = [broken, Engine(5)]
    for made in gpu.objects.values():  # the plan that is kept fails from now on
        if getattr(made, "engine", None) == Engine(4):
            made.engine = broken
    for _ in range(2):
        np.testing.assert_allclose(convolve(), truth(), atol=1e-5)
    assert gpu.executed[-3:] == [5, 5, 5]  # the first time twice
    assert caplog.text.count("is given up") == 1


def test_no_engine_is_tried_while_a_graph_is_captured(gpu, monkeypatch):
    gpu.engines[3] = [Engine(4)]
    convolve()
    plans = dict(cudnn_engines._thread.plans)
    capturing = types.SimpleNamespace(ptr=0, is_capturing=lambda: True)
    monkeypatch.setattr(sys.modules["cupy"].cuda, "get_current_stream", lambda: capturing)
    monkeypatch.setattr(cudnn_plans.Plan, "execute", fail_to_execute)
    with pytest.raises(RuntimeError, match="no memory"):
        convolve()
    assert cudnn_engines._thread.plans == plans


def fail_to_execute(*told):
    raise RuntimeError("no memory")


def test_an_engine_that_breaks_the_clock_is_not_taken(gpu, monkeypatch):
    class Event(sys.modules["cupy"].cuda.Event):
        def synchronize(self):
            if gpu.executed[-1] == 7:
                raise RuntimeError("cudaErrorLaunchFailure")

    monkeypatch.setattr(sys.modules["cupy"].cuda, "Event", Event)
    gpu.engines[3] = [Engine(7), Engine(8)]
    with chainer.using_config("autotune", True):
        np.testing.assert_allclose(convolve(), truth(), atol=1e-5)
    assert gpu.executed[-1] == 8


def test_engines_that_cannot_be_described_compute(gpu, monkeypatch):
    def get(descriptor, attribute, *told):
        if attribute == 405:
            raise cudnn_plans.Error("CUDNN_STATUS_NOT_SUPPORTED")
        own(descriptor, attribute, *told)

    own = cudnn_plans.library().get
    monkeypatch.setattr(cudnn_plans.library(), "get", get)
    gpu.engines[3] = [Engine(1, runs=False), Engine(2)]
    with only_cudnn():
        np.testing.assert_allclose(convolve(), truth(), atol=1e-5)
    assert set(gpu.executed) == {2}


@pytest.mark.parametrize("full", [False, True])
def test_why_no_plan_runs_is_said_aloud(gpu, caplog, monkeypatch, full):
    def alloc(size):
        raise MemoryError("out of memory")

    gpu.engines[3] = [Engine(1, workspace=64), Engine(2)] if full else [Engine(9, runs=False)]
    if full:
        monkeypatch.setattr(sys.modules["cupy"].cuda, "alloc", alloc)
    for _ in range(2):
        np.testing.assert_allclose(convolve(), truth(), atol=1e-5)
    (record,) = (r for r in caplog.records if "computes, not cuDNN: " in r.message)
    assert record.levelno == logging.WARNING
    reason = "2 tried: out of memory" if full else "1 tried: cudnnBackendExecute: CUDNN_STATUS_"
    assert "no engine of cuDNN runs for the forward of Geometry(" in record.message
    assert reason in record.message


def test_a_handle_that_fails_is_not_tried_again(gpu, caplog, monkeypatch):
    tried = []

    def fail(*_):
        tried.append(1)
        raise cudnn_plans.Error("CUDNN_STATUS_NOT_INITIALIZED")

    monkeypatch.setattr(cudnn_plans.library(), "create_handle", fail)
    for _ in range(2):
        np.testing.assert_allclose(convolve(), truth(), atol=1e-5)
    assert tried == [1] and "it does not start (CUDNN_STATUS_NOT_INITIALIZED)" in caplog.text


@pytest.mark.parametrize(
    "spoil, said",
    [
        (lambda gpu: gpu.engines.update({3: []}), "no engine for the forward of Geometry(images=("),
        (lambda gpu: gpu.engines.update({3: [Engine(1, (DOWN,))]}), "no engine"),
    ],
)
def test_what_cudnn_cannot_do_is_chainers_own_said_once(gpu, caplog, spoil, said):
    caplog.set_level(logging.INFO, providers.__name__)
    spoil(gpu)
    for _ in range(2):
        np.testing.assert_allclose(convolve(), truth(), atol=1e-5)
    (line,) = (line for line in caplog.messages if "computes, not cuDNN: " in line)
    assert said in line
    assert gpu.executed == []


@pytest.mark.parametrize(
    "dtype, config, said",
    [
        ("f4", {"use_cudnn": "never"}, "use_cudnn is never"),
        ("f8", {}, "not float64"),
        ("f2", {}, "not float16"),
    ],
)
def test_what_is_not_for_cudnn_is_chainers_own(gpu, caplog, dtype, config, said):
    caplog.set_level(logging.INFO, providers.__name__)
    x, w = (array(random(shape).astype(dtype)) for shape in [(1, 3, 5, 5), (2, 3, 3, 3)])
    with contextlib.ExitStack() as stack:
        for name, value in config.items():
            stack.enter_context(chainer.using_config(name, value))
        y = F.convolution_2d(x, w).array
    assert y.dtype == dtype and gpu.executed == [] and said in caplog.text


def test_image_smaller_than_the_kernel_is_chainers_mistake_to_tell(gpu):
    x, w = array(random((1, 3, 2, 2))), array(random((2, 3, 5, 5)))
    with pytest.raises(RuntimeError, match="should be positive"):
        F.convolution_2d(x, w)


def test_handle_that_cannot_be_had_is_a_warning(gpu, caplog, monkeypatch):
    def refuse():
        raise cudnn_plans.Error("cudnnCreate: CUDNN_STATUS_NOT_INITIALIZED")

    monkeypatch.setattr(cudnn_plans, "Handle", refuse)
    np.testing.assert_allclose(convolve(), truth(), atol=1e-5)
    record = caplog.records[0]
    assert record.levelname == "WARNING" and "NOT_INITIALIZED" in record.message


def test_weights_overwritten_in_place_are_seen(gpu):
    x, w = array(random((1, 4, 6, 6))), array(random((4, 4, 3, 3), 1))
    before = F.convolution_2d(x, w).array
    w *= 2
    np.testing.assert_array_equal(F.convolution_2d(x, w).array, 2 * before)


@pytest.fixture
def no_library(monkeypatch):
    monkeypatch.delenv("CHAINER_CUDNN", raising=False)
    monkeypatch.setattr(cudnn_plans, "LIBRARY", "libcudnn-that-is-not.so.9")
    for cache in (cudnn.missing, cudnn_plans.library):
        cache.cache_clear()
    yield
    for cache in (cudnn.missing, cudnn_plans.library):
        cache.cache_clear()


def test_missing_library_is_a_warning_with_its_cure(no_library):
    level, reason = cudnn.missing()
    assert level == logging.WARNING
    assert "libcudnn-that-is-not.so.9" in reason and "pip install nvidia-cudnn-cu12" in reason


def test_switched_off(no_library, monkeypatch):
    monkeypatch.setenv("CHAINER_CUDNN", "0")
    assert cudnn.missing() == (logging.INFO, "CHAINER_CUDNN is 0")


def test_library_of_a_wheel_is_found_on_pythons_path(no_library, tmp_path, monkeypatch):
    import _ctypes  # a shared library as any other

    place = tmp_path / "nvidia/cudnn/lib"
    place.mkdir(parents=True)
    shutil.copy(_ctypes.__file__, place / cudnn_plans.LIBRARY)
    monkeypatch.setattr(sys, "path", ["no such place", str(tmp_path)])
    assert cudnn_plans.load()._name == str(place / cudnn_plans.LIBRARY)
    assert "not the cuDNN 9 that is known" in cudnn.missing()[1]


def test_types_that_need_cudnn_say_so(no_library, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    for name in ("tf32", "bfloat16", "float16"):
        with pytest.raises(UserError, match=f"{name} needs cuDNN: .*or use float32"):
            cudnn.using_dtype(name).__enter__()
    with cudnn.using_dtype("float32"):
        pass


@pytest.mark.parametrize(
    "name, capability, cure",
    [("tf32", "75", "8.0"), ("bfloat16", "75", "8.0"), ("float16", "61", "7.0")],
)
def test_types_that_the_gpu_cannot_do_are_refused(gpu, monkeypatch, name, capability, cure):
    monkeypatch.setattr(acted_cudnn.Device, "compute_capability", capability)
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


def test_type_on_a_gpu(gpu):
    class Gpu:
        xp = None

    with using_dtype("bfloat16", Gpu()):
        assert (cudnn._dtype, onednn._dtype) == ("bfloat16", "float32")
    assert cudnn._dtype == "tf32"
