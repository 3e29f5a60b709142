"""CuPy acted by NumPy, for the tests of GPU code where no GPU is.

    python -m pytest -p tests.acted_cupy -m gpu

Honest where it matters: NumPy arrays mixed with device arrays raise, as do implicit conversions;
what the real CuPy lacks is missing here; kernels are compiled from their own source, by the
system's C++ compiler; a stream that captures executes nothing, leaves garbage in what it was asked
to compute, refuses all that a capture cannot hold.  What it cannot tell: speed, races between
streams, memory that two arrays share by mistake, what cuBLAS and the driver refuse.
"""

import contextlib
import ctypes
import functools
import heapq
import inspect
import math
import os
import sys
import types
import warnings

import cupy as real  # imports without a driver
import numpy as np
from cupy._core import _kernel

from tests.acted_kernels import CUDA, compiled, threads

os.environ["CHAINER_CUDNN"] = "0"  # which acts on memory of its own; see acted_cudnn.py
NAN, JUNK = float("nan"), 1  # what is in memory that nothing was written to
LARGEST = 2**40  # bytes of an array: more is out of memory
Scalar = (bool, int, float, complex, np.generic)
waits = []  # for what the host has had to wait


# Arrays


class ndarray:
    """An array on the device; `_a` is its memory."""

    __array_priority__ = 100
    __hash__ = None

    def __init__(self, a):
        self._a = a

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed; use .get()")

    def __array_ufunc__(self, ufunc, method, *args, out=None, **kwargs):
        if method != "__call__" or not hasattr(real, ufunc.__name__):
            return NotImplemented
        return module_function(ufunc.__name__)(*args, **({"out": out[0]} if out else {}), **kwargs)

    def __array_function__(self, function, types, args, kwargs):
        return module_function(function.__name__)(*args, **kwargs)

    shape = property(lambda self: self._a.shape)
    dtype = property(lambda self: self._a.dtype)
    ndim = property(lambda self: self._a.ndim)
    size = property(lambda self: self._a.size)
    nbytes = property(lambda self: self._a.nbytes)
    itemsize = property(lambda self: self._a.itemsize)
    strides = property(lambda self: self._a.strides)
    flags = property(lambda self: self._a.flags)
    device = property(lambda self: Device(0))
    data = property(lambda self: types.SimpleNamespace(ptr=self._a.ctypes.data))
    T = property(lambda self: wrap(self._a.T))

    def __len__(self):
        return len(self._a)

    def __iter__(self):
        return (self[k] for k in range(len(self)))

    def __getitem__(self, key):
        return launch(lambda a, k: a[k], self, key)

    def __setitem__(self, key, value):
        write(lambda a, k, v: a.__setitem__(k, v), self, key, value)

    def fill(self, value):
        write(lambda a, v: a.fill(v), self, value)

    def view(self, dtype=None):
        return wrap(self._a.view(dtype) if dtype else self._a.view())

    def reduced_view(self, dtype=None):
        return self.reshape(-1)

    def get(self, stream=None, order="C", out=None, blocking=True):
        synchronise(".get()")
        return self._a.copy()

    def set(self, arr, stream=None):
        synchronise(".set()")
        if not isinstance(arr, np.ndarray) or arr.dtype != self.dtype or arr.shape != self.shape:
            raise TypeError(f"{type(arr)} cannot be set")
        self._a[...] = arr

    def item(self, *args):
        synchronise(".item()")
        return self._a.item(*args)

    def __bool__(self):
        synchronise("bool()")
        return bool(self._a)

    def __int__(self):
        synchronise("int()")
        return int(self._a)

    def __float__(self):
        synchronise("float()")
        return float(self._a)


def method(name):
    def call(self, *args, out=None, **kwargs):
        if out is None:
            return launch(lambda a, *rest, **k: getattr(a, name)(*rest, **k), self, *args, **kwargs)
        fill = lambda o, a, *rest, **k: getattr(a, name)(*rest, out=o, **k)  # noqa: E731
        write(fill, out, self, *args, **kwargs)
        return out

    return call


def operator(ufunc, swapped=False, inplace=False):
    def call(self, other):
        if not isinstance(other, (ndarray, np.ndarray, *Scalar)):
            return NotImplemented  # a Variable of Chainer knows better
        operands = (other, self) if swapped else (self, other)
        return module_function(ufunc)(*operands, **({"out": self} if inplace else {}))

    return call


METHODS = (
    *("sum", "mean", "var", "std", "max", "min", "prod", "argmax", "argmin", "all", "any", "clip"),
    *("reshape", "ravel", "transpose", "swapaxes", "copy", "take", "repeat", "squeeze", "cumsum"),
    *("astype", "round", "flatten", "diagonal"),
)
OPERATORS = {
    **{"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide"},
    **{"floordiv": "floor_divide", "mod": "remainder", "pow": "power", "lt": "less"},
    **{"le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal"},
    **{"ne": "not_equal", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor"},
}
for name in METHODS:
    assert hasattr(real.ndarray, name), name
    setattr(ndarray, name, method(name))
for name, ufunc in OPERATORS.items():
    setattr(ndarray, f"__{name}__", operator(ufunc))
    setattr(ndarray, f"__r{name}__", operator(ufunc, swapped=True))
    setattr(ndarray, f"__i{name}__", operator(ufunc, inplace=True))
ndarray.__neg__ = lambda self: module_function("negative")(self)
ndarray.__abs__ = lambda self: module_function("absolute")(self)
ndarray.__invert__ = lambda self: module_function("invert")(self)
ndarray.__matmul__ = lambda self, other: module_function("matmul")(self, other)
ndarray.dot = lambda self, other, out=None: module_function("dot")(self, other, out=out)


def unwrap(x):
    """The memory of every device array in x; TypeError where there is a NumPy array."""
    if isinstance(x, ndarray):
        return x._a
    if isinstance(x, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if type(x) in (list, tuple):
        return type(x)(map(unwrap, x))
    if isinstance(x, dict):
        return {key: unwrap(value) for key, value in x.items()}
    if isinstance(x, slice):
        return slice(unwrap(x.start), unwrap(x.stop), unwrap(x.step))
    return x


def wrap(x):
    if isinstance(x, (np.ndarray, np.generic)):
        return ndarray(np.asarray(x))
    return type(x)(map(wrap, x)) if type(x) in (list, tuple) else x


def arrays_in(x):
    if isinstance(x, np.ndarray):
        yield x
    elif isinstance(x, (list, tuple)):
        for part in x:
            yield from arrays_in(part)


def launch(function, *args, **kwargs):
    """What function makes of its arguments: in new arrays or views of the old."""
    args, kwargs = unwrap(args), unwrap(kwargs)
    with np.errstate(all="ignore"):
        made = function(*args, **kwargs)
    made = wrap(made)
    stream = get_current_stream()
    sources = list(arrays_in(args))
    new = [
        a for a in arrays_in(unwrap(made)) if not any(np.may_share_memory(a, s) for s in sources)
    ]
    if stream.is_capturing() and new:
        if Allocator.current is None:
            raise RuntimeError("a captured array lies in the default memory pool")

        def again():
            with np.errstate(all="ignore"):
                found = function(*args, **kwargs)
            found = [np.asarray(f) for f in (found if type(found) in (list, tuple) else [found])]
            for to, of in zip(new, found, strict=True):
                to[...] = of

        stream.capture(again)
        for a in new:
            poison(a)
    return made


def write(function, *args, **kwargs):
    """Have function write to the arrays among its arguments."""
    args, kwargs = unwrap(args), unwrap(kwargs)

    def work():
        with np.errstate(all="ignore"):
            function(*args, **kwargs)

    stream = get_current_stream()
    if stream.is_capturing():
        stream.capture(work)
    else:
        work()


def poison(a):
    a[...] = NAN if a.dtype.kind in "fc" else JUNK if a.dtype.kind in "iu" else 1


def synchronise(what):
    """The host wants numbers of the device, or gives it some, as `waits` tells."""
    waits.append(what)
    if get_current_stream().is_capturing():
        raise RuntimeError(f"cudaErrorStreamCaptureUnsupported: {what} in a capture")


# The module


class Namespace(types.ModuleType):
    """What a module of CuPy has; a name the real one lacks is an AttributeError."""

    def __init__(self, name, truth, **own):
        super().__init__(name)
        assert all(hasattr(truth, given) for given in own), name
        self.__path__ = []
        self.__dict__.update(own, _truth=truth)

    def __getattr__(self, name):
        if name.startswith("__") or not hasattr(self._truth, name):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        value = getattr(self._truth, name)
        if self.__name__ != "cupy" or isinstance(value, type) or not callable(value):
            return value
        return module_function(name)


HOST = "array", "asarray", "ascontiguousarray"  # take NumPy arrays, which are copied
PRODUCTS = "dot", "matmul", "tensordot", "einsum"


@functools.cache
def module_function(name):
    """cupy.NAME."""
    truth, act = getattr(real, name), getattr(np, name)
    try:
        signature = None if isinstance(truth, real.ufunc) else inspect.signature(truth)
    except ValueError:
        signature = None

    def call(*args, **kwargs):
        if signature:
            signature.bind(*args, **kwargs)
        if name in ("empty", "zeros", "ones", "full") and args:
            shape = args[0] if isinstance(args[0], (tuple, list)) else (args[0],)
            if math.prod(shape) > LARGEST:
                raise real.cuda.memory.OutOfMemoryError(math.prod(shape), 0, 0)
        if name in HOST:
            if any(isinstance(a, (np.ndarray, list, tuple)) for a in args[:1]):
                synchronise(f"cupy.{name}() of the host's numbers")
                return ndarray(np.array(act(*args, **kwargs)))
            kwargs = {k: v for k, v in kwargs.items() if k in ("dtype", "copy", "order")}
        if name in ("concatenate", "stack") and len(args[0]) > 8:
            synchronise(f"cupy.{name}() with a table of {len(args[0])} addresses")
        if name == "split":  # its places may be the host's
            args = [a.tolist() if isinstance(a, np.ndarray) else a for a in args]
        out = kwargs.pop("out", None)
        if out is not None:
            write(
                lambda o, *a, **k: np.copyto(o, act(*a, **k), casting="same_kind"),
                out,
                *args,
                **kwargs,
            )
            return out
        if name == "copyto":
            return write(act, *args, **kwargs)
        if name.startswith("empty"):
            made = launch(act, *args, **kwargs)
            poison(made._a)
            return made
        return launch(act, *args, **kwargs)

    return call


def fill(function, out, *args, **kwargs):
    np.copyto(out, function(*args, **kwargs), casting="same_kind")


# Kernels, compiled for this machine's processor


def ctype(dtype):
    kinds = {"f2": "_Float16", "f4": "float", "f8": "double", "b1": "bool"}
    dtype = np.dtype(dtype)
    return kinds.get(dtype.str[1:]) or f"{'u' * (dtype.kind == 'u')}int{8 * dtype.itemsize}_t"


class ElementwiseKernel:
    def __init__(self, in_params, out_params, operation, name="kernel", **options):
        self.truth = real.ElementwiseKernel(in_params, out_params, operation, name, **options)
        self.operation, self.name, self.options = operation, name, options

    def __call__(self, *args, size=-1, stream=None, block_size=128):
        truth = self.truth
        if len(args) not in (truth.nin, truth.nargs):
            raise TypeError(f"Wrong number of arguments for {self.name}")
        for a in args:
            if not isinstance(a, (ndarray, *Scalar)):
                raise TypeError(f"Unsupported type {type(a)} in {self.name}")
        params = [*truth.in_params, *truth.out_params]
        inputs, outputs = args[: truth.nin], args[truth.nin :]
        kinds = [
            [a.dtype if isinstance(a, ndarray) else None for a in p] for p in (inputs, outputs)
        ]
        in_types, out_types, _ = truth._decide_params_type(*map(tuple, kinds))
        shapes = [
            a.shape
            for a, p in zip(args, params, strict=False)
            if isinstance(a, ndarray) and not p.raw
        ]
        if size == -1 and not shapes:
            raise ValueError(f"Loop size is undecided in {self.name}")
        shape = np.broadcast_shapes(*shapes) if size == -1 else (size,)
        if not outputs:
            outputs = [module_function("empty")(shape, dtype) for dtype in out_types]
        for out, param in zip(outputs, truth.out_params, strict=True):
            if not param.raw and out.shape != shape:
                raise ValueError(f"Out shape is mismatched in {self.name}")
        dtypes = [np.dtype(t) for t in (*in_types, *out_types)]
        run = self.loop(tuple(dtypes))

        def work(*arrays):
            arrays = [np.asarray(a, d) for a, d in zip(arrays, dtypes, strict=True)]
            laid = []
            for a, p, like in zip(arrays, params, (*inputs, *outputs), strict=True):
                fits = p.raw or not isinstance(like, ndarray)
                laid.append(np.ascontiguousarray(a if fits else np.broadcast_to(a, shape)))
            run(laid, math.prod(shape))
            for a, b in list(zip(arrays, laid, strict=True))[truth.nin :]:
                if a is not b:
                    a[...] = b.reshape(a.shape)

        write(work, *inputs, *outputs)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    @functools.cache  # noqa: B019
    def loop(self, dtypes):
        truth, names = self.truth, {}
        params = [*truth.in_params, *truth.out_params]
        lines = []
        for k, (param, dtype) in enumerate(zip(params, dtypes, strict=True)):
            kind = ctype(dtype)
            if param.dtype is None:
                names[param.ctype] = kind
            lines.append(element(k, param, kind, k < truth.nin))
        kinds = "".join(f"typedef {kind} {name};\n" for name, kind in names.items())
        source = (
            f"{CUDA}{kinds}{self.options.get('preamble', '')}\n"
            'extern "C" void run(void** p, ptrdiff_t* sizes, ptrdiff_t* steps, ptrdiff_t n) {\n'
            f"Indexer _ind{{n}};\n{self.options.get('loop_prep', '')};\n"
            f"for (int i = 0; i < n; ++i) {{\n{''.join(lines)}{self.operation};\n}}\n}}\n"
        )
        library = compiled(source)
        return functools.partial(run_loop, library.run)


def types_of(args):
    return tuple(a.dtype if isinstance(a, ndarray) else None for a in args)


def element(k, param, kind, is_input):
    """The declaration of a parameter inside the loop over elements."""
    constant = "const " * is_input
    if param.raw:
        return f"Raw<{constant}{kind}> {param.name}{{({constant}{kind}*)p[{k}], sizes[{k}]}};\n"
    return f"{constant}{kind}& {param.name} = (({kind}*)p[{k}])[i * steps[{k}]];\n"


def run_loop(run, laid, n):
    run(
        (ctypes.c_void_p * len(laid))(*(a.ctypes.data for a in laid)),
        (ctypes.c_ssize_t * len(laid))(*(a.size for a in laid)),
        (ctypes.c_ssize_t * len(laid))(*(int(a.size > 1) for a in laid)),
        ctypes.c_ssize_t(n),
    )


class ReductionKernel:
    def __init__(
        self, in_params, out_params, map_expr, reduce_expr, post_map_expr, identity, name, **options
    ):
        self.params = _kernel._get_param_info(in_params, True)
        self.outs = _kernel._get_param_info(out_params, False)
        self.mapped, self.reduced = map_expr, reduce_expr
        self.post, self.identity = post_map_expr, identity
        self.reduce_type = options.get("reduce_type")

    def __call__(self, *args, axis=None, keepdims=False, out=None, stream=None):
        types = types_of(args), ()
        in_types, out_types, _ = _kernel._decide_params_type(self.params, self.outs, *types)
        dtypes = [np.dtype(t) for t in (*in_types, *out_types)]
        shape = np.broadcast_shapes(*(a.shape for a in args if isinstance(a, ndarray)))
        axes = range(len(shape)) if axis is None else np.atleast_1d(axis) % len(shape)
        kept = [k for k in range(len(shape)) if k not in axes]

        def work(*arrays):
            laid = []
            for a, dtype in zip(arrays, dtypes, strict=False):
                full = np.broadcast_to(np.asarray(a, dtype), shape)
                laid.append(np.ascontiguousarray(full.transpose(*kept, *axes)))
            result = np.empty([shape[k] for k in kept], dtypes[-1])
            self.loop(tuple(dtypes))([*laid, result], result.size, max(1, math.prod(shape)))
            return np.expand_dims(result, tuple(axes)) if keepdims else result

        return launch(work, *args)

    @functools.cache  # noqa: B019
    def loop(self, dtypes):
        names = {p.ctype: ctype(d) for p, d in zip((*self.params, *self.outs), dtypes, strict=True)}
        kinds = "".join(f"typedef {kind} {n};\n" for n, kind in names.items() if len(n) == 1)
        lines = "".join(
            f"const {ctype(d)}& {p.name} = (({ctype(d)}*)p[{k}])[j];\n"
            for k, (p, d) in enumerate(zip(self.params, dtypes, strict=False))
        )
        (out,), kind = self.outs, ctype(dtypes[-1])
        total = self.reduce_type or kind
        source = (
            f'{CUDA}{kinds}extern "C" void run(void** p, ptrdiff_t outs, ptrdiff_t n) {{\n'
            f"for (ptrdiff_t o = 0; o < outs; ++o) {{\n{total} total = {self.identity};\n"
            f"for (ptrdiff_t j = o * n / outs; j < (o + 1) * n / outs; ++j) {{\n{lines}"
            f"{total} a = total, b = {self.mapped}; total = {self.reduced}; }}\n"
            f"{total} a = total; {kind}& {out.name} = (({kind}*)p[{len(self.params)}])[o];\n"
            f"{self.post}; }} }}"
        )
        library = compiled(source)

        def run(laid, outs, n):
            pointers = (ctypes.c_void_p * len(laid))(*(a.ctypes.data for a in laid))
            library.run(pointers, ctypes.c_ssize_t(outs), ctypes.c_ssize_t(n))

        return run


class RawKernel:
    """Every thread of every block, one after the other: for kernels whose threads do not meet."""

    def __init__(self, code, name, options=(), **kwargs):
        real.RawKernel(code, name, options, **kwargs)  # it checks them
        self.code, self.name = code, name

    def __call__(self, grid, block, args, *, shared_mem=0):
        run, values = threads(self.code, self.name), []
        for a in args:
            if isinstance(a, ndarray):
                values.append(np.asarray(a._a.ctypes.data, np.uintp))
            elif isinstance(a, np.ndarray):
                if a.size != 1:
                    raise TypeError("Only numpy.ndarrays of size one can be passed by value")
                values.append(a.copy())
            else:  # CuPy: a Python int is 64 bits, a float a double
                values.append(np.asarray(a))
        kept = [a for a in args if isinstance(a, ndarray)]  # a graph holds their memory

        def work(*_):
            run(grid[0], block[0], values)

        write(work, *kept)


# Streams, graphs, memory


class Device:
    compute_capability = "90"

    def __init__(self, device=None):
        self.id = 0 if device is None else int(device)

    def __int__(self):
        return self.id

    def __eq__(self, other):
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self):
        return self.id

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def use(self):
        pass

    def synchronize(self):
        synchronise("Device.synchronize()")


class Event:
    def __init__(self, block=False, disable_timing=False, interprocess=False):
        self.graph, self.after = None, set()

    def record(self, stream=None):
        stream = stream or get_current_stream()
        self.graph, self.after = stream.graph, stream.after

    def synchronize(self):
        synchronise("Event.synchronize()")


class Graph:
    """The work that streams were given while they captured: pieces, each after some others."""

    def __init__(self):
        self.work, self.after, self.streams = [], [], []

    def launch(self, stream=None):
        """Do all in the order that is least like the one in which it was captured."""
        if get_current_stream().is_capturing():
            raise RuntimeError("a graph in a capture")
        left = [set(after) for after in self.after]
        ready = [-k for k, after in enumerate(left) if not after]
        followers = [[] for _ in left]
        for k, after in enumerate(left):
            for piece in after:
                followers[piece].append(k)
        heapq.heapify(ready)
        while ready:
            done = -heapq.heappop(ready)
            self.work[done]()
            for k in followers[done]:
                left[k].remove(done)
                if not left[k]:
                    heapq.heappush(ready, -k)

    def upload(self, stream=None):
        pass


class Stream:
    stack = []

    def __init__(self, null=False, non_blocking=False, ptds=False, priority=None):
        self.null, self.graph, self.after = null, None, set()
        self.ptr = id(self)

    def __enter__(self):
        Stream.stack.append(self)
        return self

    def __exit__(self, *_):
        Stream.stack.pop()

    def begin_capture(self, mode=None):
        if self.null or self.graph:
            raise RuntimeError("cannot capture here")
        self.join(Graph())

    def join(self, graph):
        self.graph, self.after = graph, set()
        graph.streams.append(self)

    def capture(self, work):
        """Have the graph do some work, after all that this stream was given or waits for."""
        self.graph.work.append(work)
        self.graph.after.append(self.after)
        self.after = {len(self.graph.work) - 1}

    def end_capture(self):
        graph, loose = self.graph, set(range(len(self.graph.work)))
        for stream in graph.streams:
            stream.graph = None
        waiting = list(self.after)
        while waiting:
            k = waiting.pop()
            if k in loose:
                loose.remove(k)
                waiting += graph.after[k]
        if loose:
            raise RuntimeError("cudaErrorStreamCaptureUnjoined")
        return graph

    def is_capturing(self):
        return self.graph is not None

    def record(self, event=None):
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event):
        if event.graph and not self.graph:
            self.join(event.graph)
        if self.graph is not event.graph:
            raise RuntimeError("cudaErrorStreamCaptureIsolation: an event from outside")
        self.after = self.after | event.after

    def synchronize(self):
        synchronise("Stream.synchronize()")


Stream.null = Stream(null=True)


def get_current_stream(device_id=-1):
    return Stream.stack[-1] if Stream.stack else Stream.null


class Allocator:
    current = None


@contextlib.contextmanager
def using_allocator(allocator=None):
    before, Allocator.current = Allocator.current, allocator
    try:
        yield
    finally:
        Allocator.current = before
        if allocator:
            allocator.__self__._kept = 2**25


class MemoryPool:
    _kept = 0  # bytes of free blocks

    def __init__(self, allocator=None):
        pass

    def malloc(self, size):
        raise NotImplementedError

    def free_all_blocks(self, stream=None):
        self._kept = 0

    def free_bytes(self):
        return self._kept


def get_array_module(*args):
    return cupy if any(isinstance(a, ndarray) for a in args) else np


def memoize(for_each_device=False):
    return functools.cache


def fuse(*args, **kwargs):
    return (lambda function: function) if not args or not callable(args[0]) else args[0]


runtime = Namespace(
    "cupy.cuda.runtime",
    real.cuda.runtime,
    getDeviceCount=lambda: 1,
    memGetInfo=lambda: (int(os.environ.get("STANDIN_FREE", 2**34)), 2**35),
    deviceSynchronize=lambda: synchronise("deviceSynchronize()"),
)
cuda = Namespace(
    "cupy.cuda",
    real.cuda,
    runtime=runtime,
    Device=Device,
    Event=Event,
    Stream=Stream,
    Graph=Graph,
    MemoryPool=MemoryPool,
    get_current_stream=get_current_stream,
    using_allocator=using_allocator,
    get_elapsed_time=lambda start, end: 1.0,
)
cuda.cublas = types.ModuleType("cupy.cuda.cublas")  # the real one needs CUDA's libraries
cupy = Namespace(
    "cupy",
    real,
    __version__=real.__version__,
    cuda=cuda,
    ndarray=ndarray,
    ElementwiseKernel=ElementwiseKernel,
    ReductionKernel=ReductionKernel,
    RawKernel=RawKernel,
    get_array_module=get_array_module,
    memoize=memoize,
    fuse=fuse,
    asnumpy=lambda a: a.get(),
    get_default_memory_pool=MemoryPool,
    get_default_pinned_memory_pool=MemoryPool,
)
for acted in (ndarray, Device, Event, Graph, MemoryPool):
    genuine = getattr(real if acted is ndarray else real.cuda, acted.__name__)
    names = [name for name in vars(acted) if not name.startswith("_")]
    assert [name for name in names if not hasattr(genuine, name)] == [], acted
for name in ("begin_capture", "end_capture", "is_capturing", "record", "wait_event", "synchronize"):
    assert hasattr(real.cuda.Stream, name), name
cupyx = types.ModuleType("cupyx")


def add_at(a, slices, value):
    write(np.add.at, a, slices, value)


def scatter_add(*args):
    warnings.warn("`ndarray.scatter_add` is deprecated.", DeprecationWarning, stacklevel=2)
    add_at(*args)


cupy.add = module_function("add")
cupy.add.at = add_at
cupyx.scatter_add = ndarray.scatter_add = scatter_add
cupyx.rsqrt = lambda x, dtype=None: launch(lambda a: (1 / np.sqrt(a)).astype(dtype or a.dtype), x)
cupyx.empty_pinned = lambda shape, dtype: np.empty(shape, dtype)
cupyx.__path__ = []
for name in [n for n in sys.modules if n.split(".")[0] in ("cupy", "cupyx")]:
    if name.count(".") == 0 or name.startswith("cupyx") or name == "cupy.cuda":
        del sys.modules[name]
sys.modules |= {"cupy": cupy, "cupy.cuda": cuda, "cupy.cuda.cublas": cuda.cublas, "cupyx": cupyx}
for name in ("scipy", "scipy.linalg", "scipy.special"):
    sys.modules[f"cupyx.{name}"] = types.ModuleType(f"cupyx.{name}")
