"""Learning rates that change in the course of a run."""

import math

from utils.stack import chainer
from utils.stack.adam import is_adam

# Of onecycle: the share of the run in which rates rise; the first and the last factor.
WARM_UP, FIRST, LAST = 0.3, 1 / 25, 1 / 25e4


def cosine(progress):
    """Half a cosine from 1 down to 0 (Loshchilov and Hutter 2017, equation 5, without restarts)."""
    return anneal(1, 0, progress)


def onecycle(progress):
    """Up for three tenths of the run, then down to nearly 0 (Smith and Topin 2018).

    The factors are those of PyTorch's OneCycleLR as OpenSTL calls it; Adam's beta1 does not change.
    """
    if progress < WARM_UP:
        return anneal(FIRST, 1, progress / WARM_UP)
    return anneal(1, LAST, (progress - WARM_UP) / (1 - WARM_UP))


def anneal(start, end, progress):
    """From `start` to `end` along half a cosine, as `progress` goes from 0 to 1."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


# {name: function of the share of the run that is over, 0 to 1 -> factor of the learning rates}; but
# for "constant", which changes nothing
SCHEDULES = {"cosine": cosine, "onecycle": onecycle}


class Schedule(chainer.training.Extension):
    """Multiplies the learning rates that optimizers were made with by factor(share of run over).

    factor: one of SCHEDULES. optimizers: {name: optimizer}; the rates are reported as lr/NAME.
    They follow from the iteration, or from the time if that limits the run, so no snapshot needs
    to hold them.
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
    """The attribute with the learning rate; Adam's `lr` is another one, with bias correction."""
    return "alpha" if is_adam(optimizer) else "lr"
