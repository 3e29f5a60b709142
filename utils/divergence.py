"""A training that has left the finite numbers."""

import math

import numpy as np

from utils.errors import Diverged
from utils.stack import chainer

LAST = "gen"  # the optimizer that ends a training step


class FiniteCheck:
    """Hook of all optimizers of an updater: raise Diverged before a bad gradient moves a parameter.

    It costs a dot product a parameter.  A GPU is waited for once a step, when the generator is
    about to move; there the discriminators of that step have moved by then.
    """

    name = "finite"
    timing = "pre"

    def __init__(self, updater):
        self.updater = updater
        self.optimizers = updater.get_all_optimizers()
        self.squares = {}
        for optimizer in self.optimizers.values():
            optimizer.add_hook(self)

    def __call__(self, optimizer):
        (name,) = (n for n, other in self.optimizers.items() if other is optimizer)
        gradients = [param.grad.ravel() for param in optimizer.target.params()]
        self.squares[name] = sum(gradient.dot(gradient) for gradient in gradients)
        if optimizer.target.xp is np or name == LAST:
            squares, self.squares = self.squares, {}
            norms = {f"gradient of {n}": total**0.5 for n, total in squares.items()}
            check(self.updater.iteration + 1, losses() | norms)


def losses():
    """{name: 0-dimensional array} of what has been reported in this iteration."""
    observed = chainer.reporter.get_current_reporter().observation
    return {name: getattr(value, "array", value) for name, value in observed.items()}


def check(iteration, terms):
    """Raise Diverged, naming all terms {name: 0-dimensional array}, unless each is finite."""
    with np.errstate(all="ignore"):
        total = float(sum(terms.values()))  # the one look at the device
    if not math.isfinite(total):
        told = ", ".join(f"{name} {float(value):.4g}" for name, value in terms.items())
        raise Diverged(f"iteration {iteration} diverged: {told}")


def check_arrays(iteration, arrays):
    """Raise Diverged, naming one, unless all of {name: array on the CPU} are finite."""
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise Diverged(f"iteration {iteration} diverged: {name} is not finite")
