"""Training that diverges: losses, gradients or weights that are NaN or infinite."""

import math

import numpy as np

from utils.errors import Diverged
from utils.stack import chainer, gpu_norm, kernels, tables

# On a GPU the host does not wait for the numbers: this kernel checks them there. `note` is
# [iterations checked, the first bad iteration, its terms, the norm of its gradient].
SOURCE = (
    tables.STRUCT
    + r"""
extern "C" __global__ void check_finite(
    const Table terms, const double* square_sum, double* note, int* halted) {
  note[0] += 1;
  if (*halted) return;
  bool finite = isfinite(*square_sum);
  for (int k = 0; k < terms.count; ++k) finite = finite && isfinite(*terms.at[0][k]);
  if (finite) return;
  *halted = 1;
  note[1] = note[0];
  for (int k = 0; k < terms.count; ++k) note[2 + k] = *terms.at[0][k];
  note[2 + terms.count] = sqrt(*square_sum);
}
"""
)


class FiniteCheck(chainer.training.Extension):
    """Checks losses and gradients before each step of an updater's optimizers.

    On the CPU, or without own kernels, it raises Diverged at once, before the step. On a GPU the
    first bad iteration is noted there, and Adam is halted: it changes nothing any more (other
    optimizers go on). The extension raises Diverged, for that iteration, when it is called next,
    which is before anything is reported or saved.
    """

    name = "finite"
    priority = 1000  # above Chainer's own: before all others

    def __init__(self, updater):
        self.updater = updater
        self.optimizers = updater.get_all_optimizers()
        self.halted = None
        self.notes = {}  # name of an optimizer: (names of its terms, the note on the GPU)
        for optimizer in self.optimizers.values():
            optimizer.add_hook(self.check_step, self.name, "pre")

    def check_step(self, optimizer):
        """The hook that each optimizer calls before its step, after gradients are computed."""
        (name,) = (n for n, other in self.optimizers.items() if other is optimizer)
        gradients = [param.grad for param in optimizer.target.params()]
        norm = f"gradient of {name}"
        if optimizer.target.xp is np or not kernels.usable():
            total = sum(gradient.ravel().dot(gradient.ravel()) for gradient in gradients)
            check(self.updater.iteration + 1, reported_losses() | {norm: total**0.5})
            return
        terms = reported_losses()
        if name not in self.notes:
            self.prepare(optimizer, name, [*terms, norm])
        _, note = self.notes[name]
        found = gpu_norm.square_sum(gradients), note, self.halted
        terms = [term.astype(np.float32, copy=False) for term in terms.values()]
        for table, _ in tables.launches(terms):
            kernels.compiled(SOURCE, "check_finite")((1,), (1,), (table, *found))

    def prepare(self, optimizer, name, terms):
        """Allocate an optimizer's note on the GPU, and give it the flag that halts it."""
        xp = optimizer.target.xp
        if self.halted is None:
            self.halted = xp.zeros((), np.int32)
        optimizer.halted = self.halted
        note = xp.zeros(2 + len(terms), np.float64)
        note[:1].fill(self.updater.iteration)
        self.notes[name] = terms, note

    def __call__(self, trainer):
        for names, note in self.notes.values():
            _, iteration, *values = note.get().tolist()
            if iteration:
                raise diverged(int(iteration), dict(zip(names, values, strict=True)))


def reported_losses():
    """{name: 0-dimensional array} of what has been reported in this iteration."""
    observed = chainer.reporter.get_current_reporter().observation
    return {name: getattr(value, "array", value) for name, value in observed.items()}


def check(iteration, terms):
    """Raise Diverged, which names all terms {name: 0-dimensional array}, unless all are finite."""
    with np.errstate(all="ignore"):
        total = float(sum(terms.values()))
    if not math.isfinite(total):
        raise diverged(iteration, terms)


def diverged(iteration, terms):
    """The exception that names an iteration and all of its terms."""
    values = ", ".join(f"{name} {float(value):.4g}" for name, value in terms.items())
    return Diverged(f"iteration {iteration} diverged: {values}")


def check_arrays(iteration, arrays):
    """Raise Diverged, which names the first bad one, unless all {name: NumPy array} are finite."""
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise Diverged(f"iteration {iteration} diverged: {name} is not finite")
