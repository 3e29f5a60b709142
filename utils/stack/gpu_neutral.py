"""Adding 0 and multiplying by 1 on a GPU: nothing is launched."""

import functools


def install(chainer):
    """Let `chainer` begin a sum with 0, as Python's sum() does, or weigh by 1 at no cost on a GPU.

    What comes out is the array that went in.
    """
    cuda, functions = chainer.backends.cuda, chainer.functions.math.basic_math

    def patch(function, neutral):
        own = function.forward

        @functools.wraps(own)
        def forward(self, inputs):
            if isinstance(inputs[0], cuda.ndarray) and self.value == neutral:
                return inputs
            return own(self, inputs)

        function.forward = forward

    patch(functions.AddConstant, 0)
    patch(functions.MulConstant, 1)
