"""Random arrays for layers, how they are rounded, how far results are from the exact ones."""

import numpy as np

from utils.stack import chainer

CUDA = chainer.backends.cuda


def random(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def put(values):
    """The array on the GPU."""
    return CUDA.cupy.asarray(values)


def double(values):
    return values.astype(np.float64)


def rounded(array):
    """float32 to the nearest bfloat16, ties to even, as float32."""
    bits = array.view(np.uint32).astype(np.uint64)
    bits = bits + 0x7FFF + (bits >> 16 & 1) >> 16 << 16
    return bits.astype(np.uint32).view(np.float32)


def distance(found, exact):
    """How far an array, on a CPU or a GPU, is from the exact one, as a share of its norm."""
    return np.linalg.norm(double(CUDA.to_cpu(found)) - exact) / np.linalg.norm(exact)


def assert_near(found, exact, share):
    """Fail where a number is off by more than a share of the largest."""
    np.testing.assert_allclose(CUDA.to_cpu(found), exact, rtol=0, atol=share * np.abs(exact).max())
