"""Own CUDA kernels tried on a GPU, beside what the CPU makes of the same numbers."""

import functools
import sys

import numpy as np

from utils import losses, pixels, supply
from utils.divergence import FiniteCheck
from utils.errors import first_line
from utils.stack import F, L, casts, chainer, cudnn, kernels

NEAR = 1e-2  # how far results may be from the CPU's: bfloat16 rounds to two digits


@functools.cache
def try_kernels(device):
    """Try them on Chainer's `device`, once; in a line, none is used where one fails."""
    if not kernels.usable():
        return
    try:
        compare(device)
    except Exception as error:  # the compiler's, the driver's, NumPy's
        kernels.give_up()
        reason = first_line(error)
        print(f"own CUDA kernels do not work here ({reason}), slower ones do", file=sys.stderr)


def compare(device):
    """Raise whatever goes wrong, ArithmeticError for numbers that differ from the CPU's."""
    both = results(device), results(chainer.get_device("@numpy"))
    worst = max(np.abs(ours - expected).max() for ours, expected in zip(*both, strict=True))
    if not worst < NEAR:  # NaN is not, either
        raise ArithmeticError(f"results are off by {worst:.2g}")


def results(device):
    """What all kernels make of some numbers, as arrays on the CPU.

    Frames are gathered, joined, judged by three losses; Adam takes two steps, with FiniteCheck.
    """
    random = np.random.default_rng(0)
    clips = random.integers(0, 256, (3, 2, 3, 4, 5), np.uint8)
    if device.xp is np:
        frames = pixels.normalise(clips[[2, 0]])
    else:
        frames = supply.gathered(device.send(clips), device.send(np.array([2, 0])))
    net = L.Parameter(random.normal(size=frames.shape).astype(np.float32))
    net.to_device(device)
    optimizer = chainer.optimizers.Adam(0.1).setup(net)
    updater = Steps(optimizer)
    finite, reporter = FiniteCheck(updater), chainer.Reporter()
    for updater.iteration in range(2):
        with reporter.scope({}):
            joined = F.concat([net.W[:1], net.W[1:]], axis=0)
            loss = losses.lp(joined, frames, 2) + losses.gdl(joined, frames, 1)
            loss += losses.bce(joined, 1)
            chainer.report({"loss": loss})
            chainer.grad([loss], [net.W], set_grad=True)
            optimizer.update()
    finite(None)
    made = [frames, net.W.array, loss.array]
    if device.xp is not np and not cudnn.missing():  # to bfloat16 and back
        frames = casts.unpacked(casts.packed([frames], "bfloat16"), "bfloat16")[0]
    return [chainer.get_device("@numpy").send(array) for array in (*made, frames)]


class Steps:
    """An updater of one optimizer, as FiniteCheck knows it."""

    iteration = 0

    def __init__(self, optimizer):
        self.optimizer = optimizer

    def get_all_optimizers(self):
        return {"main": self.optimizer}
