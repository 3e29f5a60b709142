"""Networks side by side on a GPU: as one after the other."""

from types import SimpleNamespace

import numpy as np
import pytest

from models.discriminators import Discriminators
from utils.device import open_device
from utils.stack import F, L, branches, chainer
from utils.stack.branches import side_by_side

CPU = chainer.get_device("@numpy")
SIZES = [(4, 4), (8, 8), (16, 16)]


@pytest.fixture
def gpu(gpu):
    with chainer.using_config("cudnn_deterministic", True):
        yield gpu


@pytest.fixture(params=["cpu", pytest.param("gpu", marks=pytest.mark.gpu)])
def device(request):
    return request.getfixturevalue("gpu") if request.param == "gpu" else open_device(-1)


def frames(device, seed=0):
    """Random ones of each size, (2, 3, h, w)."""
    rng = np.random.default_rng(seed)
    made = [rng.standard_normal((2, 3, *size)).astype(np.float32) for size in SIZES]
    return [chainer.Variable(device.send(x)) for x in made]


def discriminators(device):
    np.random.seed(0)
    dis = Discriminators(SIZES, 0, 1, 3, "small", conditional=False)
    dis.to_device(device)
    return dis


def one_by_one(links, xs):
    return [link(x) for link, x in zip(links, xs, strict=True)]


def results(device, apply, leaves, gradient_of_gradients=False):
    """What the judges say, gradients of it by what `leaves` chooses of the frames, parameters."""
    xs, dis = frames(device), discriminators(device)
    ys = apply(dis, xs)
    wanted = leaves(xs, list(dis.params()))
    loss = [F.sum(y * y) for y in ys]
    gradients = chainer.grad(loss, wanted, enable_double_backprop=gradient_of_gradients)
    if gradient_of_gradients:
        gradients = chainer.grad([F.sum(g * g) for g in gradients], list(dis.params())[:4])
    return [CPU.send(v.array) for v in (*ys, *gradients)]


def assert_same(found, expected):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


CHOICES = {
    "all": lambda xs, params: [*xs, *params],
    "frames": lambda xs, params: xs,
    "parameters": lambda xs, params: params,
    "of one": lambda xs, params: [xs[1]],
}


@pytest.mark.parametrize("choice", CHOICES)
def test_networks_side_by_side_compute_what_they_do_one_by_one(device, choice):
    found = results(device, branches.applied, CHOICES[choice])
    assert_same(found, results(device, one_by_one, CHOICES[choice]))


def test_gradients_have_gradients(device):
    found = results(device, branches.applied, CHOICES["frames"], gradient_of_gradients=True)
    assert_same(found, results(device, one_by_one, CHOICES["frames"], gradient_of_gradients=True))


@pytest.mark.parametrize("twice", [False, True])
def test_one_input_may_come_from_another(device, twice):
    def gradients(apply):
        first, *others = frames(device)
        second = F.resize_images(first, others[0].shape[2:])
        dis = discriminators(device)
        ys = apply(dis, [first, second, others[1]])
        loss, wanted = [F.sum(y * y) for y in ys], [first, *dis.params()]
        found = chainer.grad(loss, wanted, enable_double_backprop=twice)
        if twice:
            found += chainer.grad([F.sum(found[0] ** 2)], [first, *dis.params()][:4])
        return [CPU.send(v.array) for v in found]

    for ours, theirs in zip(gradients(branches.applied), gradients(one_by_one), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize("twice", [False, True])
def test_networks_may_share_their_parameters(device, twice):
    def gradients(apply):
        net, xs = discriminators(device)[0], frames(device)[:1]
        ys = apply([net, net], [xs[0], 2 * xs[0]])
        wanted = [*xs, *net.params()]
        found = chainer.grad([F.sum(y * y) for y in ys], wanted, enable_double_backprop=twice)
        return [CPU.send(v.array) for v in found]

    for ours, theirs in zip(gradients(branches.applied), gradients(one_by_one), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize("twice", [False, True])
def test_what_is_left_unused_has_no_gradient(device, twice):
    xs, dis = frames(device), discriminators(device)
    used = branches.applied(dis, xs)[0]
    gradients = chainer.grad([F.sum(used)], xs, enable_double_backprop=twice)
    assert gradients[0] is not None and gradients[1:] == [None, None]


@pytest.mark.gpu
def test_each_network_has_a_stream_of_its_own(gpu):
    seen = []

    class Spy(chainer.Chain):
        def __init__(self):
            super().__init__()
            with self.init_scope():
                self.linear = L.Linear(3, 2)

        def forward(self, x):
            seen.append(gpu.xp.cuda.get_current_stream())
            return self.linear(x)

    here = gpu.xp.cuda.get_current_stream()
    spies = chainer.ChainList(Spy(), Spy())
    spies.to_device(gpu)
    xs = [gpu.send(np.ones((1, 3), np.float32)) for _ in spies]
    for _ in range(2):
        branches.applied(spies, xs)
    assert len({*seen, here}) == 3 and seen[:2] == seen[2:]
    assert gpu.xp.cuda.get_current_stream() == here


@pytest.mark.gpu
def test_after_a_failure_networks_compute_one_by_one(gpu, monkeypatch, caplog):
    def fail(*told):
        raise RuntimeError("no stream")

    monkeypatch.setattr(branches, "_one_by_one", False)
    monkeypatch.setattr(branches, "side_streams", fail)
    expected = results(gpu, one_by_one, CHOICES["all"])
    for _ in range(2):
        assert_same(results(gpu, branches.applied, CHOICES["all"]), expected)
    assert caplog.text.count("networks compute one after the other: no stream") == 1


@pytest.mark.gpu
def test_side_by_side_can_be_turned_off(gpu, monkeypatch):
    monkeypatch.setenv("CHAINER_BRANCHES", "0")
    monkeypatch.setattr(branches, "Branches", None)
    expected = results(gpu, one_by_one, CHOICES["all"])
    assert_same(results(gpu, branches.applied, CHOICES["all"]), expected)


@pytest.mark.gpu
def test_the_first_error_is_the_one_raised(gpu, monkeypatch):
    def fail():
        raise RuntimeError("the second")

    broken = SimpleNamespace(wait_event=lambda event: None, record=fail)
    monkeypatch.setattr(branches, "side_streams", lambda *told: [broken])
    with pytest.raises(ValueError, match="the first"), side_by_side(1):
        raise ValueError("the first")


@pytest.mark.gpu
def test_a_captured_graph_computes_side_by_side(gpu):
    """Side by side: none of the work there waits for that of the other."""
    xp = gpu.xp
    stream, numbers = xp.cuda.Stream(non_blocking=True), xp.ones(4, np.float32)
    pool = xp.cuda.MemoryPool()  # CuPy 13 frees what arrays have of a pool that is gone
    with xp.cuda.using_allocator(pool.malloc), stream:
        stream.begin_capture()
        doubled = numbers * 2
        with side_by_side(2) as both:
            made = []
            for k, one in enumerate(both, 1):
                with one:
                    made.append(doubled * k)
        total = made[0] + made[1]
        graph = stream.end_capture()
    for number in (1, 5):
        numbers.fill(number)
        xp.cuda.runtime.deviceSynchronize()
        graph.launch()
        xp.cuda.runtime.deviceSynchronize()
        assert total.get().tolist() == [6 * number] * 4


def test_hooks_see_every_layer(device):
    seen = []

    class Hook(chainer.FunctionHook):
        name = "Hook"

        def forward_postprocess(self, function, inputs):
            seen.append(function.label)

    with Hook():
        branches.applied(discriminators(device), frames(device))
    assert seen.count("Convolution2DFunction") == 7
