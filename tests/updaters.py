"""Updaters of small networks on a CPU or a GPU, what they report."""

import numpy as np
import pytest

import models
from models.discriminators import Discriminators
from utils import losses
from utils.batches import to_past_and_future
from utils.stack import chainer
from utils.updater import AdversarialUpdater, PredictionUpdater

HISTORY, HORIZON, SIZE, SMALLER = 3, 1, (16, 16), (8, 8)
CPU = chainer.get_device("@numpy")
ARCHITECTURES = sorted(models.builders())


class Clips(chainer.dataset.Iterator):
    """The same few clips of noise for ever; also a store of them."""

    epoch = 0

    def __init__(self, count=2, size=SIZE):
        random = np.random.default_rng(0)
        self.clips = random.integers(0, 256, (count, HISTORY + HORIZON, 3, *size), np.uint8)

    def __len__(self):
        return len(self.clips)

    def next(self):
        return self.clips

    def read(self, indices):
        return self.clips[indices]


def create(arch, seed=0, size=SIZE, **options):
    np.random.seed(seed)
    if "width" in models.own_options(arch):
        options["width"] = "small"
    return models.create(arch, HISTORY, HORIZON, 3, size, **options)


def prediction(device, arch="conv2d", loss="l2", **options):
    gen = create(arch, **options)
    gen.to_device(device)
    terms, _ = losses.by_name(f"{loss}=1", 2.0)
    optimizers = {"gen": chainer.optimizers.Adam(0.001).setup(gen)}
    return PredictionUpdater(Clips(), optimizers, terms, to_past_and_future(HISTORY), device)


def adversarial(device, loss="l2=1,gdl=1,adversarial=0.05", lr=0.001, seed=0):
    gen = create("multiscale", seed, SMALLER, pyramid="4-8")
    dis = Discriminators.of(gen, SMALLER, "small")
    nets = {"gen": gen, "dis": dis}
    for net in nets.values():
        net.to_device(device)
    optimizers = {name: chainer.optimizers.Adam(lr).setup(net) for name, net in nets.items()}
    terms, weight = losses.by_name(loss, 1.0)
    convert = to_past_and_future(HISTORY)
    clips = Clips(size=SMALLER)
    return AdversarialUpdater(clips, optimizers, terms, convert, device, adversarial_weight=weight)


def take_steps(updater, steps=1):
    """Take so many steps -> what the updater reports in each, [{name: number}]."""
    reporter, found = chainer.Reporter(), []
    for name, optimizer in updater.get_all_optimizers().items():
        reporter.add_observer(name, optimizer.target)
    for _ in range(steps):
        observation = {}
        with reporter.scope(observation):
            updater.update()
        found.append({name: float(value.array) for name, value in observation.items()})
    return found


def assert_alike(found, expected, **tolerance):
    """Fail where reports, lists of {name: number}, differ by more than pytest.approx tolerates."""
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, **tolerance)
