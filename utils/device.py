"""The device that a run computes on."""

from utils.errors import UserError
from utils.stack import chainer


def open_device(gpu):
    """Return Chainer's device for CUDA device number `gpu`, in use; -1 is the CPU.

    Raises UserError where there is no such device or CuPy cannot reach it.
    """
    if gpu < 0:
        return chainer.get_device("@numpy")
    cuda = chainer.backends.cuda
    if not cuda.available:
        reason = str(cuda._resolution_error).splitlines()[0]
        raise UserError(f"-g {gpu}: CuPy is not usable ({reason}); see requirements-gpu.txt")
    try:
        count = cuda.cupy.cuda.runtime.getDeviceCount()
    except cuda.cupy.cuda.runtime.CUDARuntimeError as error:
        raise UserError(f"-g {gpu}: no CUDA device to be had ({error}); leave -g out") from None
    if gpu >= count:
        raise UserError(f"-g {gpu}: there are {count} CUDA devices, numbered from 0")
    device = chainer.get_device(f"@cupy:{gpu}")
    device.use()
    return device
