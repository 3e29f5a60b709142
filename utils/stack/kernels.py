"""Own CUDA kernels, made by CuPy; whether they compute on a GPU, or Chainer's and CuPy's."""

import functools
import os

# The numbers of a thread, where a grid goes through an array: the first, how far it is to the next.
GRID = """
#define FIRST ((long long)blockIdx.x * blockDim.x + threadIdx.x)
#define STEP ((long long)gridDim.x * blockDim.x)
"""
_failed = False


def usable():
    """Not with CHAINER_KERNELS=0, nor after `give_up`."""
    return not _failed and os.environ.get("CHAINER_KERNELS") != "0"


def give_up():
    """Use none from now on."""
    global _failed
    _failed = True


def get_cupy():
    """CuPy, imported late: it may not be installed."""
    from chainer.backends import cuda

    return cuda.cupy


@functools.cache
def compiled(source, name):
    """A kernel of a source in CUDA C++; no multiplication is fused with an addition."""
    return get_cupy().RawKernel(GRID + source, name, ("--fmad=false",))
