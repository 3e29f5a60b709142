"""The type in which convolutions and linear layers multiply."""

import contextlib

import numpy as np

from utils.stack import cudnn, onednn


def using_dtype(name, device):
    """Context in which layers on Chainer's `device` multiply float32, tf32, bfloat16 or float16.

    None is the device's default: tf32 on a GPU, float32 on a CPU. Arrays stay float32 in any case;
    `using_dtype` of cudnn.py (GPU) and of onednn.py (CPU) have the details. Raises UserError where
    the device cannot do it.
    """
    if name is None:
        return contextlib.nullcontext()
    provider = onednn if device.xp is np else cudnn
    return provider.using_dtype(name)
