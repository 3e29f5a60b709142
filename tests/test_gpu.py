"""Training, validation, prediction on a GPU beside the same on the CPU.

`pytest -m gpu` runs them where one is, test_driver.py where none is. What needs packages that read
pictures or clips is imported where it is used: a machine with a GPU may lack them.
"""

import json

import numpy as np
import pytest
from PIL import Image

import test as testing
import train
from tests.updaters import (
    ARCHITECTURES,
    CPU,
    HISTORY,
    HORIZON,
    SIZE,
    Clips,
    adversarial,
    assert_alike,
    create,
    prediction,
    take_steps,
)
from utils import losses, supply
from utils.device import open_device
from utils.errors import Diverged, UserError, when_out_of_memory
from utils.rollout import predict
from utils.stack import L, chainer, tables
from utils.stack.precision import using_dtype


@pytest.fixture
def gpu(gpu):
    with using_dtype("float32", gpu):  # as on the CPU, not the TF32 that is usual on a GPU
        yield gpu


@pytest.mark.gpu
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_architecture_learns_as_on_the_cpu(gpu, arch):
    found, expected = (take_steps(prediction(device, arch), steps=2) for device in (gpu, CPU))
    assert_alike(found, expected, rel=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("loss", [name for name in losses.LOSSES if name != "mse"])
def test_every_loss_is_that_of_the_cpu(gpu, loss):
    found, expected = (take_steps(prediction(device, loss=loss), steps=3) for device in (gpu, CPU))
    assert_alike(found, expected, rel=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["tf32", "bfloat16", "float16"])
def test_ssim_is_as_exact_whatever_convolutions_multiply(gpu_with_cudnn, dtype):
    found = []
    for device, name in ((CPU, "float32"), (gpu_with_cudnn, dtype)):
        random = np.random.default_rng(0)
        true = np.linspace(-1, 0.9, 32, dtype="f") * np.ones((2, 1, 3, 32, 1), "f")
        predicted = true + random.normal(0, 0.02, true.shape).astype("f")
        with using_dtype(name, device):
            x = chainer.Variable(device.send(predicted))
            loss = losses.ssim(x, device.send(true))
            loss.backward()
        found.append([CPU.send(array) for array in (loss.array, x.grad)])
    for expected, ours in zip(*found, strict=True):
        assert np.linalg.norm(ours - expected) < 0.05 * np.linalg.norm(expected)


@pytest.mark.gpu
@pytest.mark.parametrize("loss", ["l1", "l2", "gdl"])
def test_nan_reaches_the_gradients_that_it_reaches_on_the_cpu(gpu, loss):
    values, true = np.zeros((1, 1, 1, 5, 6), np.float32), np.ones((1, 1, 1, 5, 6), np.float32)
    values[..., 2, 3], found = np.nan, []
    for device in gpu, CPU:
        x = chainer.Variable(device.send(values))
        (gradient,) = chainer.grad([losses.LOSSES[loss](x, device.send(true))], [x])
        found.append(np.isnan(CPU.send(gradient.array)))
    assert found[0].any() and np.array_equal(*found)


@pytest.mark.gpu
@pytest.mark.parametrize("loss", [losses.gdl, losses.lp])
@pytest.mark.parametrize("alpha", [1, 1.5, 2])
@pytest.mark.parametrize("size", [(7, 5), (2, 2)])
def test_a_loss_of_one_kernel_has_the_gradient_of_the_cpu(gpu, size, alpha, loss):
    random = np.random.default_rng(0)
    true, predicted = random.integers(-2, 3, (2, 2, 3, 4, *size)).astype("f4")  # with equal slopes
    found = []
    for device in gpu, CPU:
        variable = chainer.Variable(device.send(predicted))
        value = loss(variable, device.send(true)[::-1], alpha)
        value.grad = device.xp.full((), 3, "f4")
        value.backward()
        found.append([CPU.send(v) for v in (value.array, variable.grad)])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.gpu
@pytest.mark.parametrize("loss", [losses.gdl, losses.lp])
@pytest.mark.parametrize("dtype", ["f2", "f4"])
def test_losses_of_16_bits_are_the_plain_ones(gpu, dtype, loss):
    random = np.random.default_rng(0)
    predicted, true = random.normal(size=(2, 2, 3, 4, 5)).astype(dtype)
    found = loss(chainer.Variable(gpu.send(predicted)), gpu.send(true), 2)
    expected = loss(chainer.Variable(predicted), true, 2)
    assert float(found.array) == pytest.approx(float(expected.array), rel=5e-3)
    assert (found.creator.label == "Loss") == (dtype == "f4")


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("target", [0, 1])
def test_cross_entropy_has_the_gradient_of_the_cpu(gpu, dtype, target):
    x = (20 * np.random.default_rng(0).normal(size=(7, 3))).astype(dtype)
    x[0] = 0.0, 80.0, -80.0
    found = []
    for device in gpu, CPU:
        logits = chainer.Variable(device.send(x))
        loss = losses.bce(logits, target)
        (gradient,) = chainer.grad([3 * loss], [logits])
        arrays = [CPU.send(v.array) for v in (loss, gradient)]
        assert {a.dtype for a in arrays} == {np.dtype(dtype)}
        found.append(arrays)
    for ours, theirs in zip(*found, strict=True):
        near = 2e-3 if dtype == "f2" else 1e-6
        np.testing.assert_allclose(ours, theirs, rtol=near, atol=near * 1e-1)


@pytest.mark.gpu
def test_the_adversarial_step_is_that_of_the_cpu(gpu):
    found, expected = (take_steps(adversarial(device), steps=3) for device in (gpu, CPU))
    assert_alike(found, expected, rel=2e-3)


@pytest.mark.gpu
def test_validation_finds_what_it_finds_on_the_cpu(gpu):
    from utils.validation import Validation

    found = []
    for device in gpu, CPU:
        gen = create("multiscale")
        gen.to_device(device)
        reporter, observation = chainer.Reporter(), {}
        with reporter.scope(observation):
            Validation(Clips(), gen)(None)
        found.append(observation)
    assert_alike(*[[one] for one in found], rel=1e-3, nan_ok=True)


@pytest.mark.gpu
def test_a_preview_is_drawn(gpu, tmp_path):
    from utils.preview import Preview

    class Run:
        out = tmp_path
        updater = prediction(gpu)

    gen = Run.updater.get_optimizer("gen").target
    Preview(Clips(8), gen)(Run)
    assert (tmp_path / "samples.gif").exists()


@pytest.mark.gpu
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_long_predictions_of_odd_frames_are_those_of_the_cpu(gpu, arch):
    clip = np.random.default_rng(1).integers(0, 256, (HISTORY + 3, 3, 33, 35), np.uint8)
    found = []
    for device in gpu, CPU:
        model = create(arch)
        model.to_device(device)
        found.append(predict(model, clip[:-3], 3))
    assert type(found[0]) is np.ndarray
    assert found[0] == pytest.approx(found[1], abs=2e-3)


@pytest.mark.gpu
def test_a_device_that_is_not_there_is_told_in_one_line(gpu):
    with pytest.raises(UserError, match="-g 99: there are . CUDA devices"):
        open_device(99)


@pytest.mark.gpu
def test_memory_that_is_not_there_is_told_in_one_line(gpu):
    refused = pytest.raises(UserError, match="^out of memory .*; smaller, please$")
    with refused as caught, when_out_of_memory("smaller, please"):
        gpu.xp.empty((2**50,), np.uint8)
    assert "\n" not in str(caught.value)


@pytest.mark.gpu
@pytest.mark.parametrize("where", ["kept", "sent", "sent after all"])
def test_batches_are_those_of_the_cpu_to_the_bit(gpu, place, monkeypatch, capsys, where):
    from utils.store import ClipStore

    def full(*told):
        raise MemoryError

    monkeypatch.setattr(supply, "SHARE", 0.0 if where == "sent" else 1.0)
    if where == "sent after all":
        monkeypatch.setattr(supply, "Gather", full)
    monkeypatch.setattr(supply, "CHUNK_BYTES", 20_000)
    store = ClipStore.open(place / "trainclips")
    (found, find), (expected, expect) = (supply.supply(store, 3, 1, d) for d in (gpu, CPU))
    assert ("kept there" if where == "kept" else "read from") in capsys.readouterr().err
    kept = []
    for _ in range(20):
        kept.append((find(next(found), gpu), expect(next(expected), CPU)))
    for ours, theirs in kept:  # which no later batch has overwritten
        for a, b in zip(ours, theirs, strict=True):
            assert np.array_equal(a.get(), b)
    states = [chainer.serializers.npz.serialize(each) for each in (found, expected)]
    assert states[0] == states[1]
    for each in found, expected:
        each.finalize()


@pytest.fixture
def place(tmp_path):
    """A directory with clips of noise to train on, with a video to test on."""
    from tests.stores import make_store, noise

    for seed, name in enumerate(("trainclips", "testclips")):
        make_store(tmp_path / name, noise(20, HISTORY + HORIZON, SIZE, seed), HISTORY, seed=seed)
    (tmp_path / "images").mkdir()
    random = np.random.default_rng(0)
    for k in range(HISTORY + 2):
        frame = random.integers(0, 256, (21, 18, 3), np.uint8)
        Image.fromarray(frame).save(tmp_path / "images" / f"frame{k}.png")
    return tmp_path


def run(place, out, *options):
    data = ("-d", place / "trainclips", "--test-data", place / "testclips", "-o", place / out)
    often = ("--report-every", 2, "--validate-every", 4, "--snapshot-every", 4, "--width", "small")
    train.main([str(word) for word in (*data, *often, "-b", 4, *options)])
    entries = json.loads((place / out / "log").read_text())
    kept = "gen/l2", "gen/gdl", "gen/adversarial", "dis/loss", "epoch", "iteration"
    return [{name: entry[name] for name in kept} for entry in entries]


@pytest.mark.gpu
def test_the_commands_take_a_gpu_or_the_cpu_in_turns(gpu, place, capsys):
    run(place, "result", "-g", 0, "-n", 6)
    run(place, "result", "-r", "-n", 8)
    found = run(place, "result", "-g", 0, "-r", "-n", 12)
    assert_alike(found, run(place, "expected", "-n", 12), rel=1e-2)
    said = capsys.readouterr()
    assert "arning" not in said.err
    testing.main(
        ["-g", "0", "-f", "2", "--load", str(place / "result"), "--images", str(place / "images")]
    )
    assert (place / "result/test/metrics.csv").exists()


def test_cudnns_engines_are_chosen_by_trial(place, monkeypatch):
    from utils.trainer import Trainer

    tried = []
    monkeypatch.setattr(Trainer, "run", lambda self: tried.append(chainer.config.autotune))
    train.main(["-d", str(place / "trainclips"), "-o", str(place / "result"), "--width", "small"])
    assert tried == [True]


@pytest.mark.gpu
def test_one_launch_of_adam_gives_the_numbers_of_the_cpu(gpu):
    from tests import driver

    random = np.random.default_rng(0)
    shapes = [(3, 5, 7), (1,), (2000,)] + [(4,)] * tables.MOST
    gradients = [[random.normal(size=s).astype(np.float32) for s in shapes] for _ in range(5)]
    found = []
    for device in gpu, CPU:
        np.random.seed(0)
        net = chainer.ChainList(*(L.Parameter(np.float32(np.random.random(s))) for s in shapes))
        net.to_device(device)
        optimizer = chainer.optimizers.Adam(1e-2, beta1=0.8, eps=1e-6).setup(net)
        for step in gradients:
            for param, gradient in zip(net.params(), step, strict=True):
                param.grad = device.send(gradient)
            optimizer.update()
        states = [p.update_rule for p in net.params()]
        assert {rule.t for rule in states} == {optimizer.t} == {5}
        arrays = [[p.array, *p.update_rule.state.values()] for p in net.params()]
        found.append([CPU.send(array) for row in arrays for array in row])
    near = 0 if driver.library() else 2**-23  # a GPU's rate may differ in its last bit
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=near, atol=near)


@pytest.mark.gpu
@pytest.mark.parametrize("which", ["param", "moment"])
def test_parameters_in_another_order_learn_too(gpu, which):
    random = np.random.default_rng(0)
    start, gradient = random.normal(size=(2, 5, 3)).astype(np.float32)
    found = []
    for device in gpu, CPU:
        net = L.Parameter(start.copy())
        net.to_device(device)
        optimizer = chainer.optimizers.Adam(1e-2).setup(net)
        net.W.update_rule._init_states(net.W)
        if which == "param":
            net.W.array = device.xp.asfortranarray(net.W.array)
        else:
            state = net.W.update_rule.state
            state["v"] = device.xp.asfortranarray(state["v"])
        for _ in range(3):
            net.W.grad = device.send(gradient)
            optimizer.update()
        assert not (net.W.array if which == "param" else state["v"]).flags.c_contiguous
        found.append(CPU.send(net.W.array))
    assert found[0] == pytest.approx(found[1], rel=1e-5) and not np.array_equal(found[0], start)


@pytest.mark.gpu
def test_adam_passes_over_a_parameter_without_numbers(gpu):
    net = chainer.ChainList(L.Parameter(np.ones(3, np.float32)), L.Linear(None, 2, nobias=True))
    net.to_device(gpu)
    optimizer = chainer.optimizers.Adam(0.5).setup(net)
    for _ in range(2):
        net.cleargrads()
        net[0].W.grad = gpu.send(np.ones(3, np.float32))
        optimizer.update()
    assert net[0].W.array.get() == pytest.approx(0, abs=1e-5)


class Halving(chainer.optimizers.adam.AdamRule):
    def update_core(self, param):
        param.array *= 0.5


@pytest.mark.gpu
@pytest.mark.parametrize("kind", [Halving, None])
def test_a_parameter_may_have_a_rule_of_its_own(gpu, kind):
    net = chainer.ChainList(*(L.Parameter(np.ones(3, np.float32)) for _ in range(2)))
    net.to_device(gpu)
    optimizer = chainer.optimizers.Adam(0.5).setup(net)
    net[1].W.update_rule = kind and kind(optimizer.hyperparam)
    for _ in range(2):
        for param in net.params():
            param.grad = gpu.send(np.ones(3, np.float32))
        optimizer.update()
    assert net[0].W.array.get() == pytest.approx(0, abs=1e-5)
    assert net[1].W.array.get() == pytest.approx(0.25 if kind else 1)


@pytest.mark.gpu
def test_gradients_are_shortened_as_on_the_cpu(gpu):
    found = []
    for device in gpu, CPU:
        updater = adversarial(device)
        for optimizer in updater.get_all_optimizers().values():
            optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(0.01))
        found.append(take_steps(updater, 3))
    assert_alike(*found, rel=2e-3)


@pytest.mark.gpu
def test_nobody_waits_for_the_gpu_between_reports(gpu, tmp_path):
    from tests import driver
    from utils.trainer import Trainer

    if not driver.library():
        pytest.skip("only the driver for tests can tell")
    waited = {}

    def listen(trainer):
        waited[trainer.updater.iteration] = set(driver.waits()) - {"cudaFree"}  # of what lay idle

    trainer = Trainer(adversarial(gpu), tmp_path, 20, report_every=10, snapshot_every=20, kept=1)
    trainer.extend(listen, name="listen", trigger=(1, "iteration"), priority=-1000)
    driver.waits()
    trainer.run()
    assert {iteration for iteration, what in waited.items() if what} == {1, 10, 20}
    assert waited[1] == {"cudaDeviceSynchronize"}  # as a graph is begun


class Poison(chainer.training.Extension):
    """Make a weight of the discriminators infinite after an iteration."""

    name, trigger = "poison", (1, "iteration")

    def __init__(self, iteration):
        self.iteration = iteration

    def __call__(self, trainer):
        if trainer.updater.iteration == self.iteration:
            net = trainer.updater.get_optimizer("dis").target
            next(net.params()).array[...] = np.inf


@pytest.mark.gpu
def test_the_iteration_that_diverged_is_named_at_the_next_report(gpu, tmp_path):
    from utils.trainer import Trainer

    updater = adversarial(gpu)
    trainer = Trainer(updater, tmp_path, 20, report_every=10, snapshot_every=20, kept=1)
    trainer.extend(Poison(4))
    gen = updater.get_optimizer("gen").target
    with pytest.raises(
        Diverged, match="^iteration 5 diverged: dis/loss (nan|inf), gradient of dis"
    ):
        trainer.run()
    assert updater.iteration == 10
    assert all(np.isfinite(param.array.get()).all() for param in gen.params())
