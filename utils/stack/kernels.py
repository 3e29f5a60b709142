"""This project's own CUDA kernels, compiled by CuPy, and whether they are used."""

import functools
import os

# For a grid of threads that goes through an array: the index of a thread's first number, and the
# step to its next one.
GRID = """
#define FIRST ((long long)blockIdx.x * blockDim.x + threadIdx.x)
#define STEP ((long long)gridDim.x * blockDim.x)
"""
_failed = False


def usable():
    """Whether own kernels are used: not with CHAINER_KERNELS=0, nor after `give_up`."""
    return not _failed and os.environ.get("CHAINER_KERNELS") != "0"


def give_up():
    """Use no own kernels from now on."""
    global _failed
    _failed = True


def get_cupy():
    """CuPy, imported late: it may not be installed."""
    from chainer.backends import cuda

    return cuda.cupy


def capturing():
    """Whether a CUDA graph is captured on the current stream, be it in vain."""
    try:
        return get_cupy().cuda.get_current_stream().is_capturing()
    except RuntimeError:  # so CuPy tells that an error has ended it: that one counts
        return True


@functools.cache
def compiled(source, name):
    """The kernel called `name` in CUDA C++ source; without fused multiply-add, as on the CPU."""
    return get_cupy().RawKernel(GRID + source, name, ("--fmad=false",))
