"""Chainer's convolutions, linear layers on a GPU, computed by cuDNN 9 where it can.

Which of cuDNN's engines computes follows Chainer's configuration: use_cudnn,
use_cudnn_tensor_core, cudnn_deterministic, autotune.  A shape seen before needs no wait for the
device, so that a CUDA graph can capture what is done for it.
"""

import contextlib
import functools
import itertools
import logging
import math
import os
import threading

import numpy as np

from utils.errors import UserError
from utils.stack import casts, cudnn_plans, kernels, providers
from utils.stack.geometry import (
    Geometry,
    of_convolution,
    of_deconvolution,
    of_weight_gradient,
)
from utils.stack.providers import Unsuitable

WORKSPACE = 2**28  # bytes that an engine may need beside its arrays; set it before the first use
TRIED, TIMED = 8, 3  # engines that autotune tries, runs of each that it times
# Python needs longer to launch a small kernel than the GPU to run it: what is to be timed queues up
# behind this one, a third of a millisecond.
CYCLES = 600_000
IDLE = r"""
extern "C" __global__ void idle(long long cycles) {
  for (long long start = clock64(); clock64() - start < cycles;);
}
"""
CAPABILITY = {"float32": 0, "tf32": 80, "bfloat16": 80, "float16": 70}  # 80 for a GPU of 8.0
FAILURES = RuntimeError, MemoryError  # of an engine: cuDNN's and CUDA's own are RuntimeErrors
OPERANDS = "images", "weights", "outputs"  # in the order of a plan's tensors

_dtype = "tf32"  # of the numbers that convolutions, linear layers multiply


def install(chainer):
    """Let `chainer`'s convolutions, deconvolutions of any dimensions, linear layers, with all
    their gradients, use cuDNN on a GPU.

    Without the library, with CHAINER_CUDNN=0 and for what cuDNN cannot do they stay with
    Chainer's own code, and the log says why, once.
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
        node.backward = _with_what_was_packed(node.backward)


def _on_gpu(inputs):
    return isinstance(inputs[0], _chainer().backends.cuda.ndarray)


def _chainer():
    import chainer  # mended, by the time that a node computes

    return chainer


@contextlib.contextmanager
def using_dtype(name):
    """In this context convolutions, linear layers on a GPU multiply numbers of this type, in every
    thread.

    Arrays, sums and parameters are float32.  "tf32", the default, rounds what is multiplied to 3
    digits, "float32" does not.  "bfloat16" rounds it and the result to 2 digits; the arrays between
    the layers of layers.py stay in bfloat16.  "float16" rounds both to 3 digits, each array scaled
    into its range by a power of two.  Raises UserError where there is no cuDNN for it, or where the
    device in use cannot do it.
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
    import cupy

    capability, needed = int(cupy.cuda.Device().compute_capability), CAPABILITY[name]
    if capability < needed:
        raise UserError(
            f"{name} needs a GPU of compute capability {needed / 10}, this one has "
            f"{capability / 10}; use float32"
        )


def _prepared(compute):
    """Decorate `compute`: it gets contiguous, aligned arrays, and what cuDNN cannot do is
    Unsuitable."""

    @functools.wraps(compute)
    def prepared(node, *inputs):
        if obstacle := missing():
            raise Unsuitable(*obstacle)
        inputs, packed = _check_arrays(node, inputs), {}
        try:
            with _packing(packed) if _thread.packed is None else contextlib.nullcontext():
                result = compute(node, *inputs)
        except cudnn_plans.Error as error:
            raise Unsuitable(logging.WARNING, str(error)) from None
        node.packed = packed
        return result

    return prepared


def _with_what_was_packed(own):
    """The backward method of a node, which packs no array again that forward has packed."""

    @functools.wraps(own)
    def backward(self, indexes, grad_outputs):
        with _packing(dict(getattr(self, "packed", ()))):
            return own(self, indexes, grad_outputs)

    return backward


@contextlib.contextmanager
def _packing(known):
    """In this context an array is packed once: {(its id, how): (it, casts.Packed)}."""
    _thread.packed = known
    try:
        yield
    finally:
        _thread.packed = None


def _packed(array, shape, *how):
    known, key = {} if _thread.packed is None else _thread.packed, (id(array), *how)
    if key not in known:
        known[key] = array, casts.Packed(array.reshape(shape), *how)
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
    geometry = product(x.shape[0], *W.shape)
    return run("forward", geometry, b, images=x, weights=W).reshape(geometry.outputs[:2])


@_prepared
def _linear_data_gradient(node, W, gy):
    geometry = product(gy.shape[0], *W.shape)
    return run("data_gradient", geometry, weights=W, outputs=gy).reshape(geometry.images[:2])


@_prepared
def _linear_weight_gradient(node, x, gy):
    geometry = product(x.shape[0], gy.shape[1], x.shape[1])
    return run("weight_gradient", geometry, images=x, outputs=gy).reshape(geometry.weights[:2])


def product(batch, outputs, inputs):
    """A matrix product as a convolution of images of one pixel.

    CuPy does not let cuBLAS into a CUDA graph.
    """
    one = 1, 1
    shapes = (batch, inputs, *one), (outputs, inputs, *one), (batch, outputs, *one)
    return Geometry(*shapes, one, (0, 0), one, 1, _dtype)


def _widened(geometry):
    """The same with two axes for one: cuDNN wants two or three."""
    if len(geometry.stride) > 1:
        return geometry
    (stride, pad, dilate), shapes = geometry[3:6], geometry[:3]
    shapes = [(*shape[:2], 1, *shape[2:]) for shape in shapes]
    return Geometry(*shapes, (1, *stride), (0, *pad), (1, *dilate), *geometry[6:])


def dtype_in_use():
    """Of the numbers that convolutions multiply, as `using_dtype` has it; None without cuDNN."""
    return None if missing() or _chainer().config.use_cudnn == "never" else _dtype


def in_words():
    """What computes convolutions on a GPU, such as "cuDNN 9.19.0 in tf32"."""
    dtype = dtype_in_use()
    if dtype is None:
        return "no cuDNN"
    major, rest = divmod(cudnn_plans.library().version, 10000)
    return f"cuDNN {major}.{rest // 100}.{rest % 100} in {dtype}"


def _check_arrays(node, inputs):
    """The inputs, C-contiguous, aligned; raises Unsuitable unless cuDNN can take them."""
    if _chainer().config.use_cudnn == "never":
        raise Unsuitable(logging.INFO, "config.use_cudnn is never")
    dtypes = {array.dtype for array in inputs}
    dtypes |= {np.dtype(getattr(node, name, "f4")) for name in ("W_dtype", "_w_dtype")}
    if others := sorted(dtype.name for dtype in dtypes - {np.dtype("f4")}):
        raise Unsuitable(logging.INFO, f"it is for float32 here, not {', '.join(others)}")
    if not all(array.size for array in inputs):
        raise Unsuitable(logging.INFO, "an array is empty")
    if getattr(node, "cudnn_fast", False) or any(node.input_layouts):
        raise Unsuitable(logging.INFO, "a memory layout of the array's own is not provided for")
    return [in_a_row(array) for array in inputs]


def in_a_row(array):
    """The array, or a copy where its memory is not as cuDNN wants it."""
    aligned = array.data.ptr % cudnn_plans.ALIGNMENT == 0
    return array if array.flags.c_contiguous and aligned else array.copy()


def run(direction, geometry, bias=None, **arrays):
    """The one operand that is not among `arrays`, in its shape of the geometry, float32.

    direction: one of cudnn_plans.DIRECTIONS.  arrays: by the names of OPERANDS, float32 of the
    current device, C-contiguous, aligned.  bias: a number to add to each of the result's channels.
    Raises Unsuitable, cudnn_plans.Error where cuDNN cannot.
    """
    import cupy

    (written,) = set(OPERANDS) - arrays.keys()
    shapes = dict(zip(OPERANDS, geometry, strict=False))
    shape, dtype = shapes[written], geometry.dtype
    if min(shape) < 1:
        raise Unsuitable(logging.INFO, f"{geometry} has nothing to write")
    if bias is not None and bias.shape != shape[1:2]:
        raise Unsuitable(logging.INFO, f"a bias of {bias.shape} for {shape[1]} channels")
    if dtype in casts.DTYPES:
        limit = casts.limit(_terms(geometry))
        factors = {n: _packed(a, shapes[n], dtype, limit) for n, a in arrays.items()}
        packed = {name: factor.array for name, factor in factors.items()}
        packed[written] = cupy.empty(shape, np.uint16)
        compute(direction, geometry, packed, last=True)
        return casts.unpacked([packed[written]], dtype, factors.values(), limit, bias)[0]

    arrays[written] = cupy.empty(shape, np.float32)
    if bias is not None and direction == "forward":
        with contextlib.suppress(Unsuitable):  # where no engine adds it in one go
            compute(direction, geometry, {**arrays, "bias": bias})
            return arrays[written]
    compute(direction, geometry, arrays)
    if bias is not None:
        arrays[written] += bias.reshape(-1, *[1] * len(shape[2:]))
    return arrays[written]


def _terms(geometry):
    """How many products the sum has, at most, that makes one number of a result."""
    outputs, inputs, *kernel = geometry.weights
    most = max(inputs, outputs // geometry.groups) * math.prod(kernel)
    return max(most, geometry.outputs[0] * math.prod(geometry.outputs[2:]))


class Thread(threading.local):
    """What each thread has for itself, since cuDNN's objects are not to be shared.

    handles: by device.  plans: by what they are for; Unsuitable's arguments where there is none.
    packed: what the node at work has packed, as `_packing` has it.
    """

    def __init__(self):
        self.handles, self.plans, self.packed = {}, {}, None


_thread = Thread()
_kept = []  # the plans of all threads: a CUDA graph may run their kernels after the thread's end


def compute(direction, geometry, arrays, last=False):
    """Have cuDNN write one of the arrays, {an operand or "bias": array of its layout}.

    last: whether channels are neighbours in memory.  Raises Unsuitable, cudnn_plans.Error where
    cuDNN cannot.
    """
    import cupy

    device = cupy.cuda.runtime.getDevice()
    handle = _handle(device)
    handle.follow(cupy.cuda.get_current_stream().ptr)
    addresses = [arrays[name].data.ptr for name in (*OPERANDS, "bias") if name in arrays]

    without, autotune = unwanted(geometry.dtype), _chainer().config.autotune
    key = direction, geometry, "bias" in arrays, last, without, autotune
    plan = _thread.plans.get((device, *key))
    if isinstance(plan, cudnn_plans.Plan):
        try:
            return execute(plan, handle, addresses)
        except FAILURES as error:
            if cupy.cuda.get_current_stream().is_capturing():  # where none can be tried
                raise
            providers.log_once(logging.WARNING, f"an engine of cuDNN is given up: {error}")
            plan = None
    if plan is None:
        plan = _thread.plans[(device, *key)] = _choose(handle, addresses, *key)
        _kept.append(plan)
    if isinstance(plan, tuple):
        raise Unsuitable(*plan)
    execute(plan, handle, addresses)


def _handle(device):
    """This thread's Handle of a device; Unsuitable if there is none, which is not tried again."""
    if device not in _thread.handles:
        try:
            _thread.handles[device] = cudnn_plans.Handle()
        except cudnn_plans.Error as error:
            _thread.handles[device] = f"it does not start ({error})"
    handle = _thread.handles[device]
    if isinstance(handle, str):
        raise Unsuitable(logging.WARNING, handle)
    return handle


def execute(plan, handle, addresses):
    """Run a Plan on the arrays at these addresses, as `Plan.execute` takes them."""
    import cupy

    room = cupy.cuda.alloc(plan.workspace)  # of the pool in use, so that a graph can keep it
    plan.execute(handle, addresses, room.ptr)


def unwanted(dtype):
    """Properties that an engine must not have."""
    config = _chainer().config
    notes = {cudnn_plans.DOWN_CONVERT, cudnn_plans.REDUCED_SUMS}
    if dtype == "float32" or config.use_cudnn_tensor_core == "never":
        notes.add(cudnn_plans.TENSOR_CORE)
    if config.cudnn_deterministic:
        notes.add(cudnn_plans.NONDETERMINISTIC)
    return frozenset(notes)


def _choose(handle, addresses, direction, geometry, bias, last, without, autotune):
    """The plan to use from now on, or Unsuitable's arguments."""
    told = handle, addresses, (failures := [])
    found = cudnn_plans.plans(handle, direction, geometry, bias, last, without, WORKSPACE)
    working = (plan for plan in found if _runs(plan, *told))
    try:
        plan = _fastest(working, *told) if autotune else next(working, None)
    except cudnn_plans.Error as error:
        return logging.INFO, f"cuDNN has no engine for the {direction} of {geometry} ({error})"
    if plan is None and failures:
        why = f"({len(failures)} tried: {failures[-1]})"
        return logging.WARNING, f"no engine of cuDNN runs for the {direction} of {geometry} {why}"
    return plan or (logging.INFO, f"cuDNN has no engine for the {direction} of {geometry}")


def _runs(plan, handle, addresses, failures):
    """Whether cuDNN executes its own plan, which loads the kernels; `failures` say why not."""
    try:
        execute(plan, handle, addresses)
    except FAILURES as error:
        failures.append(error)
        return False
    return True


def _fastest(working, handle, addresses, failures):
    """Of the first few, by the clock of the device; None of none."""
    from cupy import cuda

    times = {}
    cuda.runtime.deviceSynchronize()  # other streams may still be at work
    for plan in itertools.islice(working, TRIED):
        start, end = cuda.Event(), cuda.Event()
        try:
            idle(CYCLES)
            start.record()
            for _ in range(TIMED):
                execute(plan, handle, addresses)
            end.record()
            end.synchronize()
        except FAILURES as error:
            failures.append(error)
        else:
            times[plan] = cuda.get_elapsed_time(start, end)
    return min(times, key=times.get, default=None)


def idle(cycles):
    """Have the GPU wait."""
    if kernels.usable():
        _idle()((1,), (1,), (cycles,))


@functools.cache
def _idle():
    import cupy

    return cupy.RawKernel(IDLE, "idle")


@functools.cache
def missing():
    """A log level, why there is no cuDNN here; None where there is."""
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
