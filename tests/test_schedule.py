"""Learning rates that change in the course of a run."""

import time
import types

import numpy as np
import pytest

import train
from tests.updaters import CPU, prediction
from utils.schedule import SCHEDULES, Schedule, cosine, onecycle, rate, rate_name
from utils.snapshots import resume
from utils.stack import chainer
from utils.trainer import Trainer
from utils.weights import arrays_of

RATE = 0.001  # of Adam in `prediction`


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_can_be_asked_for(name):
    assert train.parse(["--schedule", name]).schedule == name


@pytest.mark.parametrize("over, share", [(0, 1), (1 / 3, 0.75), (0.5, 0.5), (1, 0)])
def test_cosine_falls_from_the_rate_given_to_nothing(over, share):
    assert cosine(over) == pytest.approx(share, abs=1e-12)


def test_onecycle_is_that_of_pytorch():
    torch = pytest.importorskip("torch", reason="compared with PyTorch's")
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    steps = 2001
    how = {"max_lr": 1.0, "total_steps": steps, "final_div_factor": 1e4}
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, **how)
    for step in range(steps):
        # Its peak lies a step before three tenths of the way.
        assert onecycle(step / (steps - 1)) == pytest.approx(theirs.get_last_lr()[0], abs=0.003)
        optimizer.step()
        if step < steps - 1:
            theirs.step()


def test_onecycle_rises_then_falls():
    rates = [onecycle(step / 100) for step in range(101)]
    assert np.argmax(rates) == 30 and rates[30] == 1
    assert rates[:30] == sorted(rates[:30]) and rates[30:] == sorted(rates[30:], reverse=True)
    assert (rates[0], rates[-1]) == (pytest.approx(1 / 25), pytest.approx(1 / 25e4))


@pytest.mark.parametrize("kind", ["Adam", "RMSprop", "SGD"])
def test_it_sets_the_rate_of_any_optimizer(kind):
    optimizer = getattr(chainer.optimizers, kind)(0.5)
    half = types.SimpleNamespace(over=lambda: 0.5)
    Schedule(cosine, {"gen": optimizer}).initialize(half)
    assert rate(optimizer) == optimizer.hyperparam.get_dict()[rate_name(optimizer)] == 0.25


def training(out, iterations, **how):
    """A Trainer that writes each of its snapshots, and the rates at which its network learns."""
    rates = []

    def note(trainer):
        rates.append(trainer.observation["lr/gen"])

    trainer = Trainer(
        prediction(CPU), out, iterations, **how, report_every=1, snapshot_every=1, kept=5
    )
    trainer.schedule(SCHEDULES["cosine"])
    trainer.extend(note, name="rates", priority=0)
    return trainer, rates


def test_each_iteration_has_its_rate_after_a_resumption_too(tmp_path):
    trainer, rates = training(tmp_path, 5)
    trainer.run()
    assert rates == pytest.approx([RATE * cosine(k / 5) for k in range(5)])
    wanted = arrays_of(trainer.updater)
    for iteration in (4, 5):
        (tmp_path / f"snapshot_iter_{iteration}").unlink()
    trainer, again = training(tmp_path, 5)
    resume(trainer)
    trainer.run()
    assert again == rates[3:]
    found = arrays_of(trainer.updater)
    assert [name for name in wanted if not np.array_equal(wanted[name], found[name])] == []


def test_time_counts_where_it_limits_the_run(tmp_path):
    trainer, rates = training(tmp_path, 3, minutes=10, began=time.monotonic() - 9.5 * 60)
    trainer.run()
    assert len(rates) == 3 and all(0 <= rate < 0.01 * RATE for rate in rates)
