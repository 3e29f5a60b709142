"""Chainer's convolutions and linear layers on a GPU, by cuDNN 9 where it can."""

import contextlib
import functools
import logging
import math
import os
import threading

import numpy as np

from utils.errors import UserError
from utils.stack import casts, cudnn_engines, cudnn_plans, kernels, providers
from utils.stack.cudnn_engines import OPERANDS
from utils.stack.geometry import of_convolution, of_deconvolution, of_weight_gradient, product
from utils.stack.providers import Unsuitable

CAPABILITY = {"float32": 0, "tf32": 80, "bfloat16": 80, "float16": 70}  # 80 for a GPU of 8.0

_dtype = "tf32"  # type in which convolutions and linear layers multiply


class Thread(threading.local):
    """What each thread has for itself: `packed`, the arrays that the function node it is computing
    has packed, None between nodes.

    packed: {(id of an array, dtype, limit): (the array, its casts.Packed)}.
    """

    packed = None


_thread = Thread()


def install(chainer):
    """Let `chainer`'s convolutions and deconvolutions of any dimensions and linear layers, with all
    their gradients, use cuDNN on a GPU.

    Chainer's own code computes them, and the log says why, once, if there is no cuDNN, with
    CHAINER_CUDNN=0 or chainer.config.use_cudnn "never", and for what cuDNN cannot do.
    """
    linear = _linear, _linear_data_gradient, _linear_weight_gradient
    computes = _convolution, _weight_gradient, _deconvolution, *linear
    providers.install(chainer, "cuDNN", "gpu", _on_gpu, computes)
    connection = chainer.functions.connection
    for node in (
        connection.convolution_2d.Convolution2DFunction,
        connection.convolution_nd.ConvolutionND,
        connection.deconvolution_2d.Deconvolution2DFunction,
        connection.deconvolution_nd.DeconvolutionND,
        connection.linear.LinearFunction,
    ):
        node.backward = _reusing_packed(node.backward)


def _on_gpu(inputs):
    return isinstance(inputs[0], _chainer().backends.cuda.ndarray)


def _chainer():
    import chainer  # imported late: by the time a node is computed it has been patched

    return chainer


@contextlib.contextmanager
def using_dtype(name):
    """In this context convolutions and linear layers on a GPU multiply numbers of this type, in
    every thread.

    Arrays, sums and parameters stay float32. "float32" multiplies them as they are. "tf32", the
    default, rounds factors to 3 digits, on GPUs that can. "bfloat16" rounds factors and results to
    2 digits; arrays between the layers of layers.py stay in bfloat16. "float16" rounds both to 3
    digits, and scales each array into its range by a power of two. Raises UserError if there is no
    cuDNN for it, or if the device in use cannot do it.
    """
    global _dtype
    if name != "float32":
        _refuse_impossible(name)
    before, _dtype = _dtype, name
    try:
        yield
    finally:
        _dtype = before


def _refuse_impossible(name):
    if obstacle := missing():
        raise UserError(f"{name} needs cuDNN: {obstacle[1]}; or use float32")
    if name in casts.DTYPES and not kernels.usable():
        raise UserError(f"{name} needs own CUDA kernels, which are turned off; use tf32")
    if capability() < CAPABILITY[name]:
        raise UserError(
            f"{name} needs a GPU of compute capability {CAPABILITY[name] / 10}, this one has "
            f"{capability() / 10}; use float32"
        )


def capability():
    """The compute capability of the GPU in use, 80 for 8.0."""
    return int(kernels.get_cupy().cuda.Device().compute_capability)


def _prepared(compute):
    """Decorate `compute`: its arrays are made contiguous and aligned; it raises Unsuitable for what
    cuDNN cannot do."""

    @functools.wraps(compute)
    def prepared(node, *inputs):
        if obstacle := missing():
            raise Unsuitable(*obstacle)
        if _chainer().config.use_cudnn == "never":
            raise Unsuitable(logging.INFO, "config.use_cudnn is never")
        providers.check_arrays(node, inputs)
        packed = {}
        starts = _dtype in casts.DTYPES and _thread.packed is None  # else a backward method has
        try:
            with _packing_once(packed) if starts else contextlib.nullcontext():
                result = compute(node, *map(as_aligned, inputs))
        except cudnn_plans.Error as error:
            raise Unsuitable(logging.WARNING, str(error)) from None
        node.packed = packed
        return result

    return prepared


def _reusing_packed(original):
    """Decorate a node's backward method: arrays that forward has packed are not packed again."""

    @functools.wraps(original)
    def backward(self, indexes, grad_outputs):
        packed = getattr(self, "packed", None)
        if not packed:  # nothing is packed on a CPU, or in 32 bits
            return original(self, indexes, grad_outputs)
        with _packing_once(packed.copy()):
            return original(self, indexes, grad_outputs)

    return backward


@contextlib.contextmanager
def _packing_once(packed):
    """In this context each array is packed once; packed: what has been, as in Thread."""
    _thread.packed = packed
    try:
        yield
    finally:
        _thread.packed = None


def _pack(array, shape, dtype, limit):
    """The casts.Packed of an array that is reshaped first, a new one only where there is none."""
    known, key = {} if _thread.packed is None else _thread.packed, (id(array), dtype, limit)
    if key not in known:
        known[key] = array, casts.Packed(array.reshape(shape), dtype, limit)
    return known[key][1]


@_prepared
def _convolution(node, x, W, b=None):
    geometry = of_convolution(node, x.shape, W.shape, _dtype)
    return run("forward", _widened(geometry), b, images=x, weights=W).reshape(geometry.outputs)


@_prepared
def _weight_gradient(node, x, gy):
    geometry = of_weight_gradient(node, x.shape, gy.shape, _dtype)
    gW = run("weight_gradient", _widened(geometry), images=x, outputs=gy)
    return gW.reshape(geometry.weights)


@_prepared
def _deconvolution(node, x, W, b=None):
    geometry = of_deconvolution(node, x.shape, W.shape, _dtype)
    y = run("data_gradient", _widened(geometry), b, weights=W, outputs=x)
    return y.reshape(geometry.images)


@_prepared
def _linear(node, x, W, b=None):
    geometry = product(x.shape[0], *W.shape, _dtype)
    return run("forward", geometry, b, images=x, weights=W).reshape(geometry.outputs[:2])


@_prepared
def _linear_data_gradient(node, W, gy):
    geometry = product(gy.shape[0], *W.shape, _dtype)
    return run("data_gradient", geometry, weights=W, outputs=gy).reshape(geometry.images[:2])


@_prepared
def _linear_weight_gradient(node, x, gy):
    geometry = product(x.shape[0], gy.shape[1], x.shape[1], _dtype)
    return run("weight_gradient", geometry, images=x, outputs=gy).reshape(geometry.weights[:2])


def _widened(geometry):
    """The same Geometry with two axes instead of one: cuDNN takes two or three."""
    if len(geometry.stride) > 1:
        return geometry

    def widened(shape):
        return (*shape[:2], 1, *shape[2:])

    return geometry._replace(
        images=widened(geometry.images),
        weights=widened(geometry.weights),
        outputs=widened(geometry.outputs),
        stride=(1, *geometry.stride),
        pad=(0, *geometry.pad),
        dilate=(1, *geometry.dilate),
    )


def dtype_in_use():
    """The type of `using_dtype` in which convolutions multiply now; None if cuDNN is not used."""
    return None if missing() or _chainer().config.use_cudnn == "never" else _dtype


def in_words():
    """What computes convolutions on a GPU, such as "cuDNN 9.19.0 in tf32"."""
    dtype = dtype_in_use()
    if dtype is None:
        return "no cuDNN"
    if capability() < CAPABILITY[dtype]:  # the default, tf32, on a GPU that does not have it
        dtype = "float32"
    major, rest = divmod(cudnn_plans.library().version, 10000)
    return f"cuDNN {major}.{rest // 100}.{rest % 100} in {dtype}"


def as_aligned(array):
    """The array, or a copy where its memory is not as cuDNN wants it."""
    aligned = array.data.ptr % cudnn_plans.ALIGNMENT == 0
    return array if array.flags.c_contiguous and aligned else array.copy()


def run(direction, geometry, bias=None, **arrays):
    """Compute the one operand of a convolution that is not among `arrays`, float32.

    direction: one of cudnn_plans.DIRECTIONS. geometry: shapes of all operands. arrays: the other
    two, by their names in OPERANDS; float32, on the current device, C-contiguous, aligned. bias: a
    number to add to each channel of the result. Raises Unsuitable or cudnn_plans.Error for what
    cuDNN cannot do.
    """
    (written,) = set(OPERANDS) - arrays.keys()
    shape, dtype = getattr(geometry, written), geometry.dtype
    if min(shape) < 1:
        raise Unsuitable(logging.INFO, f"{geometry} has nothing to write")
    if bias is not None and bias.shape != shape[1:2]:
        raise Unsuitable(logging.INFO, f"a bias of {bias.shape} for {shape[1]} channels")
    if dtype in casts.DTYPES:
        limit = casts.limit(_terms(geometry))
        factors = {n: _pack(a, getattr(geometry, n), dtype, limit) for n, a in arrays.items()}
        packed = {name: factor.array for name, factor in factors.items()}
        packed[written] = kernels.get_cupy().empty(shape, np.uint16)
        cudnn_engines.compute(direction, geometry, packed, last=True)
        return casts.unpacked([packed[written]], dtype, factors.values(), limit, bias)[0]

    arrays[written] = kernels.get_cupy().empty(shape, np.float32)
    if bias is not None and direction == "forward":
        with contextlib.suppress(Unsuitable):  # then no engine adds the bias itself
            cudnn_engines.compute(direction, geometry, {**arrays, "bias": bias})
            return arrays[written]
    cudnn_engines.compute(direction, geometry, arrays)
    if bias is not None:
        arrays[written] += bias.reshape(-1, *[1] * len(shape[2:]))
    return arrays[written]


def _terms(geometry):
    """The largest number of products that are added up for one number of a result, in any
    direction."""
    outputs, inputs, *kernel = geometry.weights
    most = max(inputs, outputs // geometry.groups) * math.prod(kernel)
    return max(most, geometry.outputs[0] * math.prod(geometry.outputs[2:]))


@functools.cache
def missing():
    """(log level, reason) why cuDNN cannot be used; None if it can."""
    if os.environ.get("CHAINER_CUDNN") == "0":
        return logging.INFO, "CHAINER_CUDNN is 0"
    try:
        cudnn_plans.library()
    except OSError as error:
        cure = f"pip install {cudnn_plans.WHEELS}, as CUDA is 12 or 13, for fast convolutions"
        return logging.WARNING, f"no cuDNN 9 ({error}); {cure}"
    except AttributeError as error:
        return logging.WARNING, f"not the cuDNN 9 that is known here ({error})"
    return None
