"""Chainer's convolutions through oneDNN: right, repeatable, safe in threads and processes."""

import contextlib
import functools
import logging
import multiprocessing
import os
import platform
import resource
import subprocess
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.stack import F, chainer, direct, dnnl, onednn, providers

try:
    onednn._check_library()
    MISSING = ""
except onednn.Unsuitable as obstacle:
    MISSING = obstacle.args[1]

needs_library = pytest.mark.skipif(bool(MISSING), reason=MISSING)
forks = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def say_again():
    """Let each test see the log lines that come once a process."""
    providers.log_once.cache_clear()


@contextlib.contextmanager
def chainers_own():
    """In this context Chainer's own code computes."""
    obstacle, onednn._obstacle = onednn._obstacle, (logging.INFO, "a test")
    try:
        yield
    finally:
        onednn._obstacle = obstacle


@contextlib.contextmanager
def only_onednn():
    """In this context an array that oneDNN does not take is a failure."""

    def refuse(level, reason):
        raise AssertionError(reason)

    log_once, providers.log_once = providers.log_once, refuse
    try:
        yield
    finally:
        providers.log_once = log_once


def random(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def every_result(x, w, b, size, dtype=np.float32, **how):
    """Convolution, deconvolution to `size` and back, with all their gradients."""
    x, w, b = (chainer.Variable(array.astype(dtype)) for array in (x, w, b))
    y = F.convolution_2d(x, w, b, **how)
    y.grad = gy = np.cos(np.arange(y.size)).reshape(y.shape).astype(dtype)
    y.backward()
    how.pop("cover_all")
    small, v = chainer.Variable(gy), chainer.Variable(w.array)
    z = F.deconvolution_2d(small, v, x.array[0, :, 0, 0].copy(), outsize=size, **how)
    z.grad = x.array
    z.backward()
    return y.array, x.grad, w.grad, z.array, small.grad, v.grad


@st.composite
def cases(draw):
    """A convolution with its arrays: any stride, dilation, padding, groups, channel counts."""
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    stride, dilate, pad = draw(pair), draw(pair), draw(st.tuples(*2 * [st.integers(0, 3)]))
    kernel = draw(st.tuples(*2 * [st.integers(1, 5)]))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilate, strict=True)]
    size = tuple(
        max(1, r - 2 * p) + draw(st.integers(0, 9)) for r, p in zip(reach, pad, strict=True)
    )
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    taken, made = (groups * draw(st.sampled_from([1, 3, 4, 5, 12, 15, 16])) for _ in range(2))
    x = random((draw(st.integers(1, 3)), taken, *size))
    w, b = random((made, taken // groups, *kernel), 1), random(made, 2)
    how = {"stride": stride, "dilate": dilate, "pad": pad, "groups": groups}
    return x, w, b, size, {**how, "cover_all": draw(st.booleans())}


def every_result_of_more_axes(x, w, b, how, dtype):
    """As `every_result`, by the functions for any number of axes."""
    x, w, b = (chainer.Variable(array.astype(dtype)) for array in (x, w, b))
    y = F.convolution_nd(x, w, b, **how)
    y.grad = gy = np.cos(np.arange(y.size)).reshape(y.shape).astype(dtype)
    y.backward()
    small, v = chainer.Variable(gy), chainer.Variable(w.array)
    z = F.deconvolution_nd(small, v, **how)
    z.grad = np.sin(np.arange(z.size)).reshape(z.shape).astype(dtype)
    z.backward()
    return y.array, x.grad, w.grad, b.grad, z.array, small.grad, v.grad


@needs_library
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
    arrays = random(images), random(weights, 1), random(weights[0], 2), how
    with only_onednn():
        ours = every_result_of_more_axes(*arrays, "f4")
    with chainers_own():
        truths = every_result_of_more_axes(*arrays, "f8")
    for a, truth in zip(ours, truths, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, truth, rtol=0, atol=1e-5 * max(1, np.abs(truth).max()))


@needs_library
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(cases())
def test_agrees_with_chainers_own_code_in_single_and_in_double_precision(case):
    *arrays, how = case
    with only_onednn():
        ours = every_result(*arrays, **how)
    with chainers_own():
        single, double = (every_result(*arrays, dtype, **how) for dtype in ("f4", "f8"))
    for a, b, truth in zip(ours, single, double, strict=True):
        assert a.dtype == np.float32 and a.flags.c_contiguous and type(a) is np.ndarray
        allowed = 1e-5 * max(1, np.abs(truth).max())
        np.testing.assert_allclose(a, truth, rtol=0, atol=allowed)
        np.testing.assert_allclose(a, b, rtol=0, atol=2 * allowed)


@needs_library
@pytest.mark.parametrize("channels", [(12, 128), (15, 128), (128, 3)])
def test_channels_of_the_paper(channels):
    taken, made = channels
    x, w, b = random((2, taken, 16, 16)), random((made, taken, 7, 7), 1), random(made, 2)
    how = {"pad": 3, "cover_all": False}
    with only_onednn():
        ours = every_result(x, w, b, (16, 16), **how)
    for a, truth in zip(ours, every_result(x, w, b, (16, 16), "f8", **how), strict=True):
        np.testing.assert_allclose(a, truth, rtol=0, atol=2e-6 * np.abs(truth).max())


@needs_library
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("function", [F.convolution_2d, F.deconvolution_2d])
@pytest.mark.parametrize("how", [{}, {"stride": 2, "pad": 1}, {"groups": 2, "dilate": (1, 2)}])
def test_gradients_are_the_numerical_ones(function, bias, how):
    from chainer import gradient_check  # only after utils.stack has mended Chainer

    groups = how.get("groups", 1)
    x, w, b = random((2, 4, 7, 8)), random((4, 4 // groups, 3, 2), 1), random(4, 2)
    inputs = (x, w, b) if bias else (x, w)

    def run(*inputs):
        return function(*inputs, **how)

    gy = random(run(*inputs).shape, 3)
    # Both are linear in each argument, so that differences over a long step are exact but for
    # rounding.
    with only_onednn():
        gradient_check.check_backward(run, inputs, gy, eps=0.5, rtol=1e-3, atol=1e-3)
        again = tuple(random(array.shape, 4) for array in inputs)
        gradient_check.check_double_backward(run, inputs, gy, again, eps=1e-2, rtol=1e-2, atol=1e-2)


@needs_library
def test_arrays_that_lie_in_memory_in_any_way():
    x, w, b = random((2, 5, 9, 8)), random((6, 5, 3, 3), 1), random(6, 2)
    truth = F.convolution_2d(x, w, b, pad=1).array
    others = [
        x.transpose(2, 3, 0, 1).copy().transpose(2, 3, 0, 1),
        x[:, ::-1].copy()[:, ::-1],
        np.repeat(x, 2, axis=3)[..., ::2],
        np.asfortranarray(x),
    ]
    for other in others:
        with only_onednn():
            assert np.array_equal(F.convolution_2d(other, w[...], b, pad=1).array, truth)
    same = np.broadcast_to(x[:1], x.shape)
    assert np.array_equal(F.convolution_2d(same, w, b, pad=1).array[1], truth[0])


@needs_library
@pytest.mark.parametrize("taken, made", [(1, 1), (3, 16), (16, 3), (32, 32)])
def test_arrays_off_the_cache_lines(taken, made):
    def shifted(array):
        moved = np.empty(array.nbytes + 4, np.uint8)[4:].view(np.float32).reshape(array.shape)
        moved[...] = array
        return moved

    x, w, b = arrays = random((2, taken, 6, 6)), random((made, taken, 3, 3), 1), random(made, 2)
    truth = F.convolution_2d(x, w, b, pad=1).array
    with only_onednn():
        assert np.array_equal(F.convolution_2d(*map(shifted, arrays), pad=1).array, truth)


@needs_library
def test_first_calls_from_two_threads_at_once():
    program = (
        "import threading\n"
        "import numpy as np\n"
        "from utils.stack import F\n"
        "start = threading.Barrier(4)\n"
        "def work():\n"
        "    start.wait()\n"
        "    for size in range(3, 9):\n"
        "        x, w = np.ones((1, 2, size, size), 'f'), np.ones((2, 2, 3, 3), 'f')\n"
        "        assert (F.convolution_2d(x, w).array == 18).all()\n"
        "    print('right\\n', end='')\n"
        "for _ in range(4): threading.Thread(target=work).start()\n"
    )
    assert in_new_process(program).stdout.split() == 4 * ["right"]


@needs_library
@pytest.mark.parametrize("bias", [True, False])
def test_linear_layers(bias):
    x, w, b, gy = random((5, 7)), random((3, 7), 1), random(3, 2), random((5, 3), 3)
    off = np.empty(4 * w.size + 4, np.uint8)[4:].view(np.float32).reshape(w.shape)
    off[...] = w
    layouts = [(x, w), (np.asfortranarray(x), w), (x, off), (x[::-1][::-1], w)]
    for layout in layouts:
        inputs = [chainer.Variable(array) for array in (*layout, *[b] * bias)]
        with only_onednn():
            y = F.linear(*inputs)
            F.sum(y * gy).backward()
        truth = x.astype("f8") @ w.T + b * bias, gy.astype("f8") @ w, gy.astype("f8").T @ x
        for a, exact in zip((y.array, *(v.grad for v in inputs[:2])), truth, strict=True):
            assert a.dtype == np.float32 and a.flags.c_contiguous
            np.testing.assert_allclose(a, exact, rtol=0, atol=1e-5)


@needs_library
def test_product_that_onednn_refuses_is_chainers_own(caplog, monkeypatch):
    def refuse(a, b, out):
        raise dnnl.Error("unimplemented")

    caplog.set_level(logging.INFO, providers.__name__)
    monkeypatch.setattr(onednn.products, "multiply", refuse)
    ones = np.ones((2, 3), np.float32)
    assert (F.linear(ones, ones).array == 3).all()
    assert "unimplemented" in caplog.text


@needs_library
def test_linear_layer_of_another_precision_is_chainers_own(caplog):
    caplog.set_level(logging.INFO, providers.__name__)
    assert F.linear(random((5, 7)).astype("f8"), random((3, 7)).astype("f8")).dtype == "f8"
    assert "float64" in caplog.text


def test_empty_batch_is_chainers_own():
    x, w = np.zeros((0, 3, 8, 8), np.float32), random((4, 3, 3, 3))
    assert F.convolution_2d(x, w, pad=1).shape == (0, 4, 8, 8)


@needs_library
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channels", [(3, 5), (16, 32)])
def test_nan_and_infinity_pass_through(poison, channels):
    taken, made = channels
    x, w, b = random((1, taken, 9, 9)), random((made, taken, 3, 3), 1), random(made, 2)
    x[0, 1, 4, 4] = poison
    how = {"cover_all": False}  # no padding: Chainer's own multiplies the zeros of its padding
    with only_onednn(), np.errstate(all="ignore"):
        ours = every_result(x, w, b, (9, 9), **how)
    with chainers_own(), np.errstate(all="ignore"):
        own = every_result(x, w, b, (9, 9), **how)
    assert not np.isfinite(ours[0]).all()
    for a, b in zip(ours, own, strict=True):
        assert np.array_equal(np.isnan(a), np.isnan(b))
        assert np.array_equal(np.isinf(a), np.isinf(b))
    w[0, 0, 0, 0] = poison
    assert not np.isfinite(F.convolution_2d(np.ones_like(x), w).array[0, 0]).any()


@needs_library
def test_same_call_same_bits():
    x, w, b = random((8, 15, 16, 16)), random((128, 15, 5, 5), 1), random(128, 2)
    first, *others = (every_result(x, w, b, (16, 16), pad=2, cover_all=False) for _ in range(5))
    for other in others:
        assert all(map(np.array_equal, first, other))


@needs_library
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc is not glibc's")
def test_memory_of_results_is_kept():
    """A result of 32 MiB has 8,192 pages, each of which would be a fault if it came anew."""
    x, w = np.zeros((1, 3, 1024, 1024), np.float32), np.zeros((8, 3, 3, 3), np.float32)
    F.convolution_2d(x, w, pad=1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        F.convolution_2d(x, w, pad=1)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 2000


@needs_library
def test_weights_overwritten_in_place_are_seen():
    x, w = random((1, 16, 8, 8)), random((16, 16, 3, 3), 1)
    before = F.convolution_2d(x, w).array
    w *= 2
    np.testing.assert_array_equal(F.convolution_2d(x, w).array, 2 * before)


@needs_library
def test_threads_at_once_with_blas_between():
    a = random((300, 300))
    product = a @ a
    jobs = [
        (random((4, taken, 12, 12)), random((made, taken, 3, 3), 1))
        for taken, made in [(3, 64), (64, 64), (64, 3), (15, 32)]
    ]
    truth = [F.convolution_2d(x, w, pad=1).array for x, w in jobs]
    wrong = []

    def work(start):
        for turn in range(60):
            i = (start + turn) % len(jobs)
            if not np.array_equal(F.convolution_2d(*jobs[i], pad=1).array, truth[i]):
                wrong.append(i)
            if not np.allclose(a @ a, product, rtol=1e-4, atol=1e-3):
                wrong.append("BLAS")

    threads = [threading.Thread(target=work, args=(start,)) for start in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def convolve(case):
    """What a process answers: the outputs, with why oneDNN did not compute them."""
    return F.convolution_2d(*case, pad=1).array, onednn._obstacle


@needs_library
@forks
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_child_process(method):
    case = random((2, 64, 12, 12)), random((64, 64, 3, 3), 1)
    truth, _ = convolve(case)  # starts the threads that a fork does not get
    with multiprocessing.get_context(method).Pool(1) as pool:
        outputs, obstacle = pool.apply_async(convolve, (case,)).get(timeout=60)
    np.testing.assert_allclose(outputs, truth, rtol=0, atol=1e-4)
    assert bool(obstacle) == (method == "fork")
    assert np.array_equal(convolve(case)[0], truth)  # the parent goes on as before


class Convolved(chainer.dataset.DatasetMixin):
    """A data set whose every example is a convolution's output."""

    def __len__(self):
        return 6

    def get_example(self, i):
        return convolve((random((1, 8, 6, 6), i), random((8, 8, 3, 3), 1)))[0]


@needs_library
@forks
def test_multiprocess_iterator():
    truth = Convolved()[:]
    iterator = chainer.iterators.MultiprocessIterator(
        Convolved(), 3, repeat=False, shuffle=False, n_processes=2
    )
    with iterator:
        found = [example for batch in iterator for example in batch]
    np.testing.assert_allclose(found, truth, rtol=0, atol=1e-4)


@needs_library
@pytest.mark.parametrize("dtype", ["f8", "f2"])
def test_other_precisions_are_chainers_own_said_once(dtype, caplog):
    caplog.set_level(logging.INFO, providers.__name__)
    x, w = (random(shape).astype(dtype) for shape in [(1, 3, 5, 5), (2, 3, 3, 3)])
    assert F.convolution_2d(x, w).dtype == dtype
    F.convolution_2d(x, w)
    (line,) = caplog.messages
    assert np.dtype(dtype).name in line


def refusing(geometry, bias):
    raise dnnl.Error("unimplemented")


def slowly(geometry, bias):
    return types.SimpleNamespace(implementation="ref:any")


@needs_library
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


def in_new_process(program, **environment):
    """What `python -c program` says, under additional environment variables."""
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_switched_off():
    done = in_new_process(
        "import logging; logging.basicConfig(level='INFO')\n"
        "import numpy as np\n"
        "from utils.stack import F, dnnl\n"
        "print(F.convolution_2d(*2 * [np.ones((1, 1, 3, 3), 'f')]).array.item())\n"
        "assert dnnl.library.cache_info().currsize == 0\n",
        CHAINER_ONEDNN="0",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "9.0\n"
    assert done.stderr.count("CHAINER_ONEDNN is 0") == 1


needs_bfloat16 = pytest.mark.skipif(
    bool(MISSING) or not dnnl.library().has(dnnl.AVX512_BF16),
    reason=MISSING or "neither AVX512_BF16 nor AMX",
)


def rounded(array):
    """float32 to the nearest bfloat16, ties to even, as float32."""
    bits = array.view(np.uint32).astype(np.uint64)
    bits = bits + 0x7FFF + (bits >> 16 & 1) >> 16 << 16
    return bits.astype(np.uint32).view(np.float32)


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

    with onednn.using_dtype("bfloat16"), only_onednn():
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
    with onednn.using_dtype("bfloat16"), only_onednn():
        ours = every_result(*arrays, **how)
    for a, truth in zip(ours, every_result(*arrays, "f8", **how), strict=True):
        np.testing.assert_allclose(a, truth, rtol=0, atol=0.02 * max(1, np.abs(truth).max()))


@pytest.mark.parametrize(
    "environment, reason",
    [
        pytest.param({"ONEDNN_MAX_CPU_ISA": "AVX2"}, "AVX512_BF16", marks=needs_library),
        ({"CHAINER_ONEDNN": "0"}, "CHAINER_ONEDNN is 0"),
    ],
)
def test_bfloat16_is_refused_where_it_would_be_slow(environment, reason):
    program = "from utils.stack import onednn\nwith onednn.using_dtype('bfloat16'): pass"
    done = in_new_process(program, **environment)
    *_, line = done.stderr.splitlines()
    assert line.startswith("utils.errors.UserError: bfloat16 needs") and reason in line


@needs_library
def test_array_of_another_size_is_refused():
    x, w, b = random((1, 3, 5, 5)), random((4, 3, 3, 3), 1), random(1, 2)
    with chainer.using_config("type_check", False), pytest.raises(ValueError, match="16 bytes"):
        F.convolution_2d(x, w, b)


@needs_library
def test_numbers_of_numpy_are_numbers():
    x, w, one = random((1, 3, 5, 5)), random((4, 3, 3, 3), 1), np.int64(1)
    truth = F.convolution_2d(x, w, pad=1, stride=2)
    with only_onednn():
        again = F.convolution_2d(x, w, pad=(one, one), stride=(2 * one, 2 * one))
    assert np.array_equal(again.array, truth.array)


@needs_library
def test_status_other_than_success_is_an_error_with_its_name():
    with pytest.raises(dnnl.Error, match="memory_desc_create_with_tag: invalid_arguments"):
        dnnl.descriptor((-1, 2), dnnl.F32)
