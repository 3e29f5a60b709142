"""Whether own CUDA kernels compute on a GPU, or Chainer's and CuPy's; the CuPy they are made by."""

import os

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
