"""Libraries that replace Chainer's own code for convolutions and linear layers."""

import functools
import logging

import numpy as np

FLOAT32 = np.dtype(np.float32)

logger = logging.getLogger(__name__)
log_once = functools.cache(logger.log)


class Unsuitable(Exception):
    """The library cannot do it, Chainer's own code has to; `level` is the log's for `reason`."""

    def __init__(self, level, reason):
        super().__init__(level, reason)
        self.level, self.reason = level, reason


def install(chainer, library, processor, accepts, computes):
    """Have a library compute `chainer`'s convolutions and deconvolutions of any dimensions, linear
    layers and all their gradients, where accepts(inputs).

    library: its name, for the log. processor: "cpu" or "gpu". computes: functions of (node,
    *inputs) for a convolution, its weight gradient, a deconvolution, a linear layer, its data
    gradient, its weight gradient.
    """
    connection = chainer.functions.connection
    conv_2d, conv_nd = connection.convolution_2d, connection.convolution_nd
    deconv_2d, deconv_nd = connection.deconvolution_2d, connection.deconvolution_nd
    linear = connection.linear
    convolution, weight_gradient, deconvolution, *of_linear = computes
    forward_2d = f"forward_{processor}"
    nodes = (
        (conv_2d.Convolution2DFunction, forward_2d, convolution),
        (conv_2d.Convolution2DGradW, forward_2d, weight_gradient),
        (deconv_2d.Deconvolution2DFunction, forward_2d, deconvolution),
        (conv_nd.ConvolutionND, "forward", convolution),
        (conv_nd.ConvolutionNDGradW, "forward", weight_gradient),
        (deconv_nd.DeconvolutionND, "forward", deconvolution),
    )
    layers = linear.LinearFunction, linear.LinearGradData, linear.LinearGradWeight
    nodes += tuple((node, "forward", c) for node, c in zip(layers, of_linear, strict=True))
    for node, method, compute in nodes:
        setattr(node, method, preferring(library, accepts, compute, getattr(node, method)))


def preferring(library, accepts, compute, original):
    """The forward method of a node: compute(node, *inputs) where accepts(inputs), else original.

    `original` also computes what `compute` finds Unsuitable, which is logged once for each reason.
    """

    @functools.wraps(original)
    def forward(self, inputs):
        if not accepts(inputs):
            return original(self, inputs)
        try:
            result = compute(self, *inputs)
        except Unsuitable as obstacle:
            message = f"Chainer's own code computes, not {library}: {obstacle.reason}"
            log_once(obstacle.level, message)
            return original(self, inputs)
        self.retain_inputs((0, 1))
        return (result,)

    return forward


def check_arrays(node, inputs):
    """Raise Unsuitable unless a node's inputs and result are float32; for empty arrays; for those
    with a memory layout of their own."""
    dtypes = [array.dtype for array in inputs]
    # A gradient of weights has their type, whatever it is computed from.
    dtypes += getattr(node, "W_dtype", FLOAT32), getattr(node, "_w_dtype", FLOAT32)
    if others := {dtype.name for dtype in dtypes if dtype != FLOAT32}:
        raise Unsuitable(logging.INFO, f"it is for float32 here, not {', '.join(sorted(others))}")
    if not all(array.size for array in inputs):
        raise Unsuitable(logging.INFO, "an array is empty")
    if getattr(node, "cudnn_fast", False) or any(node.input_layouts):
        raise Unsuitable(logging.INFO, "a memory layout of the array's own is not provided for")
