"""The device that a run computes on."""

import contextlib

import numpy as np

from utils.errors import UserError, reason, when_out_of_memory
from utils.kernel_trial import try_kernels
from utils.memory import memory_bounded
from utils.stack import chainer
from utils.stack.precision import using_dtype


def open_device(gpu):
    """Return Chainer's device for CUDA device number `gpu`, in use; -1 is the CPU.

    Raises UserError where there is no such device or CuPy cannot compute on it.
    """
    if gpu < 0:
        return chainer.get_device("@numpy")
    cuda = chainer.backends.cuda
    if not cuda.available:
        why = reason(cuda._resolution_error)
        raise UserError(
            f"-g {gpu}: CuPy is not usable ({why}); leave -g out, or see requirements-gpu.txt"
        )
    cupy = cuda.cupy
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise UserError(f"-g {gpu}: no CUDA device is available ({error}); leave -g out") from None
    if gpu >= count:
        raise UserError(f"-g {gpu}: there are {count} CUDA devices, numbered from 0")
    device = chainer.get_device(f"@cupy:{gpu}")
    try:
        device.use()
        cupy.arange(2).sum().get()  # needs a context, a compiler, memory: better now than later
    except Exception as error:  # each library that may be missing has an exception of its own
        raise UserError(
            f"-g {gpu}: cannot compute on it ({reason(error)}); see nvidia-smi, "
            "requirements-gpu.txt"
        ) from None
    try_kernels(device)
    return device


@contextlib.contextmanager
def computing(device, dtype, cure):
    """Context of all that a run computes on Chainer's `device`.

    It sets the precision of multiplications, as `using_dtype` does, has cuDNN try its engines for
    the fastest, and makes running out of memory a UserError that ends in the cure.
    """
    bounded = memory_bounded() if device.xp is np else contextlib.nullcontext()
    autotune = chainer.using_config("autotune", True)
    with using_dtype(dtype, device), autotune, when_out_of_memory(cure), bounded:
        yield
