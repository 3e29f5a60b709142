"""What cuDNN's library is asked, which of its engines compute: by the acted one, which tells."""

import contextlib
import logging
import threading

import numpy as np
import pytest

from tests.acted_cudnn import Engine
from tests.arrays import CUDA, double, put, random
from tests.convolutions import only
from utils.graph import WARM_UPS
from utils.stack import F, chainer, cudnn, cudnn_engines, cudnn_plans, providers

pytestmark = pytest.mark.gpu


def convolve(seed=0, batch=1, **how):
    """A small convolution with a bias."""
    x, w, b = random((batch, 3, 5, 5), seed), random((2, 3, 3, 3), 1), random(2, 2)
    return F.convolution_2d(put(x), put(w), put(b), **how).array.get()


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
def test_first_engine_that_may_compute_does(acted, dtype, config, engine):
    acted.engines[3] = OFFERED
    with contextlib.ExitStack() as stack:
        stack.enter_context(cudnn.using_dtype(dtype))
        for name, value in config.items():
            stack.enter_context(chainer.using_config(name, value))
        for _ in range(2):
            np.testing.assert_allclose(convolve(), truth(), atol=1e-5)
    assert set(acted.executed) == {engine}


def test_other_heuristics_are_asked_in_turn(acted):
    acted.engines = {3: [Engine(2, works=False)], 1: [], 2: [Engine(11)]}
    convolve()
    acted.engines[1] = [Engine(10)]
    convolve(batch=2)
    assert acted.executed == [11, 11, 10, 10]  # the first time twice, to see that it runs


def test_bias_that_no_engine_adds_is_added(acted):
    acted.engines[3] = [Engine(1, adds_bias=False)]
    with only("cuDNN"):
        np.testing.assert_allclose(convolve(), truth(), atol=1e-5)


def test_bias_of_another_size_is_refused(acted, caplog):
    caplog.set_level(logging.INFO, providers.__name__)
    x, w, b = (put(random(shape)) for shape in [(1, 3, 5, 5), (2, 3, 3, 3), (3,)])
    with chainer.using_config("type_check", False), pytest.raises(ValueError):
        F.convolution_2d(x, w, b)
    assert "a bias of (3,) for 2 channels" in caplog.text
    assert acted.executed == []


def test_autotune_takes_the_fastest_and_remembers_it(acted, monkeypatch):
    class Event(CUDA.cupy.cuda.Event):
        """Of a clock that goes by the engines that have computed; 7 is the fastest."""

        def record(self):
            self.time = sum(1 if engine == 7 else 5 for engine in acted.executed)

    monkeypatch.setattr(CUDA.cupy.cuda, "Event", Event)
    monkeypatch.setattr(CUDA.cupy.cuda, "get_elapsed_time", lambda a, b: b.time - a.time)
    acted.engines[3] = [Engine(n) for n in (1, 2, 3, 7, 8)]
    with chainer.using_config("autotune", True):
        np.testing.assert_allclose(convolve(), truth(), atol=1e-5)
        tried = len(acted.executed)
        convolve(seed=1)
    assert acted.executed[tried - 1 :] == [7, 7]
    assert set(acted.executed) == {1, 2, 3, 7, 8}


def test_autotune_tries_no_more_than_eight_each_once(acted):
    acted.engines[3] = [Engine(n) for n in range(20, 24)]
    acted.engines[1] = [Engine(n) for n in range(20, 60)]
    with chainer.using_config("autotune", True):
        convolve()
    assert set(acted.executed) == set(range(20, 28))


def test_plan_is_made_once_for_a_shape(acted):
    asked = []
    acted.finalizers = {**acted.finalizers, 4: lambda self, made: asked.append(made)}
    for batch in (1, 2, 1, 2, 1):
        np.testing.assert_allclose(convolve(batch, batch), truth(batch, batch), atol=1e-5)
    assert len(asked) == 2 and len(acted.executed) == 7
    with cudnn.using_dtype("float32"):
        convolve()
    assert len(asked) == 3


def test_threads_share_nothing(acted):
    def handles():
        return [o for o in acted.objects.values() if o.kind == "handle"]

    convolve()
    thread = threading.Thread(target=convolve)
    thread.start()
    thread.join()
    assert len(handles()) == 2


def test_stream_is_set_where_it_changed(acted):
    first, other = CUDA.cupy.cuda.Stream.null, CUDA.cupy.cuda.Stream()
    for stream in first, first, other, other, first:
        with stream:
            convolve()
    assert acted.streams == [0, other.ptr, 0]


def test_descriptors_are_destroyed(acted):
    convolve()
    before = len(acted.objects)
    for _ in range(3):
        convolve()
    assert len(acted.objects) == before
    cudnn_engines._thread.plans.clear()
    assert len(acted.objects) == before  # a graph may need them
    cudnn_engines._kept.clear()
    assert {o.kind for o in acted.objects.values()} == {"handle"}


def test_an_engine_that_fails_later_is_replaced(acted, caplog):
    acted.engines[3] = [Engine(4), Engine(5)]
    convolve()
    broken = Engine(4, runs=False)
    acted.engines[3] = [broken, Engine(5)]
    for made in acted.objects.values():  # the plan that is kept fails from now on
        if getattr(made, "engine", None) == Engine(4):
            made.engine = broken
    for _ in range(2):
        np.testing.assert_allclose(convolve(), truth(), atol=1e-5)
    assert acted.executed[-3:] == [5, 5, 5]  # the first time twice
    assert caplog.text.count("is given up") == 1


@pytest.mark.parametrize("autotune", [False, True])
@pytest.mark.parametrize("others", [[], [Engine(2)]])
def test_a_passing_shortage_of_memory_rules_out_no_engine(acted, monkeypatch, autotune, others):
    own = CUDA.cupy.cuda.alloc

    def alloc(size):
        if size or not others:
            raise MemoryError("out of memory")
        return own(size)

    acted.engines[3] = [Engine(1, workspace=64), *others]
    with chainer.using_config("autotune", autotune):
        convolve(batch=2)
        for batch in 1, 2:  # new, known
            with monkeypatch.context() as patch:
                patch.setattr(CUDA.cupy.cuda, "alloc", alloc)
                np.testing.assert_allclose(convolve(batch=batch), truth(batch=batch), atol=1e-5)
            convolve(batch=batch)
            assert acted.executed[-1] == 1


def test_a_lasting_shortage_of_memory_is_not_searched_for_ever(acted, monkeypatch):
    own, searches, choose = CUDA.cupy.cuda.alloc, [], cudnn_engines._choose

    def alloc(size):
        if size:
            raise MemoryError("out of memory")
        return own(size)

    acted.engines[3] = [Engine(1, workspace=64), Engine(2)]
    monkeypatch.setattr(CUDA.cupy.cuda, "alloc", alloc)
    monkeypatch.setattr(cudnn_engines, "_choose", lambda *a: searches.append(0) or choose(*a))
    for _ in range(WARM_UPS + 2):
        np.testing.assert_allclose(convolve(), truth(), atol=1e-5)
    assert acted.executed[-1] == 2 and len(searches) == cudnn_engines.SEARCHES <= WARM_UPS


def test_no_engine_is_tried_while_a_graph_is_captured(acted, monkeypatch):
    acted.engines[3] = [Engine(4)]
    x, w = put(random((1, 3, 5, 5))), put(random((2, 3, 3, 3)))
    with CUDA.cupy.cuda.Stream() as stream:
        F.convolution_2d(x, w)
        plans = dict(cudnn_engines._thread.plans)
        monkeypatch.setattr(cudnn_plans.Plan, "execute", fail_to_execute)
        stream.begin_capture()
        with pytest.raises(RuntimeError, match="no memory"):
            F.convolution_2d(x, w)
        with chainer.using_config("autotune", True), pytest.raises(RuntimeError, match="be tried"):
            F.convolution_2d(x, w)
        stream.end_capture()
    assert cudnn_engines._thread.plans == plans


def fail_to_execute(*told):
    raise RuntimeError("no memory")


def test_an_engine_that_fails_while_it_is_timed_is_not_taken(acted, monkeypatch):
    class Event(CUDA.cupy.cuda.Event):
        def synchronize(self):
            super().synchronize()
            if acted.executed[-1] == 7:
                raise RuntimeError("cudaErrorLaunchFailure")

    monkeypatch.setattr(CUDA.cupy.cuda, "Event", Event)
    acted.engines[3] = [Engine(7), Engine(8)]
    with chainer.using_config("autotune", True):
        np.testing.assert_allclose(convolve(), truth(), atol=1e-5)
    assert acted.executed[-1] == 8


def test_engines_that_cannot_be_described_compute(acted, monkeypatch):
    def get(descriptor, attribute, *told):
        if attribute == 405:
            raise cudnn_plans.Error("CUDNN_STATUS_NOT_SUPPORTED")
        own(descriptor, attribute, *told)

    own = cudnn_plans.library().get
    monkeypatch.setattr(cudnn_plans.library(), "get", get)
    acted.engines[3] = [Engine(1, runs=False), Engine(2)]
    with only("cuDNN"):
        np.testing.assert_allclose(convolve(), truth(), atol=1e-5)
    assert set(acted.executed) == {2}


@pytest.mark.parametrize("full", [False, True])
def test_that_no_plan_runs_is_a_warning_with_the_reason(acted, caplog, monkeypatch, full):
    def alloc(size):
        raise MemoryError("out of memory")

    acted.engines[3] = [Engine(1, workspace=64), Engine(2)] if full else [Engine(9, runs=False)]
    if full:
        monkeypatch.setattr(CUDA.cupy.cuda, "alloc", alloc)
    for _ in range(2):
        np.testing.assert_allclose(convolve(), truth(), atol=1e-5)
    (record,) = (r for r in caplog.records if "computes, not cuDNN: " in r.message)
    assert record.levelno == logging.WARNING
    reason = "2 tried: out of memory" if full else "1 tried: cudnnBackendExecute: CUDNN_STATUS_"
    assert "no engine of cuDNN runs for the forward of Geometry(" in record.message
    assert reason in record.message
    assert cudnn_engines._kept == []


def test_a_handle_that_fails_is_a_warning_and_not_tried_again(acted, caplog, monkeypatch):
    tried = []

    def fail(*_):
        tried.append(1)
        raise cudnn_plans.Error("CUDNN_STATUS_NOT_INITIALIZED")

    monkeypatch.setattr(cudnn_plans.library(), "create_handle", fail)
    for _ in range(2):
        np.testing.assert_allclose(convolve(), truth(), atol=1e-5)
    record = caplog.records[0]
    assert tried == [1] and record.levelno == logging.WARNING
    assert "it does not start (CUDNN_STATUS_NOT_INITIALIZED)" in record.message


@pytest.mark.parametrize(
    "engines, said",
    [([], "no engine for the forward of Geometry(images=("), ([Engine(1, (DOWN,))], "no engine")],
)
def test_what_cudnn_cannot_compute_chainer_does_with_one_line(acted, caplog, engines, said):
    caplog.set_level(logging.INFO, providers.__name__)
    acted.engines[3] = engines
    for _ in range(2):
        np.testing.assert_allclose(convolve(), truth(), atol=1e-5)
    (line,) = (line for line in caplog.messages if "computes, not cuDNN: " in line)
    assert said in line
    assert acted.executed == []


@pytest.mark.parametrize(
    "dtype, config, said",
    [
        ("f4", {"use_cudnn": "never"}, "use_cudnn is never"),
        ("f8", {}, "not float64"),
        ("f2", {}, "not float16"),
    ],
)
def test_other_types_and_configurations_are_computed_by_chainer(acted, caplog, dtype, config, said):
    caplog.set_level(logging.INFO, providers.__name__)
    x, w = (put(random(shape).astype(dtype)) for shape in [(1, 3, 5, 5), (2, 3, 3, 3)])
    with contextlib.ExitStack() as stack:
        for name, value in config.items():
            stack.enter_context(chainer.using_config(name, value))
        y = F.convolution_2d(x, w).array
    assert y.dtype == dtype and acted.executed == [] and said in caplog.text
