"""Adding 0 and multiplying by 1 on a GPU without launching a kernel."""

import functools


def install(chainer):
    """Let `chainer`'s x + 0, as Python's sum() begins, and x * 1 return the array of x itself."""
    cuda, functions = chainer.backends.cuda, chainer.functions.math.basic_math

    def patch(function, neutral):
        original = function.forward

        @functools.wraps(original)
        def forward(self, inputs):
            if isinstance(inputs[0], cuda.ndarray) and self.value == neutral:
                return inputs
            return original(self, inputs)

        function.forward = forward

    patch(functions.AddConstant, 0)
    patch(functions.MulConstant, 1)
