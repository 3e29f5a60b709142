"""Convolutions of NumPy arrays by oneDNN 3, called through its C interface."""

import collections
import ctypes
import functools
import math
import os
import threading
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_int32, c_int64, c_size_t, c_void_p

import numpy as np

WHEEL, LIBRARY = "onednn-cpu-gomp", "libdnnl.so.3"
CACHE_LINE = 64  # bytes; oneDNN's vector kernels want buffers that start on one

# Enumerators and macros of the C header; their values hold for all of oneDNN 3.
CPU = IN_ORDER = TAG_ANY = SCRATCHPAD_USER = DIRECT = 1
FORWARD_TRAINING = 64
BF16, F32 = 2, 3
DTYPES = {"float32": F32, "tf32": F32, "bfloat16": BF16}
AVX2, AVX512_BF16, AMX = 0x7, 0xE7, 0xFEF  # instruction sets, each with those before it, as bits
QUERY_IMPLEMENTATION, QUERY_ARGUMENT_LAYOUT = 8, 255
SRC, DST, WEIGHTS, BIAS, SCRATCHPAD = 1, 17, 33, 41, 80
DIFF_SRC, DIFF_DST, DIFF_WEIGHTS = 129, 145, 161
FROM, TO = SRC, DST
TRIM_THRESHOLD, MMAP_MAX = -1, -4  # of glibc's mallopt


class Argument(ctypes.Structure):
    """What a primitive reads or writes in one of its roles (SRC, DST, ...)."""

    _fields_ = [("role", c_int), ("memory", c_void_p)]


New, Object, Dims = POINTER(c_void_p), c_void_p, c_int64 * 12
FUNCTIONS = {  # all return a status
    "engine_create": [New, c_int, c_size_t],
    "stream_create": [New, Object, c_int],
    "stream_destroy": [Object],
    "stream_wait": [Object],
    "primitive_attr_create": [New],
    "primitive_attr_destroy": [Object],
    "primitive_attr_set_scratchpad_mode": [Object, c_int],
    "primitive_attr_set_post_ops": [Object, Object],
    "post_ops_create": [New],
    "post_ops_append_sum": [Object, c_float, c_int32, c_int],
    "post_ops_destroy": [Object],
    "memory_desc_create_with_tag": [New, c_int, Dims, c_int, c_int],
    "memory_desc_create_with_strides": [New, c_int, Dims, c_int, Dims],
    "memory_desc_destroy": [Object],
    "memory_create": [New, Object, Object, c_void_p],
    "memory_destroy": [Object],
    "convolution_forward_primitive_desc_create": (
        [New, Object, c_int, c_int] + [Object] * 4 + [Dims] * 4 + [Object]
    ),
    "convolution_backward_data_primitive_desc_create": (
        [New, Object, c_int] + [Object] * 3 + [Dims] * 4 + [Object] * 2
    ),
    "convolution_backward_weights_primitive_desc_create": (
        [New, Object, c_int] + [Object] * 4 + [Dims] * 4 + [Object] * 2
    ),
    "matmul_primitive_desc_create": [New] + [Object] * 6,
    "reorder_primitive_desc_create": [New] + [Object] * 5,
    "primitive_desc_query": [Object, c_int, c_int, c_void_p],
    "primitive_desc_destroy": [Object],
    "primitive_create": [New, Object],
    "primitive_execute": [Object, Object, c_int, POINTER(Argument)],
    "primitive_destroy": [Object],
}


class Error(RuntimeError):
    """oneDNN answered a call with another status than success."""


class Library:
    """oneDNN, loaded, with the engine and the attributes that all primitives share.

    Raises OSError, with the loader's words, if there is no oneDNN 3 here.
    """

    def __init__(self):
        if "OMP_WAIT_POLICY" not in os.environ:
            # Waiting threads spin: by default for so long that NumPy's BLAS misses the cores.  Not
            # at all would cost a wake-up for each of the many short loops of a training step.
            os.environ.setdefault("GOMP_SPINCOUNT", "30000")
        _keep_memory()
        self._lib = lib = ctypes.CDLL(_path())
        lib.dnnl_status2str.restype = c_char_p
        lib.dnnl_memory_desc_get_size.restype = c_size_t
        lib.dnnl_memory_desc_get_size.argtypes = [Object]
        lib.dnnl_memory_desc_equal.argtypes = [Object, Object]
        self.size, self.equal = lib.dnnl_memory_desc_get_size, lib.dnnl_memory_desc_equal
        for name, argtypes in FUNCTIONS.items():
            function = getattr(lib, f"dnnl_{name}")
            function.argtypes, function.errcheck = argtypes, self._check
            setattr(self, name, function)

        self.engine, self.attributes = c_void_p(), c_void_p()
        self.engine_create(byref(self.engine), CPU, 0)
        # With its own scratchpad, as is the default, a primitive is not safe to share by threads.
        self.primitive_attr_create(byref(self.attributes))
        self.primitive_attr_set_scratchpad_mode(self.attributes, SCRATCHPAD_USER)

    def has(self, instructions):
        """Whether the processor has them: AVX2 for vectors of float32, AVX512_BF16 for vectors of
        bfloat16 added in float32, AMX for matrices of it."""
        return self._lib.dnnl_get_effective_cpu_isa() & instructions == instructions

    def _check(self, status, function, _):
        if status:
            reason = self._lib.dnnl_status2str(status).decode()
            raise Error(f"{function.__name__}: {reason}")


def _keep_memory():
    """Let malloc reuse the memory of large arrays instead of returning it to the system at once,
    which would have to clear each page before it comes again: a tenth of a rollout's time."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's alone
    if mallopt:
        mallopt(MMAP_MAX, 0)
        mallopt(TRIM_THRESHOLD, 2**31 - 1)


def _path():
    """The wheel's library if that is installed, else the name for the loader to look up."""
    from importlib import metadata

    try:
        files = metadata.files(WHEEL) or []
    except metadata.PackageNotFoundError:
        files = []
    return next((str(file.locate()) for file in files if file.name == LIBRARY), LIBRARY)


library = functools.cache(Library)


class Owned:
    """Anything oneDNN created for us; destroyed with the last reference to it."""

    def __init__(self, kind, create, *args):
        self._as_parameter_ = c_void_p()
        self._destroy = getattr(library(), f"{kind}_destroy")
        getattr(library(), create)(byref(self._as_parameter_), *args)

    def __del__(self):
        if self._as_parameter_:
            self._destroy(self)


def _layout(shape, dtype, tag=None):
    """A memory descriptor: rows after rows as in NumPy, or TAG_ANY, what oneDNN likes best."""
    plain = len(shape) + 1  # the tags a, ab, abc, abcd, abcde, abcdef are 2 to 7
    create, dims = "memory_desc_create_with_tag", Dims(*map(int, shape))
    return Owned("memory_desc", create, len(shape), dims, dtype, tag or plain)


def memory(layout, address):
    return Owned("memory", "memory_create", layout, library().engine, address)


def _aligned(size):
    """An uninitialised byte array of `size` that starts on a cache line."""
    raw = np.empty(size + CACHE_LINE, np.uint8)
    start = -raw.ctypes.data % CACHE_LINE
    return raw[start : start + size]


def empty(shape):
    """An uninitialised float32 array that starts on a cache line."""
    return _aligned(4 * math.prod(shape)).view(np.float32).reshape(shape)


def _round_up(size):
    return -(-size // CACHE_LINE) * CACHE_LINE


class Room:
    """A growing buffer for temporaries, whose contents are good until it is next asked for."""

    def __init__(self):
        self._buffer = _aligned(0)

    def address(self, size):
        """Where `size` bytes start."""
        if self._buffer.size < size:
            self._buffer = _aligned(size)
        return self._buffer.ctypes.data

    def array(self, *shape):
        """An uninitialised float32 array."""
        size = 4 * math.prod(shape)
        self.address(size)
        return self._buffer[:size].view(np.float32).reshape(shape)


class Thread(threading.local):
    """What each thread has for itself: a stream, rooms for temporaries by their names."""

    def __init__(self):
        self.rooms = collections.defaultdict(Room)

    @functools.cached_property
    def stream(self):
        return Owned("stream", "stream_create", library().engine, IN_ORDER)


thread = Thread()


class Primitive:
    """A compiled kernel; threads may share it."""

    def __init__(self, create, *args):
        self._descriptor = Owned("primitive_desc", create, *args)
        self._kernel = Owned("primitive", "primitive_create", self._descriptor)
        self._scratch_layout = self.layout(SCRATCHPAD)
        self._scratch = library().size(self._scratch_layout)

    def layout(self, role):
        """The memory layout it wants in a role."""
        layout = c_void_p()
        query = library().primitive_desc_query
        query(self._descriptor, QUERY_ARGUMENT_LAYOUT, role, byref(layout))
        return layout

    @property
    def implementation(self):
        """oneDNN's name for the kernel."""
        name = c_char_p()
        library().primitive_desc_query(self._descriptor, QUERY_IMPLEMENTATION, 0, byref(name))
        return name.value.decode()

    def __call__(self, memories):
        """Run on {role: memory}."""
        scratch = thread.rooms["scratch"].address(self._scratch)
        memories = {**memories, SCRATCHPAD: memory(self._scratch_layout, scratch)}
        arguments = [Argument(role, m._as_parameter_) for role, m in memories.items()]
        stream, count = thread.stream, len(arguments)
        library().primitive_execute(self._kernel, stream, count, (Argument * count)(*arguments))
        library().stream_wait(stream)


def _grouped_weights(geometry):
    """The weights' shape as oneDNN has it: groups are an axis of their own."""
    outputs, *others = geometry.weights
    if geometry.groups == 1:
        return geometry.weights
    return geometry.groups, outputs // geometry.groups, *others


def _numbers(geometry):
    """Strides, gaps of dilation, padding before, padding after as oneDNN takes them."""
    gaps = [dilate - 1 for dilate in geometry.dilate]
    return [
        Dims(*map(int, pair)) for pair in (geometry.stride, gaps, geometry.pad, geometry.pad_after)
    ]


class Operand:
    """An array's way between NumPy's layout and the one a kernel wants it in."""

    def __init__(self, kernel, role, shape, offset):
        self._plain, self._packed = _layout(shape, F32), kernel.layout(role)
        self._is_packed = library().equal(self._plain, self._packed)
        self.role, self._offset, self._bytes = role, offset, library().size(self._plain)
        self.end = offset + _round_up(library().size(self._packed))
        ends = self._plain, self._packed
        if role in (DST, DIFF_SRC, DIFF_WEIGHTS):
            ends = reversed(ends)
        source, target = ((layout, library().engine) for layout in ends)
        create = "reorder_primitive_desc_create"
        self.reorder = Primitive(create, *source, *target, library().attributes)

    def memories(self, array, room):
        """The array's memory, and the kernel's: the same one where that can be, else in `room`."""
        if array.nbytes != self._bytes or not array.flags.c_contiguous:
            raise ValueError(f"not {self._bytes} bytes in a row: {array.dtype} {array.shape}")
        address = array.ctypes.data
        plain = memory(self._plain, address)
        if self._is_packed and address % CACHE_LINE == 0:
            return plain, plain
        return plain, memory(self._packed, room + self._offset)


class Convolution:
    """One direction of a convolution, compiled for its shapes; threads may share it."""

    def __init__(self, kernel, shapes, result):
        """`shapes` tells each operand's by its role, the output's last; `result` is the array's."""
        self.implementation = kernel.implementation
        self._kernel, self._result = kernel, result
        operands, end = [], 0
        for role, shape in shapes.items():
            operands.append(Operand(kernel, role, shape, end))
            end = operands[-1].end
        *self._inputs, self._output = operands
        self._room = end

    def __call__(self, *arrays):
        """C-contiguous float32 arrays of the compiled shapes -> a new one."""
        result = empty(self._result)
        room = thread.rooms["operands"].address(self._room)
        packed = {}
        for operand, array in zip(self._inputs, arrays, strict=True):
            source, target = operand.memories(array, room)
            if source is not target:
                operand.reorder({FROM: source, TO: target})
            packed[operand.role] = target
        target, source = self._output.memories(result, room)
        self._kernel({**packed, self._output.role: source})
        if source is not target:
            self._output.reorder({FROM: source, TO: target})
        return result


def forward(geometry, bias):
    """(images, weights[, bias]) -> outputs; raises Error if oneDNN has no kernel for it."""
    shapes = {SRC: geometry.images, WEIGHTS: _grouped_weights(geometry)}
    if bias:
        shapes[BIAS] = geometry.weights[:1]
    shapes[DST] = geometry.outputs
    return Convolution(Primitive(*_forward(geometry, bias)), shapes, geometry.outputs)


def data_gradient(geometry):
    """(outputs' gradient, weights) -> images' gradient; raises Error as `forward` does."""
    shapes = {
        DIFF_DST: geometry.outputs,
        WEIGHTS: _grouped_weights(geometry),
        DIFF_SRC: geometry.images,
    }
    kernel = Primitive(
        "convolution_backward_data_primitive_desc_create",
        library().engine,
        DIRECT,
        *_layouts(geometry, result="images"),
        *_numbers(geometry),
        Owned("primitive_desc", *_forward(geometry)),
        library().attributes,
    )
    return Convolution(kernel, shapes, geometry.images)


def weight_gradient(geometry):
    """(images, outputs' gradient) -> weights' gradient; raises Error as `forward` does."""
    shapes = {
        SRC: geometry.images,
        DIFF_DST: geometry.outputs,
        DIFF_WEIGHTS: _grouped_weights(geometry),
    }
    images, weights, outputs = _layouts(geometry, result="weights")
    kernel = Primitive(
        "convolution_backward_weights_primitive_desc_create",
        library().engine,
        DIRECT,
        images,
        weights,
        None,  # no gradient of the bias: Chainer sums that itself
        outputs,
        *_numbers(geometry),
        Owned("primitive_desc", *_forward(geometry)),
        library().attributes,
    )
    return Convolution(kernel, shapes, geometry.weights)


def _forward(geometry, bias=False):
    """What creates a forward kernel; the gradients' kernels want it as a hint."""
    images, weights, outputs = _layouts(geometry, result="outputs")
    return (
        "convolution_forward_primitive_desc_create",
        library().engine,
        FORWARD_TRAINING,
        DIRECT,
        images,
        weights,
        _layout(geometry.weights[:1], F32) if bias else None,
        outputs,
        *_numbers(geometry),
        library().attributes,
    )


def _layouts(geometry, result):
    """Images', weights' and outputs' layouts, left for oneDNN to choose; results are float32."""
    shapes = {
        "images": geometry.images,
        "weights": _grouped_weights(geometry),
        "outputs": geometry.outputs,
    }
    return [
        _layout(shape, F32 if name == result else DTYPES[geometry.dtype], TAG_ANY)
        for name, shape in shapes.items()
    ]
