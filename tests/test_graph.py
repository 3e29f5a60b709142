"""Training steps replayed as a CUDA graph: the same numbers as step by step."""

import contextlib
import gc
from types import SimpleNamespace

import numpy as np
import pytest

from models.discriminators import Discriminator
from tests import driver
from tests.updaters import (
    ARCHITECTURES,
    CPU,
    SMALLER,
    Clips,
    adversarial,
    assert_alike,
    prediction,
    take_steps,
)
from utils import graph
from utils.graph import WARM_UPS
from utils.losses import LOSSES
from utils.stack import F, branches, chainer, cudnn, gpu_join

CAPTURED = "training steps are a CUDA graph, "
REFUSED = "training steps do not become a CUDA graph: "


@pytest.fixture(autouse=True)
def same_sums_each_time():
    with chainer.using_config("cudnn_deterministic", True):
        yield


@pytest.fixture
def gpu(gpu):
    """A device on which convolutions can be captured."""
    if obstacle := cudnn.missing():
        pytest.skip(f"CuPy's own products are not captured; no cuDNN: {obstacle[1]}")
    return gpu


def eager(updater):
    """The updater without a graph, on arrays laid out as a graph has them."""
    lay_out = updater.device.xp.ascontiguousarray
    updater.step = lambda *arrays: updater.learn(*map(lay_out, arrays))
    return updater


def state(updater):
    """All that a snapshot would have of it."""
    return chainer.serializers.npz.serialize(updater)


def assert_same(ours, theirs):
    ours, theirs = state(ours), state(theirs)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not np.array_equal(ours[name], theirs[name])] == []


@pytest.mark.gpu
def test_many_steps_are_those_taken_one_by_one(gpu, capsys):
    steps = 16 if driver.library() else 100  # each takes a fifth of a second on the driver
    updater, other = adversarial(gpu), eager(adversarial(gpu))
    assert take_steps(updater, steps) == take_steps(other, steps)
    assert_same(updater, other)
    assert updater.step.graph and capsys.readouterr().err == f"{CAPTURED}{cudnn.in_words()}\n"
    assert {updater.get_optimizer(name).t for name in ("gen", "dis")} == {steps}


@pytest.mark.gpu
@pytest.mark.parametrize("stop", [1, WARM_UPS, WARM_UPS + 1, 12])
def test_a_snapshot_goes_on_alike(gpu, tmp_path, stop):
    other = eager(adversarial(gpu))
    take_steps(other, 16)
    first, second = adversarial(gpu), adversarial(gpu, seed=1)
    take_steps(first, stop)
    chainer.serializers.save_npz(tmp_path / "state.npz", first)
    chainer.serializers.load_npz(tmp_path / "state.npz", second)
    take_steps(second, 16 - stop)
    assert_same(second, other)


@pytest.mark.gpu
def test_one_loaded_between_replays_counts(gpu, tmp_path):
    updater, other = adversarial(gpu), eager(adversarial(gpu))
    take_steps(updater, 10)
    chainer.serializers.save_npz(tmp_path / "state.npz", updater)
    take_steps(updater, 7)
    chainer.serializers.load_npz(tmp_path / "state.npz", updater)
    take_steps(updater, 10)
    take_steps(other, 20)
    assert_same(updater, other)


class Changing(Clips):
    """Fewer clips in some batches."""

    def __init__(self):
        super().__init__(size=SMALLER)
        self.count = 0

    def next(self):
        self.count += 1
        return self.clips[: 1 if 8 < self.count <= 14 else 2]


@pytest.mark.gpu
def test_batches_of_another_size_and_other_moments_are_followed(gpu):
    updaters = adversarial(gpu), eager(adversarial(gpu))
    for updater in updaters:
        updater._iterators["main"] = Changing()
        take_steps(updater, 19)
        updater.get_optimizer("gen").beta1 *= 0.5
        take_steps(updater, 6)
    assert updaters[0].step.graph
    assert_same(*updaters)


@pytest.mark.gpu
@pytest.mark.parametrize(
    "otherwise",
    [lambda: cudnn.using_dtype("bfloat16"), lambda: chainer.using_config("use_cudnn", "never")],
)
def test_another_type_another_configuration_are_followed(gpu, otherwise):
    updaters = prediction(gpu), eager(prediction(gpu))
    for updater in updaters:
        take_steps(updater, WARM_UPS + 2)
        with otherwise():
            take_steps(updater, 2)
        take_steps(updater, WARM_UPS + 2)
    assert updaters[0].step.graph
    assert_same(*updaters)


@pytest.mark.gpu
def test_one_graph_takes_a_learning_rate_that_changes_at_each_step(gpu):
    updaters = adversarial(gpu), eager(adversarial(gpu))
    graphs = set()
    for updater in updaters:
        for _ in range(WARM_UPS + 9):
            updater.get_optimizer("gen").alpha *= 0.7
            take_steps(updater, 1)
            graphs.add(getattr(updater.step, "graph", None))
    assert len(graphs - {None}) == 1
    assert_same(*updaters)


@pytest.mark.gpu
@pytest.mark.parametrize("count", [2, 9, gpu_join.MOST + 1])
@pytest.mark.parametrize("join", [F.concat, F.stack])
def test_many_arrays_are_joined_in_a_graph(gpu, join, count):
    made = []

    def step(array):
        made[:] = [join([array * k for k in range(count)], axis=1).array]

    replayed = graph.Graph(step, [])
    with chainer.Reporter():
        for number in range(WARM_UPS + 2):
            array = np.arange(12, dtype="f").reshape(3, 4) + number
            replayed(gpu.send(array))
    expected = join([array * k for k in range(count)], axis=1).array
    assert replayed.graph and np.array_equal(made[0].get(), expected)


@pytest.mark.parametrize("capturing", [False, True])
def test_no_memory_while_capturing_is_not_for_the_pool_to_mend(capturing):
    class Full(RuntimeError):
        pass

    def memory(size):
        raise Full(f"no {size} bytes")

    stream = SimpleNamespace(is_capturing=lambda: capturing)
    runtime = SimpleNamespace(CUDARuntimeError=Full)
    cuda = SimpleNamespace(Memory=memory, MemoryPointer=None, runtime=runtime)
    cuda.get_current_stream = lambda: stream
    with pytest.raises(MemoryError if capturing else Full, match="no 512 bytes"):
        graph.allocate(cuda, 512)


@pytest.mark.gpu
@pytest.mark.parametrize("loss", [name for name in LOSSES if name != "mse"])
def test_every_loss_can_be_captured(gpu, loss):
    updater, other = prediction(gpu, loss=loss), eager(prediction(gpu, loss=loss))
    assert take_steps(updater, 6) == take_steps(other, 6)
    assert updater.step.graph
    assert_same(updater, other)


@pytest.mark.gpu
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_architecture_is_captured(gpu, arch, capsys):
    """But for one whose matrix products cuBLAS computes, which CuPy keeps out of graphs."""
    updater, other = prediction(gpu, arch), eager(prediction(gpu, arch))
    assert take_steps(updater, 6) == take_steps(other, 6)
    assert_same(updater, other)
    told = capsys.readouterr().err
    if arch == "e3d-lstm":
        assert told.startswith(REFUSED) and "cuBLAS" in told
    else:
        assert updater.step.graph and told == f"{CAPTURED}{cudnn.in_words()}\n"


@pytest.mark.gpu
def test_a_network_that_draws_numbers_is_not_captured(gpu, capsys):
    updater, other = (prediction(gpu, "conv3d-residual", noise=0.1) for _ in range(2))
    assert take_steps(updater, 6) == take_steps(eager(other), 6)
    assert_same(updater, other)
    assert capsys.readouterr().err == f"{REFUSED}the network draws or counts on the host\n"


@pytest.mark.gpu
def test_an_adam_that_counts_on_the_host_is_not_captured(gpu, capsys):
    updaters = prediction(gpu), eager(prediction(gpu))
    for updater in updaters:
        updater.get_optimizer("gen").hyperparam.amsgrad = True
    assert take_steps(updaters[0], 6) == take_steps(updaters[1], 6)
    assert_same(*updaters)
    assert capsys.readouterr().err == f"{REFUSED}an optimizer counts on the host\n"


def put_in(updater, optimizer):
    """The optimizer, in place of the generator's."""
    updater._optimizers["gen"] = optimizer.setup(updater.get_optimizer("gen").target)
    if isinstance(updater.step, graph.Graph):
        updater.step.optimizers = [optimizer]
    return optimizer


@pytest.mark.gpu
def test_optimizers_that_do_not_count_are_captured_their_numbers_followed(gpu):
    updaters = prediction(gpu), eager(prediction(gpu))
    for updater in updaters:
        optimizer = put_in(updater, chainer.optimizers.RMSprop(1e-3))
        take_steps(updater, WARM_UPS + 2)
        optimizer.alpha = 0.5
        take_steps(updater, WARM_UPS + 2)
    assert updaters[0].step.graph
    assert_same(*updaters)


@pytest.mark.gpu
def test_a_rate_on_the_host_that_changes_at_each_step_is_no_graph(gpu, capsys):
    updaters = prediction(gpu), eager(prediction(gpu))
    for updater in updaters:
        optimizer = put_in(updater, chainer.optimizers.SGD(0.1))
        for _ in range(4):
            take_steps(updater)
            optimizer.lr *= 0.5
    assert_same(*updaters)
    said = f"{REFUSED}hyperparameters change from step to step\n"
    assert capsys.readouterr().err == said


@pytest.mark.gpu
def test_memory_of_a_graph_that_is_gone_serves_the_next(gpu, monkeypatch):
    gc.collect()  # those of other tests
    monkeypatch.setattr(graph, "SPARE", [])
    updater = prediction(gpu)
    take_steps(updater, 6)
    pool = updater.step.pool
    kept = pool.free_bytes()
    assert updater.step.graph and kept
    updater.step.begin([gpu.xp.zeros(1, "f4")])
    assert updater.step.pool is pool and pool.free_bytes() < kept
    take_steps(updater, 6)
    assert updater.step.graph
    del updater
    gc.collect()
    assert pool.free_bytes() < kept and [id(spare) for spare in graph.SPARE] == [id(pool)]
    updater = prediction(gpu)
    take_steps(updater, 6)
    assert updater.step.pool is pool and not graph.SPARE


@pytest.mark.gpu
def test_what_warm_ups_took_is_given_back_before_the_capture(gpu, monkeypatch):
    updater, kept, large = prediction(gpu), [], 2**24
    capture_on = updater.step.capture_on

    def spy(stream):
        kept.append(updater.step.pool.free_bytes())
        return capture_on(stream)

    monkeypatch.setattr(updater.step, "capture_on", spy)
    take_steps(updater, WARM_UPS)
    with updater.step.apart():
        gpu.xp.empty(large, "uint8")  # and let go of, as a workspace that an engine was tried with
    assert updater.step.pool.free_bytes() >= large
    take_steps(updater, 1)
    assert updater.step.graph and kept[0] < large  # parts of blocks in use are not given back


@pytest.mark.gpu
def test_a_limit_frees_nothing_while_capturing(gpu):  # CuPy's CUPY_GPU_MEMORY_LIMIT
    updater, other = adversarial(gpu), eager(adversarial(gpu))
    take_steps(updater, WARM_UPS)
    pool = updater.step.pool
    pool.free_all_blocks()
    limit = pool.total_bytes()
    pool.set_limit(size=limit)
    assert take_steps(updater, 3) == take_steps(other, WARM_UPS + 3)[WARM_UPS:]
    assert updater.step.graph and pool.get_limit() == limit
    pool.set_limit(size=0)  # another graph may have it
    assert_same(updater, other)


@pytest.mark.gpu
def test_a_step_that_waits_for_the_gpu_is_taken_as_it_is(gpu, capsys):
    def impatient(updater):
        learn = updater.learn

        def look(past, future):
            learn(past, future)
            float(past.sum())

        return look

    updater, other = adversarial(gpu), eager(adversarial(gpu))
    updater.step.step = impatient(updater)
    assert take_steps(updater, 10) == take_steps(other, 10)
    assert_same(updater, other)
    said = capsys.readouterr().err
    assert said.startswith(REFUSED)
    assert said.count("\n") == 1


@pytest.mark.gpu
def test_the_first_error_is_the_reason_not_what_it_leads_to(gpu, capsys, monkeypatch):
    forward = Discriminator.forward

    def impatient(self, x):
        if gpu.xp.cuda.get_current_stream().is_capturing():
            gpu.xp.cuda.runtime.deviceSynchronize()
        return forward(self, x)

    monkeypatch.setattr(Discriminator, "forward", impatient)
    take_steps(adversarial(gpu), WARM_UPS + 1)
    said = capsys.readouterr().err
    assert said.startswith(f"{REFUSED}cudaErrorStreamCaptureUnsupported")


@pytest.mark.gpu
def test_a_graph_that_cuda_does_not_begin_is_given_up(gpu, capsys):
    def launch():
        raise gpu.xp.cuda.runtime.CUDARuntimeError(2)

    updater, other = adversarial(gpu), eager(adversarial(gpu))
    updater.step.capture_on = lambda stream: SimpleNamespace(launch=launch)
    assert take_steps(updater, 6) == take_steps(other, 6)
    assert_same(updater, other)
    assert capsys.readouterr().err.endswith(f"{REFUSED}cudaErrorMemoryAllocation: out of memory\n")


@pytest.mark.gpu
@pytest.mark.parametrize("where", ["start", "end"])
def test_no_memory_for_a_graph_beside_the_rest(gpu, capsys, where):
    updater, other = adversarial(gpu), eager(adversarial(gpu))
    failures = [MemoryError("no 512 bytes")]

    def learn(*arrays):
        if where == "end":
            updater.learn(*arrays)
        if failures:
            raise failures.pop()
        updater.learn(*arrays)

    updater.step.step = learn
    if where == "end":  # a second try would move the networks twice
        with pytest.raises(MemoryError):
            take_steps(updater)
        return
    assert take_steps(updater, 6) == take_steps(other, 6)
    assert_same(updater, other)
    assert capsys.readouterr().err == f"{REFUSED}no 512 bytes\n"


@pytest.mark.gpu
def test_networks_side_by_side_are_no_obstacle(gpu, monkeypatch, capsys):
    @contextlib.contextmanager
    def breaking(count):
        if gpu.xp.cuda.get_current_stream().is_capturing():
            raise RuntimeError("no fork here")
        yield [contextlib.nullcontext()] * count

    monkeypatch.setattr(branches, "side_by_side", breaking)
    updater, other = adversarial(gpu), eager(adversarial(gpu))
    assert_alike(take_steps(updater, 6), take_steps(other, 6), rel=1e-3)
    said = f"{CAPTURED}{cudnn.in_words()}, without networks side by side: no fork here\n"
    assert updater.step.graph and capsys.readouterr().err == said


@pytest.mark.gpu
def test_none_is_captured_where_it_is_turned_off(gpu, monkeypatch, capsys):
    monkeypatch.setenv("CHAINER_GRAPH", "0")
    updater, other = adversarial(gpu), adversarial(gpu)
    other.step = other.learn
    assert take_steps(updater, 6) == take_steps(other, 6)
    assert updater.step.graph is None and not capsys.readouterr().err


def test_the_cpu_takes_each_step_as_it_is():
    updater = prediction(CPU)
    assert updater.step == updater.learn
