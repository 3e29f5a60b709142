"""The tanh at the end of a network, which it can find its way back from."""

import numpy as np

from utils.stack import chainer

FLOOR = 0.005  # of the slope; that of tanh is below it where the output is above 0.9975
SLOPE = "slope = 1 - y * y; if (y * gy > 0 && slope < least) slope = least;"  # NaN stays NaN


def squash(x):
    """tanh(x), a Variable in [-1, 1]; but where tanh is flat, the gradient that leads back from
    there has a slope of FLOOR.

    From 9 up the slope of tanh is 0 in float32. A network that a few steps have driven there for
    all pixels, as happens where most are black, would learn nothing from then on. The gradient
    cannot be differentiated again: NotImplementedError.
    """
    return Squash().apply((x,))[0]


class Squash(chainer.FunctionNode):
    """`squash` as a function node."""

    def forward(self, inputs):
        self.retain_outputs((0,))
        return (chainer.backend.get_array_module(*inputs).tanh(inputs[0]),)

    def backward(self, indexes, grad_outputs):
        if chainer.config.enable_backprop:  # set in a backward pass if it is to be differentiated
            raise NotImplementedError("the gradient of a squashed output has no gradient")
        y, gy = self.get_retained_outputs()[0].array, grad_outputs[0].array
        return (chainer.as_variable(gy * slope(y, gy)),)


def slope(y, gy):
    """The derivative of y, from FLOOR up where y and its gradient gy have one sign."""
    if chainer.backend.get_array_module(y) is not np:
        kernel = chainer.backends.cuda.elementwise(
            "T y, T gy, T least", "T slope", SLOPE, "squash_slope"
        )
        return kernel(y, gy, FLOOR)
    found = 1 - y * y
    return np.maximum(found, FLOOR, out=found, where=y * gy > 0)
