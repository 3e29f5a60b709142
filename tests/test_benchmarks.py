"""The benchmarks: both sides do the same work, each script prints one line of JSON.

The networks and steps in PyTorch were written apart from ours, so this is a check of ours too.
"""

import json

import numpy as np
import pytest

import models
from models.discriminators import Discriminators
from tests.processes import run_python
from utils.batches import to_past_and_future
from utils.losses import by_name
from utils.rollout import rollout
from utils.stack import chainer, onednn
from utils.updater import AdversarialUpdater, PredictionUpdater

torch = pytest.importorskip("torch", reason="the benchmarks compare with PyTorch")
pytorch = pytest.importorskip("benchmarks.torch_multiscale")

SHAPE, SIZE = (4, 1, 3), 32
WEIGHT_ADV = 0.5  # ten times the usual, so that nobody misses it
CLIPS = np.random.default_rng(0).integers(0, 256, (2, 5, 3, SIZE, SIZE), np.uint8)


@pytest.fixture(autouse=True)
def direct_convolutions(monkeypatch):
    """Both sides round alike; what minimal filtering adds is tested in test_winograd.py."""
    monkeypatch.setenv("CHAINER_WINOGRAD", "0")
    onednn._compile.cache_clear()
    yield
    onednn._compile.cache_clear()


class OneBatch(chainer.dataset.Iterator):
    def next(self):
        return CLIPS


def networks():
    """(generator, discriminators), ours, then PyTorch's with the same weights."""
    np.random.seed(0)
    gen = models.create("multiscale", *SHAPE, (SIZE, SIZE), width="small")
    dis = Discriminators.of(gen, (SIZE, SIZE), "small")
    same = pytorch.Generator("small", *SHAPE), pytorch.discriminators("small", *SHAPE, SIZE)
    for net, copy in zip((gen, dis), same, strict=True):
        for param, copied in zip(net.params(), copy.parameters(), strict=True):
            copied.data = torch.tensor(param.array)
    return (gen, dis), same


def sgd(nets, same):
    """Optimizers whose steps are the gradients themselves."""
    return (
        [chainer.optimizers.SGD(1).setup(net) for net in nets],
        [torch.optim.SGD(net.parameters(), 1) for net in same],
    )


def adam(nets, same):
    """Optimizers with an epsilon so large that the rounding of tiny gradients does not decide.

    Chainer adds it to the root of the biased mean, PyTorch to that of the unbiased one.
    """
    epsilon, biased = 1e-3, 1e-3 * (1 - 0.999) ** 0.5
    return (
        [chainer.optimizers.Adam(0.01, eps=biased).setup(net) for net in nets],
        [torch.optim.Adam(net.parameters(), 0.01, eps=epsilon, fused=True) for net in same],
    )


def our_step(optimizers):
    """One step -> the losses of generator and, if there are two optimizers, discriminators."""
    terms, _ = by_name("l2=1,gdl=1", alpha=1)
    shared = terms, to_past_and_future(SHAPE[0]), chainer.get_device("@numpy")
    optimizers = dict(zip(("gen", "dis"), optimizers, strict=False))
    if len(optimizers) == 2:
        updater = AdversarialUpdater(OneBatch(), optimizers, *shared, adversarial_weight=WEIGHT_ADV)
    else:
        updater = PredictionUpdater(OneBatch(), optimizers, *shared)
    reporter, told = chainer.Reporter(), {}
    for name, optimizer in optimizers.items():
        reporter.add_observer(name, optimizer.target)
    with reporter.scope(told):
        updater.update()
    told = {name: float(loss.array) for name, loss in told.items()}
    gen_loss = told["gen/l2"] + told["gen/gdl"] + WEIGHT_ADV * told.get("gen/adversarial", 0)
    return [gen_loss, *([told["dis/loss"]] if "dis/loss" in told else [])]


def their_step(nets, optimizers):
    clips = torch.from_numpy(CLIPS)
    if len(optimizers) == 1:
        return [pytorch.generator_step(nets[0], optimizers[0], clips, SHAPE[0]).item()]
    losses = pytorch.adversarial_step(*nets, *optimizers, clips, SHAPE[0], WEIGHT_ADV)
    return [loss.item() for loss in losses]


@pytest.mark.parametrize("kind", [sgd, adam])
@pytest.mark.parametrize("trained", [1, 2], ids=["generator", "adversarial"])
def test_one_step_is_the_same_on_both_sides(kind, trained):
    nets, same = (pair[:trained] for pair in networks())
    before = [[param.array.copy() for param in net.params()] for net in nets]
    ours, theirs = kind(nets, same)
    assert our_step(ours) == pytest.approx(their_step(same, theirs), rel=1e-5)
    for net, copy, start in zip(nets, same, before, strict=True):
        for param, copied, old in zip(net.params(), copy.parameters(), start, strict=True):
            moved, expected = param.array - old, copied.detach().numpy() - old
            assert np.abs(expected).max() > 0
            np.testing.assert_allclose(moved, expected, atol=1e-4 * np.abs(expected).max())


def test_generators_agree_on_a_frame_that_is_no_multiple_of_theirs():
    (gen, _), (same, _) = networks()
    past = np.random.default_rng(1).uniform(-1, 1, (1, 4, 3, 42, 35)).astype(np.float32)
    ours = rollout(gen, past, 3)
    theirs = pytorch.rollout(same, torch.from_numpy(past).flatten(1, 2), 3, SHAPE[2])
    np.testing.assert_allclose(ours.reshape(theirs.shape), theirs.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    "arguments",
    [
        ("train_step.py", "--width=small", "--batch=2"),
        ("rollout.py", "--width=small", "--size", "20", "16"),
        ("convlstm.py", "--channels=4", "--size=8"),
    ],
)
def test_scripts_print_one_line_of_json(arguments):
    script, *options = arguments
    done = run_python(f"benchmarks/{script}", "--repeats=1", *options, check=True)
    report = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    for side in ("ours", "pytorch"):
        assert report[side]["median_s"] > 0
        assert report[side]["peak_rss_mib"] > 10
    assert report["ratio"] == pytest.approx(
        report["ours"]["median_s"] / report["pytorch"]["median_s"], abs=0.01
    )


def test_bfloat16_step_is_near_the_one_in_float32():
    clips, found = torch.from_numpy(CLIPS), []
    for dtype in torch.float32, torch.bfloat16:
        nets, same = networks()
        _, theirs = sgd(nets, same)
        losses = pytorch.adversarial_step(*same, *theirs, clips, SHAPE[0], WEIGHT_ADV, dtype)
        found.append([loss.item() for loss in losses])
    exact, near = found
    assert near != exact and near == pytest.approx(exact, rel=0.02)
