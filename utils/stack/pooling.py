"""Maximum pooling on the CPU by strided slices, where Chainer copies all windows first."""

import functools
import itertools

import numpy as np


def install(chainer):
    """Let `chainer`'s maximum pooling, with its gradient, compare the first numbers of all windows
    with the second ones, and so on, if windows neither overlap nor reach beyond the image.

    An infinite gradient gives NaN to all of its window but the largest number, not 0 as in Chainer:
    copying by a mask instead of multiplying would take more than twice as long.
    """
    module = chainer.functions.pooling.max_pooling_nd
    original = module.MaxPoolingND.forward_cpu
    original_gradient = module.MaxPoolingNDGrad.forward_cpu

    @functools.wraps(original)
    def forward(self, inputs):
        (x,) = inputs
        if not fit(self, x.shape):
            return original(self, inputs)
        self._in_shape, self._in_dtype = x.shape, x.dtype
        first, *others = places(x, self.ksize)
        y, self.indexes = first.copy(), np.zeros(first.shape, np.intp)
        for k, other in enumerate(others, 1):
            larger = ~(other <= y) & (y == y)  # NaN counts as largest, and the first NaN stays
            np.maximum(y, other, out=y)
            # k grows, so this sets indexes to k where `larger`; copyto(where=) takes ten times as
            # long.
            np.maximum(self.indexes, larger * k, out=self.indexes)
        return (y,)

    @functools.wraps(original_gradient)
    def gradient(self, inputs):
        (gy,) = inputs
        pooling = self.func
        if not fit(pooling, pooling._in_shape):
            return original_gradient(self, inputs)
        gx = np.zeros(pooling._in_shape, pooling._in_dtype)  # pixels outside all windows stay 0
        for k, place in enumerate(places(gx, pooling.ksize)):
            np.multiply(gy, pooling.indexes == k, out=place)
        return (gx,)

    module.MaxPoolingND.forward_cpu, module.MaxPoolingNDGrad.forward_cpu = forward, gradient


def fit(pooling, shape):
    """Whether windows neither overlap nor reach beyond images of this shape."""
    sides = list(zip(shape[2:], pooling.ksize, strict=True))
    beyond = any(n % k for n, k in sides) if pooling.cover_all else any(n < k for n, k in sides)
    apart = pooling.stride == pooling.ksize and not any(pooling.pad)
    return apart and min(shape) > 0 and not beyond


def places(x, ksize):
    """Yield views of x (B, C, H, W, ...): the first numbers of all windows, the second ones, ..."""
    inside = [n - n % k for n, k in zip(x.shape[2:], ksize, strict=True)]
    for start in itertools.product(*map(range, ksize)):
        steps = zip(start, inside, ksize, strict=True)
        yield x[(..., *(slice(*step) for step in steps))]
