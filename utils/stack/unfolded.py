"""Convolutions as one matrix product each, for many maps of few pixels.

Direct kernels have the weights in a layout of their own: where frames have but a few pixels,
bringing millions of weights into it, or their gradients out of it, takes longer than the
convolution. A product takes weights as they lie, and unfolded images (im2col): for each weight of a
map the pixels that it is multiplied with. Not for data gradients: folding takes longer still.
"""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from utils.stack import dnnl
from utils.stack.products import multiply

# Where products of random geometries took less time than direct kernels (AVX2, one thread).
MAX_PIXELS, MIN_OUTPUTS, MIN_WEIGHTS = 128, 256, 2**18


def pays(direction, geometry):
    """Whether this is likely to be faster than a direct convolution for a Geometry."""
    batch, outputs, *size = geometry.outputs
    few = batch * math.prod(size) <= MAX_PIXELS
    many = outputs >= MIN_OUTPUTS and math.prod(geometry.weights) >= MIN_WEIGHTS
    return few and many and suits(direction, geometry)


def suits(direction, geometry):
    """Whether this can compute a Geometry: one group, and factors need not be rounded."""
    rounded = geometry.dtype == "bfloat16"
    return direction != "data_gradient" and geometry.groups == 1 and not rounded


class Unfolded:
    """What a convolution over any number of axes and its weights' gradient share.

    Matrices have a column for each pixel of the outputs, (B * output size). Unfolded images have a
    row for each weight of a map, (I * kernel size); outputs one for each map.
    """

    implementation = "unfolded"

    def __init__(self, geometry):
        self.images, self.weights, self.outputs, *steps = geometry[:6]
        sizes = self.images[2:], self.weights[2:], self.outputs[2:]
        reach, padded, inside, starts, gaps = zip(*map(_axis, *sizes, *steps), strict=True)
        self._reach, self._padded = reach, (*self.images[:2], *padded)
        self._inside, self._taken = (..., *inside), (..., *starts, *gaps)

    def unfold(self, images):
        """images -> matrix, with zeros for the padding."""
        padded = np.zeros(self._padded, np.float32)
        padded[self._inside] = images
        axes = range(2, images.ndim)
        windows = sliding_window_view(padded, self._reach, axes)[self._taken]
        windows = windows.transpose(1, *range(images.ndim, windows.ndim), 0, *axes)
        unfolded = dnnl.empty(windows.shape)
        unfolded[...] = windows
        return unfolded.reshape(math.prod(self.weights[1:]), -1)


def _axis(size, kernel, output, stride, pad, dilate):
    """Along one axis: how far a kernel reaches; the padded size; slices: where in that images are,
    which windows are taken, which pixels of a window."""
    reach, end = dilate * (kernel - 1) + 1, stride * (output - 1) + 1
    padded = max(pad + size, end + reach - 1)
    return reach, padded, slice(pad, pad + size), slice(0, end, stride), slice(None, None, dilate)


class Forward(Unfolded):
    """(images, weights[, bias]) -> outputs."""

    def __call__(self, images, weights, bias=None):
        batch, maps, *size = self.outputs
        matrix = dnnl.empty((maps, batch * math.prod(size)))
        multiply(weights.reshape(maps, -1), self.unfold(images), matrix)
        if bias is not None:
            matrix += bias[:, None]
        outputs = dnnl.empty(self.outputs)
        outputs[...] = matrix.reshape(maps, batch, *size).swapaxes(0, 1)
        return outputs


class WeightGradient(Unfolded):
    """(images, outputs' gradient) -> weights' gradient."""

    def __call__(self, images, gradient):
        batch, maps, *size = self.outputs
        by_maps = dnnl.empty((maps, batch, *size))
        by_maps[...] = gradient.swapaxes(0, 1)
        weights = dnnl.empty(self.weights)
        multiply(by_maps.reshape(maps, -1), self.unfold(images).T, weights.reshape(maps, -1))
        return weights


def forward(geometry, bias):
    """As direct.forward."""
    return Forward(geometry)


weight_gradient = WeightGradient
