"""Sums over all axes but that of the maps on the CPU: the gradient of a convolution's bias."""

import functools
import math

import numpy as np


def install(chainer):
    """Let `chainer`'s F.sum over all axes but that of the maps use `sum_by_map` for float32 and
    float64 arrays, which takes a half to a third of the time."""
    node = chainer.functions.math.sum.Sum
    original = node.forward

    @functools.wraps(original)
    def forward(self, inputs):
        (x,) = inputs
        axes = (0, *range(2, x.ndim))
        fit = type(x) is np.ndarray and x.ndim > 2 and x.dtype.char in "fd" and x.size
        if not fit or self.keepdims or self.axis != axes:
            return original(self, inputs)
        return (sum_by_map(x),)

    node.forward = forward


def sum_by_map(x):
    """The sum of each map: (B, C, ...) -> (C,)."""
    # numpy.sum is slow, since it adds row by row; einsum is slow for rows of a single number.
    if math.prod(x.shape[2:]) == 1:
        return x.reshape(x.shape[:2]).sum(axis=0)
    rows = np.ascontiguousarray(x).reshape(*x.shape[:2], -1)  # to the same bits for any strides
    return np.einsum("bcx->c", rows)
