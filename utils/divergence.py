"""Training that diverges: losses, gradients or weights that are NaN or infinite."""

import math

import numpy as np

from utils.errors import Diverged
from utils.stack import chainer, gpu_norm, kernels, tables

# On a GPU the host does not wait for the numbers.  The first that are not finite are noted there:
# [iterations checked, the first bad one, its terms, the norm of its gradient].
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
    """Checks each step of an updater's optimizers: a bad gradient or loss moves no parameter.

    On the CPU, or without own kernels, it raises Diverged at once.  On a GPU it notes the bad
    iteration and halts Adam, other optimizers go on; the extension raises Diverged, for that
    iteration, when it is called next, which is before anything is reported or saved.
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
        """The hook that each optimizer calls before its step."""
        (name,) = (n for n, other in self.optimizers.items() if other is optimizer)
        gradients = [param.grad for param in optimizer.target.params()]
        norm = f"gradient of {name}"
        if optimizer.target.xp is np or not kernels.usable():
            total = sum(gradient.ravel().dot(gradient.ravel()) for gradient in gradients)
            check(self.updater.iteration + 1, losses() | {norm: total**0.5})
            return
        terms = losses()
        if name not in self.notes:
            self.prepare(optimizer, name, [*terms, norm])
        _, note = self.notes[name]
        found = gpu_norm.square_sum(gradients), note, self.halted
        terms = [term.astype(np.float32, copy=False) for term in terms.values()]
        for table, _ in tables.launches(terms):
            kernels.compiled(SOURCE, "check_finite")((1,), (1,), (table, *found))

    def prepare(self, optimizer, name, terms):
        """Make room for an optimizer's note on the GPU, and have it heed the flag that halts it."""
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


def losses():
    """{name: 0-dimensional array} of what has been reported in this iteration."""
    observed = chainer.reporter.get_current_reporter().observation
    return {name: getattr(value, "array", value) for name, value in observed.items()}


def check(iteration, terms):
    """Raise Diverged, naming all terms {name: 0-dimensional array}, unless each is finite."""
    with np.errstate(all="ignore"):
        total = float(sum(terms.values()))
    if not math.isfinite(total):
        raise diverged(iteration, terms)


def diverged(iteration, terms):
    """The exception that names an iteration and all of its terms."""
    told = ", ".join(f"{name} {float(value):.4g}" for name, value in terms.items())
    return Diverged(f"iteration {iteration} diverged: {told}")


def check_arrays(iteration, arrays):
    """Raise Diverged, naming one, unless all of {name: array on the CPU} are finite."""
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise Diverged(f"iteration {iteration} diverged: {name} is not finite")
