"""A trial of this project's own CUDA kernels: their results are compared with the CPU's."""

import functools
import sys

import numpy as np

from utils import losses, pixels, supply
from utils.divergence import FiniteCheck
from utils.errors import reason
from utils.stack import F, L, casts, chainer, cudnn, gpu_relu, kernels

NEAR = 1e-2  # largest absolute difference from the CPU's results
MAPS = 2, 40, 64, 64  # (B, C, H, W), large enough for gpu_relu.PARTS blocks to share a channel


@functools.cache
def try_kernels(device):
    """Try all kernels on Chainer's `device`, once; if one fails, none is used, as a line says."""
    if not kernels.usable():
        return
    try:
        compare(device)
    except Exception as error:  # of the compiler, the driver or NumPy
        kernels.give_up()
        told = f"own CUDA kernels do not work here ({reason(error)}), slower ones do"
        print(told, file=sys.stderr)


def compare(device):
    """Raise ArithmeticError for results that differ from the CPU's, or whatever else goes wrong."""
    cpu = chainer.get_device("@numpy")
    ours, expected = results(device), results(cpu)
    numbers = [eighths(shape, seed) for seed, shape in enumerate((MAPS, MAPS, MAPS[1]))]
    for dtype in dtypes():
        ours += cast(dtype, *map(device.send, numbers))
        expected += layer(*numbers)
    pairs = zip(map(cpu.send, ours), expected, strict=True)
    worst = np.max([np.abs(one - other).max() for one, other in pairs])  # max() could miss a NaN
    if not worst < NEAR:
        raise ArithmeticError(f"results are off by {worst:.2g}")


def results(device):
    """The results of the training kernels for some numbers, as arrays on the device.

    Frames are gathered and joined, three losses and their gradients are computed, and Adam takes
    two steps with FiniteCheck.
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
    return [frames, net.W.array, loss.array]


def dtypes():
    """The types that arrays are cast to for cuDNN, as far as this GPU has them."""
    if cudnn.missing():
        return []
    here = cudnn.capability()
    return ["tf32", *(dtype for dtype in casts.DTYPES if here >= cudnn.CAPABILITY[dtype])]


def eighths(shape, seed):
    """Random multiples of 1/8 in [-2, 2], float32: a sum of two is exact in bfloat16."""
    return np.random.default_rng(seed).integers(-16, 17, shape).astype(np.float32) / 8


def cast(dtype, maps, gradient, bias):
    """`layer` on a GPU, in `dtype`, by the kernels of casts.py and gpu_relu.py."""
    xp = kernels.get_cupy()
    zero = casts.Packed(xp.zeros((1, 1), np.float32), dtype, limit=0)
    scaled = casts.Packed(maps, dtype, limit=0)
    whole = casts.unpacked([scaled.array], dtype, [scaled, zero], 0, bias)
    maps, gradient = casts.packed([maps, gradient], dtype)
    output = gpu_relu.activated(maps, bias, dtype, relu=True)
    counters = xp.zeros(gpu_relu.groups(len(bias)), np.int32)
    passed, sums = gpu_relu.passed_on(gradient, output, dtype, counters)
    return [*whole, *casts.unpacked([output, passed], dtype), sums]


def layer(maps, gradient, bias):
    """A bias and a ReLU, forward and backward, by NumPy.

    maps, gradient: (B, C, H, W); bias: (C,). Returns [maps + bias, ReLU of that, the gradient that
    the ReLU passes on, its sums over all but the channels], float32.
    """
    whole = maps + bias[:, None, None]
    passed = np.where(whole > 0, gradient, 0)
    return [whole, np.maximum(whole, 0), passed, passed.sum((0, 2, 3))]


class Steps:
    """A minimal updater of one optimizer: what FiniteCheck needs of one."""

    iteration = 0

    def __init__(self, optimizer):
        self.optimizer = optimizer

    def get_all_optimizers(self):
        return {"main": self.optimizer}
