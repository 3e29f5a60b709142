"""The shapes of a convolution, its strides and all else that defines it."""

import itertools
from typing import NamedTuple


class Geometry(NamedTuple):
    """A convolution over any number of axes; comments are for two, height and width."""

    images: tuple  # (B, I, H, W)
    weights: tuple  # (O, I / groups, kernel height, kernel width)
    outputs: tuple  # (B, O, output height, output width)
    stride: tuple
    pad: tuple  # before the first row, before the first column
    dilate: tuple
    groups: int = 1
    dtype: str = "float32"  # of the numbers multiplied; arrays are always float32

    @property
    def pad_after(self):
        """Padding after the last row, after the last column: as much as before the first if that
        gives these outputs, else just what they need, which may be negative."""
        sizes = (shape[2:] for shape in (self.images, self.weights, self.outputs))
        return tuple(map(_pad_after, *sizes, self.stride, self.pad, self.dilate))


def _pad_after(size, kernel, output, stride, pad, dilate):
    reach = dilate * (kernel - 1) + 1
    if (size + 2 * pad - reach) // stride + 1 == output:
        return pad
    return stride * (output - 1) + reach - size - pad


def product(batch, outputs, inputs, dtype="float32"):
    """A matrix product as a convolution of images of one pixel."""
    one = 1, 1
    shapes = (batch, inputs, *one), (outputs, inputs, *one), (batch, outputs, *one)
    return Geometry(*shapes, one, (0, 0), one, dtype=dtype)


def of_convolution(node, images, weights, dtype):
    """The Geometry of one of Chainer's function nodes for arrays of these shapes."""
    from chainer.utils.conv import get_conv_outsize  # once compat.py has patched Chainer

    (stride, pad, dilate), cover = _steps(node), itertools.repeat(node.cover_all)
    size = map(get_conv_outsize, images[2:], weights[2:], stride, pad, cover, dilate)
    outputs = images[0], weights[0], *size
    return Geometry(images, weights, outputs, stride, pad, dilate, node.groups, dtype)


def of_weight_gradient(node, images, outputs, dtype):
    """As `of_convolution`, for the node of a convolution's weight gradient."""
    kernel = node.ksize if hasattr(node, "ndim") else (node.kh, node.kw)
    weights = outputs[1], images[1] // node.groups, *kernel
    return Geometry(images, weights, outputs, *_steps(node), node.groups, dtype)


def of_deconvolution(node, outputs, weights, dtype):
    """The Geometry of the convolution whose data gradient this deconvolution is.

    As Chainer's own code does, it sets the node's attributes that its backward pass needs.
    """
    images = outputs[0], weights[1] * node.groups, *_deconvolved_size(node, outputs, weights)
    return Geometry(images, weights, outputs, *_steps(node), node.groups, dtype)


def _deconvolved_size(node, outputs, weights):
    from chainer.utils.conv import get_conv_outsize, get_deconv_outsize

    sizes, (stride, pad, dilate) = (outputs[2:], weights[2:]), _steps(node)
    no = itertools.repeat(False)
    if not hasattr(node, "ndim"):
        node._calc_out_size(outputs, weights)
        node._set_cover_all(outputs, weights)
        return node.outh, node.outw
    outs = node.outs or tuple(map(get_deconv_outsize, *sizes, stride, pad, no, dilate))
    if min(outs) < 1:
        return outs  # no library takes these; Chainer's own code refuses them unless they are set
    back = map(get_conv_outsize, outs, weights[2:], stride, pad, no, dilate)
    node.outs, node.cover_all = outs, tuple(back) != tuple(outputs[2:])
    return outs


def _steps(node):
    """Stride, padding, dilation: each a tuple over the axes."""
    if hasattr(node, "ndim"):
        return node.stride, node.pad, node.dilate
    return (node.sy, node.sx), (node.ph, node.pw), (node.dy, node.dx)
