"""F.concat and F.stack on a GPU: one launch for all arrays, where CuPy copies one by one."""

import functools
import math

import numpy as np

from utils.stack import kernels

MOST = 240  # arrays of a launch: their addresses are among its arguments, which may take 4 KiB
THREADS, BLOCKS = 256, 4096
NUMBERS = {1: "char", 2: "short", 4: "int", 8: "long long"}  # of as many bytes; none is looked at
Arrays = np.dtype([("at", "u8", MOST), ("start", "i8", MOST + 1)])

# Rows of the result are made of rows of the arrays: those of array k from column start[k] to
# start[k + 1].  Threads that are neighbours write neighbours.
SOURCE = (
    f"struct Arrays {{ const number* at[{MOST}]; long long start[{MOST + 1}]; }};"
    + r"""
extern "C" __global__ void join(
    const Arrays arrays, number* joined, long long width, long long columns, long long size) {
  for (long long i = FIRST; i < size; i += STEP) {
    long long row = i / columns, column = arrays.start[0] + i % columns;
    int k = 0;
    while (column >= arrays.start[k + 1]) ++k;
    long long start = arrays.start[k], length = arrays.start[k + 1] - start;
    joined[row * width + column] = arrays.at[k][row * length + column - start];
  }
}
"""
)
SOURCES = {size: f"typedef unsigned {name} number;\n{SOURCE}" for size, name in NUMBERS.items()}


def install(chainer):
    """Let `chainer`'s Concat and Stack, also used in the gradients of others, join arrays so.

    More than 8 small arrays CuPy 14 joins by a table of their addresses, which comes from the host:
    no CUDA graph may hold that.  Empty arrays, those of 16 bytes a number and those that are not
    alike stay with CuPy.
    """
    cuda, array = chainer.backends.cuda, chainer.functions.array

    def patch(function, replaced):
        """replaced: how many axes of each array the result's axis stands for."""
        own = function.forward

        @functools.wraps(own)
        def forward(self, inputs):
            x = inputs[0]
            fit = isinstance(x, cuda.ndarray) and x.itemsize in NUMBERS
            if not (fit and kernels.usable()):
                return own(self, inputs)
            axis = self.axis % (x.ndim + 1 - replaced)
            before, after = slice(axis), slice(axis + replaced, None)
            alike = {(x.dtype, x.shape[before], x.shape[after]) for x in inputs}
            if len(alike) > 1 or not all(x.size for x in inputs):
                return own(self, inputs)
            length = sum(math.prod(x.shape[axis : axis + replaced]) for x in inputs)
            return (joined(inputs, (*x.shape[before], length, *x.shape[after]), axis),)

        function.forward = forward

    patch(array.concat.Concat, 1)
    patch(array.stack.Stack, 0)


def joined(arrays, shape, axis):
    """A new array of this shape: arrays of the same dtype one after the other along the axis."""
    cupy = kernels.get_cupy()
    made = cupy.empty(shape, arrays[0].dtype)
    rows = math.prod(shape[:axis])
    starts = np.cumsum([0, *(array.size // rows for array in arrays)])
    for first in range(0, len(arrays), MOST):
        some = [cupy.ascontiguousarray(array) for array in arrays[first : first + MOST]]
        start = starts[first : first + MOST + 1]
        table = np.zeros(1, Arrays)
        table["at"][0, : len(some)] = [array.data.ptr for array in some]
        table["start"][0, : len(start)] = start
        columns = start[-1] - start[0]
        sizes = starts[-1], columns, rows * columns
        blocks = min(BLOCKS, -(-int(rows * columns) // THREADS))
        kernel = kernels.compiled(SOURCES[made.itemsize], "join")
        kernel((blocks,), (THREADS,), (table, made, *sizes))
    return made
