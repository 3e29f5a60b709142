"""The number of floating-point operations that a prediction takes."""

import math

from utils.stack import chainer

get_conv_outsize = chainer.utils.conv.get_conv_outsize


def flops(model, size):
    """Floating-point operations of one prediction at (height, width) `size`, batch 1.

    Only convolutions and matrix products are counted, a multiplication and an addition as two; the
    rest is negligible. They are counted while the network predicts on its device.
    """
    past = model.xp.zeros((1, model.history, model.channels, *size), "float32")
    with chainer.using_config("train", False), chainer.no_backprop_mode(), Count() as count:
        model(past)
    return count.flops


class Count(chainer.FunctionHook):
    """Adds up the operations of the functions that run in its context."""

    name = "Count"

    def __init__(self):
        self.flops = 0

    def forward_postprocess(self, function, inputs):
        """inputs: (x, W, ...) of a convolution or a linear layer, (a, b) of a matrix product."""
        if function.label in PRODUCTS:
            self.flops += 2 * PRODUCTS[function.label](function, inputs[0].shape, inputs[1].shape)


def convolution(function, x, W):
    """Multiplications: for each image and output position as many as there are weights."""
    try:
        geometry = function.stride, function.pad, function.dilate
    except AttributeError:  # Convolution2DFunction has an attribute for each axis
        geometry = (
            (function.sy, function.sx),
            (function.ph, function.pw),
            (function.dy, function.dx),
        )
    sizes = (
        get_conv_outsize(n, k, stride, pad, function.cover_all, dilate)
        for n, k, stride, pad, dilate in zip(x[2:], W[2:], *geometry, strict=True)
    )
    return x[0] * math.prod(sizes) * math.prod(W)


# {label of a function node: its number of multiplications, from the shapes of its two inputs}
PRODUCTS = {
    "Convolution2DFunction": convolution,
    "ConvolutionND": convolution,
    "Deconvolution2DFunction": lambda function, x, W: math.prod(x) * math.prod(W[1:]),
    "LinearFunction": lambda function, x, W: x[0] * math.prod(W),
    "MatMul": lambda function, a, b: math.prod(a) * b[-2 if function.transb else -1],
}
