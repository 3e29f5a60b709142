"""Libraries that replace Chainer's own code for convolutions and linear layers."""

import functools
import logging

logger = logging.getLogger(__name__)
log_once = functools.cache(logger.log)


class Unsuitable(Exception):
    """Unsuitable(log level, reason): the library cannot do it, Chainer's own code has to."""


def install(chainer, library, processor, takes, computes):
    """Have a library compute `chainer`'s convolutions and deconvolutions of any dimensions, linear
    layers and all their gradients, where takes(inputs).

    processor: "cpu" or "gpu".  computes: functions of (node, *inputs) for a convolution, its
    weight gradient, a deconvolution, a linear layer, its data gradient, its weight gradient.
    """
    connection = chainer.functions.connection
    two, many = connection.convolution_2d, connection.convolution_nd
    two_back, many_back = connection.deconvolution_2d, connection.deconvolution_nd
    linear = connection.linear
    convolution, weight_gradient, deconvolution, *of_linear = computes
    own = f"forward_{processor}"
    nodes = (
        (two.Convolution2DFunction, own, convolution),
        (two.Convolution2DGradW, own, weight_gradient),
        (two_back.Deconvolution2DFunction, own, deconvolution),
        (many.ConvolutionND, "forward", convolution),
        (many.ConvolutionNDGradW, "forward", weight_gradient),
        (many_back.DeconvolutionND, "forward", deconvolution),
    )
    layers = linear.LinearFunction, linear.LinearGradData, linear.LinearGradWeight
    nodes += tuple((node, "forward", c) for node, c in zip(layers, of_linear, strict=True))
    for node, method, compute in nodes:
        setattr(node, method, preferring(library, takes, compute, getattr(node, method)))


def preferring(library, takes, compute, own):
    """The forward method of a node: compute(node, *inputs) where takes(inputs), else own.

    `own` also computes what `compute` finds Unsuitable, which is logged once for each reason.
    """

    @functools.wraps(own)
    def forward(self, inputs):
        if not takes(inputs):
            return own(self, inputs)
        try:
            result = compute(self, *inputs)
        except Unsuitable as obstacle:
            level, reason = obstacle.args
            log_once(level, f"Chainer's own code computes, not {library}: {reason}")
            return own(self, inputs)
        self.retain_inputs((0, 1))
        return (result,)

    return forward
