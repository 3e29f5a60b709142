"""The norm of a network's gradients on a GPU, without cuBLAS, which CuPy keeps out of graphs."""

import functools

import numpy as np

from utils.stack import kernels, tables

SOURCE = (
    tables.STRUCT
    + r"""
extern "C" __global__ void square_sum(const Table arrays, double* sums) {
  double sum = 0;
  for (int k = 0; k < arrays.count; ++k) {
    for (long long i = FIRST; i < arrays.size[k]; i += STEP) {
      double x = arrays.at[0][k][i];
      sum += x * x;
    }
  }
  sums[FIRST] += sum;
}
"""
)


def install(chainer):
    """Let `chainer`'s GradientClipping use `square_sum` for float32 gradients on a GPU."""
    clipping = chainer.optimizer_hooks.gradient_clipping
    original = clipping._sum_sqnorm_grads

    @functools.wraps(original)
    def sum_sqnorm_grads(params):
        if not tables.accepts(params):
            return original(params)
        total = square_sum([param.grad for param in params])
        return total.astype(np.float32), params[0].device

    clipping._sum_sqnorm_grads = sum_sqnorm_grads


def square_sum(arrays):
    """The sum of the squares of all numbers in float32 arrays on a GPU: float64 (), there, too."""
    sums = kernels.get_cupy().zeros(tables.BLOCKS * tables.THREADS, np.float64)
    for table, blocks in tables.launches(arrays):
        kernels.compiled(SOURCE, "square_sum")((blocks,), (tables.THREADS,), (table, sums))
    return sums.sum()
