"""oneDNN 3 on the CPU, called through its C interface: what all of its kernels need."""

import collections
import ctypes
import functools
import math
import os
import signal
import threading
from ctypes import (
    POINTER,
    addressof,
    byref,
    c_char,
    c_char_p,
    c_float,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_void_p,
)

import numpy as np

WHEEL, LIBRARY = "onednn-cpu-gomp", "libdnnl.so.3"
CACHE_LINE = 64  # bytes; oneDNN's vector kernels want buffers that start on one

# Enumerators and macros of the C header; their values hold for all of oneDNN 3.
CPU = IN_ORDER = TAG_ANY = SCRATCHPAD_USER = DIRECT = 1
FORWARD_TRAINING = 64
BF16, F32 = 2, 3
AVX2, AVX512_BF16, AMX = 0x7, 0xE7, 0xFEF  # instruction sets, each with those before it, as bits
QUERY_IMPLEMENTATION, QUERY_ARGUMENT_LAYOUT = 8, 255
SRC, DST, WEIGHTS, BIAS, SCRATCHPAD = 1, 17, 33, 41, 80
DIFF_SRC, DIFF_DST, DIFF_WEIGHTS = 129, 145, 161
FROM, TO = SRC, DST
SIGNAL_SET_BYTES = 128  # sigset_t's, at most
TRIM_THRESHOLD, MMAP_MAX = -1, -4  # of glibc's mallopt


class Argument(ctypes.Structure):
    """What a primitive reads or writes in one of its roles (SRC, DST, ...)."""

    _fields_ = [("role", c_int), ("memory", c_void_p)]


New, Object, Dims = POINTER(c_void_p), c_void_p, c_int64 * 12
FUNCTIONS = {  # all return a status, which is checked
    "engine_create": [New, c_int, c_size_t],
    "stream_create": [New, Object, c_int],
    "stream_destroy": [Object],
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
    "primitive_destroy": [Object],
}
# Used in each call of a kernel: to save time their caller checks the status they return.
UNCHECKED = {
    "memory_set_data_handle": [Object, c_void_p],
    "primitive_execute": [Object, Object, c_int, POINTER(Argument)],
    "stream_wait": [Object],
}


class Error(RuntimeError):
    """A call of oneDNN failed."""


class Library:
    """oneDNN, loaded, with the engine and the attributes that all primitives share.

    Raises OSError, with the loader's message, if there is no oneDNN 3.
    """

    def __init__(self):
        if "OMP_WAIT_POLICY" not in os.environ:
            # OpenMP's idle threads spin, by default for so long that NumPy's BLAS and other
            # programs lack the cores; beside one a training step took twice as long as it need.
            # Without any spinning, each of a step's many short loops would have to wake them.
            os.environ.setdefault("GOMP_SPINCOUNT", "3000")
        _keep_memory()
        self._lib = lib = ctypes.CDLL(_path())
        lib.dnnl_status2str.restype = c_char_p
        lib.dnnl_memory_desc_get_size.restype = c_size_t
        lib.dnnl_memory_desc_get_size.argtypes = [Object]
        lib.dnnl_memory_desc_equal.argtypes = [Object, Object]
        self.size, self.equal = lib.dnnl_memory_desc_get_size, lib.dnnl_memory_desc_equal
        for name, argtypes in (FUNCTIONS | UNCHECKED).items():
            function = getattr(lib, f"dnnl_{name}")
            function.argtypes = argtypes
            if name in FUNCTIONS:
                function.errcheck = self._check
            setattr(self, name, function)

        self.engine, self.attributes = c_void_p(), c_void_p()
        self.engine_create(byref(self.engine), CPU, 0)
        # By default a primitive has its own scratchpad, so that threads could not share it.
        self.primitive_attr_create(byref(self.attributes))
        self.primitive_attr_set_scratchpad_mode(self.attributes, SCRATCHPAD_USER)

    def has(self, instructions):
        """Whether the processor has AVX2 (vectors of float32), AVX512_BF16 (vectors of bfloat16,
        summed in float32) or AMX (matrices of bfloat16)."""
        return self._lib.dnnl_get_effective_cpu_isa() & instructions == instructions

    def _check(self, status, function, _):
        self.check(status, function.__name__)

    def check(self, status, name):
        """Raise Error, which names the function, unless its status is that of success."""
        if status:
            raise Error(f"{name}: {self._lib.dnnl_status2str(status).decode()}")


def _keep_memory():
    """Make malloc keep the memory of freed large arrays for the next ones.

    Otherwise the system clears every page of new memory, which took a tenth of a rollout's time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # only glibc has it
    if mallopt:
        mallopt(MMAP_MAX, 0)
        mallopt(TRIM_THRESHOLD, 2**31 - 1)


def _path():
    """The library in the wheel if that is installed, else its name for the loader to look up."""
    from importlib import metadata

    try:
        files = metadata.files(WHEEL) or []
    except metadata.PackageNotFoundError:
        files = []
    return next((str(file.locate()) for file in files if file.name == LIBRARY), LIBRARY)


library = functools.cache(Library)


class Owned:
    """An object that oneDNN created, destroyed with the last reference to it."""

    def __init__(self, kind, create, *args):
        self._as_parameter_ = c_void_p()
        self._destroy = getattr(library(), f"{kind}_destroy")
        getattr(library(), create)(byref(self._as_parameter_), *args)

    def __del__(self):
        if self._as_parameter_:
            self._destroy(self)


def descriptor(shape, dtype, tag=None):
    """A memory descriptor: C-contiguous as in NumPy, or with TAG_ANY as oneDNN prefers it."""
    plain = len(shape) + 1  # the tags a, ab, abc, abcd, abcde, abcdef are 2 to 7
    create, dims = "memory_desc_create_with_tag", Dims(*map(int, shape))
    return Owned("memory_desc", create, len(shape), dims, dtype, tag or plain)


def _aligned(size):
    """An uninitialised byte array of `size` that starts on a cache line."""
    raw = np.empty(size + CACHE_LINE, np.uint8)
    start = -addressof(c_char.from_buffer(raw)) % CACHE_LINE  # a third of the time of raw.ctypes
    return raw[start : start + size]


def empty(shape):
    """An uninitialised float32 array that starts on a cache line."""
    return _aligned(4 * math.prod(shape)).view(np.float32).reshape(shape)


class Buffer:
    """Memory for temporaries that grows as needed; its contents are valid until its next use."""

    def __init__(self):
        self._grow(0)

    def _grow(self, size):
        self._size, self._buffer = size, _aligned(size)
        self._address = self._buffer.ctypes.data

    def address(self, size):
        """Where `size` bytes start."""
        if self._size < size:
            self._grow(size)
        return self._address

    def array(self, *shape):
        """An uninitialised float32 array."""
        size = 4 * math.prod(shape)
        self.address(size)
        return self._buffer[:size].view(np.float32).reshape(shape)


class Thread(threading.local):
    """What each thread has for itself: a stream, and named buffers for temporaries."""

    def __init__(self):
        self.buffers = collections.defaultdict(Buffer)

    @functools.cached_property
    def stream(self):
        """Where this thread's primitives are run."""
        return Owned("stream", "stream_create", library().engine, IN_ORDER)


thread = Thread()


class NoSignals(threading.local):
    """In this context, which may be nested, signals are blocked in this thread and those it starts.

    Some of oneDNN's kernels for large products set the stack pointer to their scratchpad. The
    system puts the frame of a signal handler right below it, over whatever lies there: a Ctrl-C
    could corrupt arrays, which would be saved later, or crash the process.
    """

    def __init__(self):
        libc = ctypes.CDLL(None)
        self.mask, self.all = libc.pthread_sigmask, (c_char * SIGNAL_SET_BYTES)()
        self.before = (c_char * SIGNAL_SET_BYTES)()
        libc.sigfillset(self.all)
        self.depth = 0

    def __enter__(self):
        if not self.depth:
            self.mask(signal.SIG_BLOCK, self.all, self.before)
        self.depth += 1

    def __exit__(self, *error):
        self.depth -= 1
        if not self.depth:
            self.mask(signal.SIG_SETMASK, self.before, None)


no_signals = NoSignals()


class Operands(threading.local):
    """A primitive's operands in one thread: created once, given new addresses for each call."""

    def __init__(self, descriptors):
        create = functools.partial(Owned, "memory", "memory_create")
        nowhere = library().engine, None
        self.memories = [create(descriptor, *nowhere) for descriptor in descriptors.values()]
        self.count, self.addresses = len(self.memories), [None] * len(self.memories)
        arguments = zip(descriptors, (m._as_parameter_ for m in self.memories), strict=True)
        self.arguments = (Argument * self.count)(*arguments)

    def set_addresses(self, addresses):
        """Set the addresses of operands, as far as they differ from those of the last call."""
        for k, (memory, address) in enumerate(zip(self.memories, addresses, strict=True)):
            if self.addresses[k] != address:
                status = library().memory_set_data_handle(memory, address)
                library().check(status, "memory_set_data_handle")
                self.addresses[k] = address


class Primitive:
    """A compiled kernel whose operands have these roles; threads may share it."""

    def __init__(self, roles, create, *args):
        self._descriptor = Owned("primitive_desc", create, *args)
        self._kernel = Owned("primitive", "primitive_create", self._descriptor)
        self._scratch = library().size(self.descriptor(SCRATCHPAD))
        self._operands = Operands({role: self.descriptor(role) for role in (*roles, SCRATCHPAD)})

    def descriptor(self, role):
        """The memory descriptor that the kernel wants for a role (SRC, DST, ...)."""
        descriptor = c_void_p()
        query = library().primitive_desc_query
        query(self._descriptor, QUERY_ARGUMENT_LAYOUT, role, byref(descriptor))
        return descriptor

    @property
    def implementation(self):
        """oneDNN's name for the kernel."""
        name = c_char_p()
        library().primitive_desc_query(self._descriptor, QUERY_IMPLEMENTATION, 0, byref(name))
        return name.value.decode()

    def __call__(self, *addresses):
        """Run on the operands at these addresses, in the order of their roles."""
        operands, stream, lib = self._operands, thread.stream, library()
        operands.set_addresses((*addresses, thread.buffers["scratch"].address(self._scratch)))
        with no_signals:
            status = lib.primitive_execute(
                self._kernel, stream, operands.count, operands.arguments
            ) or lib.stream_wait(stream)
        lib.check(status, "primitive_execute")


def reorder(source, target, attributes):
    """A primitive that copies from one memory descriptor to another."""
    ends = source, library().engine, target, library().engine
    return Primitive((FROM, TO), "reorder_primitive_desc_create", *ends, attributes)
