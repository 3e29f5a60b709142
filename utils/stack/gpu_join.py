"""F.concat and F.stack on a GPU: one kernel launch, where CuPy copies array by array."""

import functools
import math

import numpy as np

from utils.stack import kernels

MOST = 240  # arrays in one launch: their addresses are among its arguments, which may take 4 KiB
THREADS, BLOCKS = 256, 4096
NUMBERS = {1: "char", 2: "short", 4: "int", 8: "long long"}  # {bytes: C type}; they are just copied
Arrays = np.dtype([("at", "u8", MOST), ("start", "i8", MOST + 1)])

# Each row of the result is made of rows of the arrays: array k fills columns start[k] to
# start[k + 1]. Neighbouring threads write neighbouring numbers.
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
    """Let `chainer`'s Concat and Stack, which other functions' gradients use, too, call `joined`.

    CuPy 14 joins more than 8 small arrays by a table of addresses that it sends to the GPU, which
    no CUDA graph may capture. Empty arrays, numbers of 16 bytes and arrays whose dtypes or shapes
    do not match are left to CuPy.
    """
    cuda, array = chainer.backends.cuda, chainer.functions.array

    def patch(function, replaced):
        """replaced: axes of each array that become the result's joined axis: 1, or 0 for stack."""
        original = function.forward

        @functools.wraps(original)
        def forward(self, inputs):
            x = inputs[0]
            fit = isinstance(x, cuda.ndarray) and x.itemsize in NUMBERS
            if not (fit and kernels.usable()):
                return original(self, inputs)
            axis = self.axis % (x.ndim + 1 - replaced)
            before, after = slice(axis), slice(axis + replaced, None)
            alike = {(x.dtype, x.shape[before], x.shape[after]) for x in inputs}
            if len(alike) > 1 or not all(x.size for x in inputs):
                return original(self, inputs)
            length = sum(math.prod(x.shape[axis : axis + replaced]) for x in inputs)
            return (joined(inputs, (*x.shape[before], length, *x.shape[after]), axis),)

        function.forward = forward

    patch(array.concat.Concat, 1)
    patch(array.stack.Stack, 0)


def joined(arrays, shape, axis):
    """A new array of this shape: arrays of one dtype, one after the other along the axis."""
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
