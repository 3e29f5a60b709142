"""Convolutions with all their gradients, by one library alone or by Chainer's own code."""

import contextlib
import logging

import numpy as np
import pytest
from hypothesis import strategies as st

from tests.arrays import random
from utils.stack import F, chainer, onednn, providers

try:
    onednn._check_library()
    MISSING = ""
except onednn.Unsuitable as obstacle:
    MISSING = obstacle.reason

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


@st.composite
def cases(draw):
    """A convolution with its arrays: any stride, dilation, padding, groups, channel counts."""
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    stride, dilate, pad = draw(pair), draw(pair), draw(st.tuples(*2 * [st.integers(0, 3)]))
    kernel = draw(st.tuples(*2 * [st.integers(1, 5)]))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilate, strict=True)]
    size = tuple(
        max(1, r - 2 * p) + draw(st.integers(0, 9)) for r, p in zip(reach, pad, strict=True)
    )
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    taken, made = (groups * draw(st.sampled_from([1, 3, 4, 5, 12, 15, 16])) for _ in range(2))
    x = random((draw(st.integers(1, 3)), taken, *size))
    w, b = random((made, taken // groups, *kernel), 1), random(made, 2)
    how = {"stride": stride, "dilate": dilate, "pad": pad, "groups": groups}
    return x, w, b, {**how, "cover_all": draw(st.booleans())}


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
