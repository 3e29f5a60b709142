"""Convolutions with all their gradients, by one library alone or by Chainer's own code."""

import contextlib
import logging

import numpy as np
import pytest

from tests.arrays import random
from utils.stack import F, chainer, onednn, providers

try:
    onednn._check_library()
    MISSING = ""
except onednn.Unsuitable as obstacle:
    MISSING = obstacle.args[1]

needs_onednn = pytest.mark.skipif(bool(MISSING), reason=MISSING)


@contextlib.contextmanager
def only(library):
    """In this context what the library, cuDNN or oneDNN, leaves to Chainer is a failure."""

    def refuse(level, reason):
        assert f"not {library}" not in reason

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(providers, "log_once", refuse)
        yield


@contextlib.contextmanager
def without_onednn():
    """In this context Chainer's own code computes on the CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onednn, "_obstacle", (logging.INFO, "a test"))
        yield


def every_result(convert, x, w, b, **how):
    """Convolution, then deconvolution back, with all their gradients.

    convert: makes arrays of the kind to compute with of NumPy's float32 arrays.
    """
    how, size = how.copy(), x.shape[2:]
    if len(size) == 2:
        convolve, deconvolve = F.convolution_2d, F.deconvolution_2d
    else:
        convolve, deconvolve = F.convolution_nd, F.deconvolution_nd
    x, w, b = (chainer.Variable(convert(values)) for values in (x, w, b))
    y = convolve(x, w, b, **how)
    gy = np.cos(np.arange(y.size)).reshape(y.shape).astype(np.float32)
    y.grad = convert(gy)
    y.backward()
    how.pop("cover_all", None)
    small, v, c = (chainer.Variable(convert(a)) for a in (gy, w.array, random(x.shape[1], 9)))
    z = deconvolve(small, v, c, outsize=size, **how)
    z.grad = convert(x.array)
    z.backward()
    return y.array, x.grad, w.grad, b.grad, z.array, small.grad, v.grad, c.grad
