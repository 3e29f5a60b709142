"""The device that a run computes on."""

from utils.errors import UserError, first_line
from utils.kernel_trial import try_kernels
from utils.stack import chainer


def open_device(gpu):
    """Return Chainer's device for CUDA device number `gpu`, in use; -1 is the CPU.

    Raises UserError where there is no such device or CuPy cannot compute on it.
    """
    if gpu < 0:
        return chainer.get_device("@numpy")
    cuda = chainer.backends.cuda
    if not cuda.available:
        reason = first_line(cuda._resolution_error)
        raise UserError(
            f"-g {gpu}: CuPy is not usable ({reason}); leave -g out, or see requirements-gpu.txt"
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
            f"-g {gpu}: cannot compute on it ({first_line(error)}); see nvidia-smi, "
            "requirements-gpu.txt"
        ) from None
    try_kernels(device)
    return device
