"""Chainer's convolutions and linear layers on the CPU, computed by oneDNN where it can."""

import contextlib
import functools
import logging
import os
import threading

import numpy as np

from utils.errors import UserError
from utils.stack import direct, dnnl, products, providers, unfolded, winograd
from utils.stack.geometry import of_convolution, of_deconvolution, of_weight_gradient
from utils.stack.providers import Unsuitable

CACHED = 512  # compiled convolutions, before the least recently used one goes

_dtype = "float32"  # of the numbers that convolutions multiply
_obstacle = None  # why oneDNN cannot be used: (log level, reason); () if it can, None if unknown
_loading = threading.Lock()


def install(chainer):
    """Let `chainer`'s convolutions and deconvolutions of any dimensions, linear layers and all
    their gradients use oneDNN.

    Without the library, with CHAINER_ONEDNN=0 and for what oneDNN cannot do, Chainer's own code
    runs, and the log says why, once.
    """
    linear = _linear, _linear_data_gradient, _linear_weight_gradient
    computes = _convolution, _weight_gradient, _deconvolution, *linear
    providers.install(chainer, "oneDNN", "cpu", _on_cpu, computes)


def _on_cpu(inputs):
    return isinstance(inputs[0], np.ndarray)


@contextlib.contextmanager
def using_dtype(name):
    """In this context convolutions may be as inexact as if factors were of this type, in every
    thread.

    "float32" is the default. "tf32": all numbers stay float32, but minimal filtering takes larger
    tiles, whose error is about that of rounding factors to tf32. "bfloat16": the same, and in
    other convolutions weights and activations are rounded to bfloat16 as they are multiplied, good
    to 3 digits. Raises UserError for another type, and for bfloat16 without oneDNN or on a
    processor that would have to emulate it.
    """
    global _dtype
    if name not in direct.DTYPES:
        raise UserError(f"{name} is for a GPU; on a CPU use {' or '.join(direct.DTYPES)}")
    if name == "bfloat16":
        _refuse_slow_bfloat16()
    before, _dtype = _dtype, name
    try:
        yield
    finally:
        _dtype = before


def dtype_in_use():
    """The type of `using_dtype` in which convolutions multiply now."""
    return _dtype


def usable():
    """Whether oneDNN is there for this process."""
    try:
        _check_library()
    except Unsuitable:
        return False
    return True


def _refuse_slow_bfloat16():
    try:
        _check_library()
    except Unsuitable as obstacle:
        raise UserError(f"bfloat16 needs oneDNN: {obstacle.reason}; use float32") from None
    if not dnnl.library().has(dnnl.AVX512_BF16):
        raise UserError("bfloat16 needs a processor with AVX512_BF16 or AMX; use float32")


def convolved(direction, geometry, *arrays):
    """Compute a convolution or one of its gradients; Unsuitable if oneDNN cannot.

    direction: "forward", "data_gradient" or "weight_gradient", functions of `direct`, `winograd`
    and `unfolded`, which say what arrays they take; these are C-contiguous.
    """
    _check_library()  # even if forward did: the process may have been forked since
    bias = (len(arrays) == 3,) if direction == "forward" else ()
    compute = _compile(direction, geometry, *bias)
    if isinstance(compute, str):
        raise Unsuitable(logging.INFO, compute)
    return _unless_refused(compute, arrays)


def multiplied(a, b):
    """a @ b, both float32, of any strides above 0; Unsuitable if oneDNN cannot."""
    _check_library()

    def compute(a, b):
        out = dnnl.empty((a.shape[0], b.shape[1]))
        products.multiply(a, b, out)
        return out

    return _unless_refused(compute, (a, b))


def _unless_refused(compute, arrays):
    try:
        with dnnl.no_signals:  # entered here once for all kernels of a convolution: it takes 3 us
            return compute(*arrays)
    except dnnl.Error as error:
        raise Unsuitable(logging.INFO, str(error)) from None


def _prepared(compute):
    """Decorate `compute`: its arrays are made contiguous; Unsuitable if oneDNN cannot take them."""

    @functools.wraps(compute)
    def prepared(node, *inputs):
        providers.check_arrays(node, inputs)
        return compute(node, *map(np.ascontiguousarray, inputs))

    return prepared


@_prepared
def _convolution(node, x, W, b=None):
    geometry = of_convolution(node, x.shape, W.shape, _dtype)
    return convolved("forward", geometry, x, W, *([] if b is None else [b]))


@_prepared
def _weight_gradient(node, x, gy):
    geometry = of_weight_gradient(node, x.shape, gy.shape, _dtype)
    return convolved("weight_gradient", geometry, x, gy)


@_prepared
def _deconvolution(node, x, W, b=None):
    y = convolved("data_gradient", of_deconvolution(node, x.shape, W.shape, _dtype), x, W)
    if b is not None:
        y += b.reshape(-1, *[1] * len(y.shape[2:]))
    return y


@_prepared
def _linear(node, x, W, b=None):
    y = multiplied(x, W.T)
    if b is not None:
        y += b
    return y


@_prepared
def _linear_data_gradient(node, W, gy):
    return multiplied(gy, W)


@_prepared
def _linear_weight_gradient(node, x, gy):
    return multiplied(gy.T, x)


@functools.lru_cache(CACHED)
def _compile(direction, geometry, *bias):
    """A function of the arrays, or the reason, a text, why there is none."""
    try:
        convolution = getattr(_algorithm(direction, geometry), direction)(geometry, *bias)
    except dnnl.Error as error:
        return f"{error} for the {direction} of {geometry}"
    if "ref" in convolution.implementation:  # slow reference code, such as "ref:any"
        return f"oneDNN has no fast {direction} for {geometry}"
    return convolution


def _algorithm(direction, geometry):
    if winograd.pays(geometry):
        return winograd
    return unfolded if unfolded.pays(direction, geometry) else direct


def _check_library():
    """Raise Unsuitable unless oneDNN is there for this process."""
    global _obstacle
    if _obstacle is None:
        with _loading:  # one thread loads it: objects of two engines would not work together
            if _obstacle is None:
                _obstacle = _load() or ()
    if _obstacle:
        raise Unsuitable(*_obstacle)


def _load():
    """Load oneDNN, or return a log level and why it is not available."""
    if os.environ.get("CHAINER_ONEDNN") == "0":
        return logging.INFO, "CHAINER_ONEDNN is 0"
    try:
        dnnl.library()
    except (OSError, AttributeError, dnnl.Error) as error:  # AttributeError: no such function in it
        cure = f"on x86-64 Linux, pip install {dnnl.WHEEL} makes convolutions many times faster"
        if "libgomp" in str(error):  # the wheel does not include it
            cure = "install your system's libgomp (Debian: apt install libgomp1)"
        return logging.WARNING, f"no oneDNN ({error}); {cure}"
    os.register_at_fork(after_in_child=_after_fork)


def _after_fork():
    # A fork does not copy the library's threads: the first call would wait for them for ever.
    global _obstacle
    _obstacle = logging.INFO, "this process was forked from one that had started oneDNN"
