"""Learning rates that change in the course of a run."""

import math

from utils.stack import chainer

WARM_UP, FIRST, LAST = 0.3, 1 / 25, 1 / 25e4  # of onecycle: a share of the run, shares of the rate


def cosine(over):
    """Half a cosine from 1 down to 0 (Loshchilov and Hutter 2017, equation 5, without restarts)."""
    return between(1, 0, over)


def onecycle(over):
    """Up for three tenths of the run, then down to nearly 0 (Smith and Topin 2018).

    The rates are those of PyTorch's OneCycleLR as OpenSTL calls it; Adam's beta1 does not change.
    """
    if over < WARM_UP:
        return between(FIRST, 1, over / WARM_UP)
    return between(1, LAST, (over - WARM_UP) / (1 - WARM_UP))


def between(start, end, over):
    """From `start` to `end` along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * over)) / 2


SCHEDULES = {"cosine": cosine, "onecycle": onecycle}


class Schedule(chainer.training.Extension):
    """Has optimizers learn at the rates they were made with times factor(share of the run over).

    factor: a function of SCHEDULES.  Reports the rates as lr/NAME, by the names in `optimizers`.
    The rates follow from the iteration, or from the time where that limits the run, so nothing of
    it is in a snapshot.
    """

    name = "schedule"
    trigger = (1, "iteration")
    priority = chainer.training.PRIORITY_WRITER

    def __init__(self, factor, optimizers):
        self.factor, self.optimizers = factor, optimizers
        self.rates = {name: rate(optimizer) for name, optimizer in optimizers.items()}

    def initialize(self, trainer):
        factor = self.factor(trainer.over())
        for name, optimizer in self.optimizers.items():
            setattr(optimizer, rate_name(optimizer), self.rates[name] * factor)

    def __call__(self, trainer):
        chainer.report({f"lr/{name}": rate(one) for name, one in self.optimizers.items()})
        self.initialize(trainer)  # for the next iteration


def rate(optimizer):
    """The learning rate that an optimizer was given."""
    return getattr(optimizer, rate_name(optimizer))


def rate_name(optimizer):
    """What Chainer calls it: Adam's `lr` is the rate with the bias of its moments corrected."""
    return "alpha" if isinstance(optimizer, chainer.optimizers.Adam) else "lr"
