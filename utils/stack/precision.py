"""The type of the numbers that convolutions, linear layers multiply."""

import contextlib

import numpy as np

from utils.stack import cudnn, onednn


def using_dtype(name, device):
    """A context in which those on Chainer's `device` multiply float32, tf32, bfloat16 or float16.

    None is the device's usual type: tf32 on a GPU, float32 on a CPU.  Arrays are float32 with all
    of them; see `using_dtype` of cudnn.py for a GPU, of onednn.py for a CPU.  Raises UserError
    where the device cannot do it.
    """
    if name is None:
        return contextlib.nullcontext()
    provider = onednn if device.xp is np else cudnn
    return provider.using_dtype(name)
