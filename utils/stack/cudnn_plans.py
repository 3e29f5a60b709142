"""Execution plans for convolutions on a GPU, made by cuDNN 9 through the C interface."""

import ctypes
import functools
import sys
import threading
from ctypes import (
    POINTER,
    byref,
    c_bool,
    c_char,
    c_char_p,
    c_float,
    c_int,
    c_int64,
    c_size_t,
    c_void_p,
)
from pathlib import Path

LIBRARY = "libcudnn.so.9"
WHEELS = "nvidia-cudnn-cu12 or nvidia-cudnn-cu13"

# Enumerators of the C header; their values hold for all of cuDNN 9.
# Kinds of descriptors:
POINTWISE, CONVOLUTION, ENGINE, CHOICE, HEURISTIC, PLAN = 0, 1, 2, 3, 4, 5
FORWARD, WEIGHT_GRADIENT, DATA_GRADIENT, ADDITION = 10, 11, 12, 13
GRAPH, PACK, TENSOR, PROPERTIES = 15, 16, 17, 38
# Types of attributes, each with C's:
HANDLE, DATA_TYPE, BOOLEAN, INTEGER = (0, c_void_p), (1, c_int), (2, c_bool), (3, c_int64)
FLOAT, POINTER_TYPE, MODE, SEARCH = (4, c_float), (6, c_void_p), (7, c_int), (8, c_int)
NOTE, OPERATOR, DESCRIPTOR, CHARACTER = (11, c_int), (14, c_int), (15, c_void_p), (24, c_char)
# Attributes, by the header's names without CUDNN_ATTR_:
POINTWISE_MODE, POINTWISE_MATH_PREC = 0, 1
CONVOLUTION_COMP_TYPE, CONVOLUTION_CONV_MODE, CONVOLUTION_DILATIONS = 100, 101, 102
CONVOLUTION_FILTER_STRIDES, CONVOLUTION_POST_PADDINGS = 103, 104
CONVOLUTION_PRE_PADDINGS, CONVOLUTION_SPATIAL_DIMS = 105, 106
ENGINEHEUR_MODE, ENGINEHEUR_OPERATION_GRAPH, ENGINEHEUR_RESULTS = 200, 201, 202
ENGINEHEUR_DEVICEPROP, ENGINECFG_ENGINE = 204, 300
EXECUTION_PLAN_HANDLE, EXECUTION_PLAN_ENGINE_CONFIG = 400, 401
EXECUTION_PLAN_WORKSPACE_SIZE, EXECUTION_PLAN_JSON_REPRESENTATION = 402, 405
EXECUTION_PLAN_DEVICEPROP = 407
OPERATION_CONVOLUTION_FORWARD_ALPHA, OPERATION_CONVOLUTION_BWD_DATA_ALPHA = 700, 706
OPERATION_CONVOLUTION_BWD_FILTER_ALPHA = 712
OPERATION_POINTWISE_PW_DESCRIPTOR, OPERATION_POINTWISE_XDESC = 750, 751
OPERATION_POINTWISE_BDESC, OPERATION_POINTWISE_YDESC = 752, 753
OPERATIONGRAPH_HANDLE, OPERATIONGRAPH_OPS = 800, 801
TENSOR_BYTE_ALIGNMENT, TENSOR_DATA_TYPE, TENSOR_DIMENSIONS, TENSOR_STRIDES = 900, 901, 902, 903
TENSOR_UNIQUE_ID, TENSOR_IS_VIRTUAL = 906, 907
VARIANT_PACK_UNIQUE_IDS, VARIANT_PACK_DATA_POINTERS, VARIANT_PACK_WORKSPACE = 1000, 1001, 1003
ENGINE_GLOBAL_INDEX, ENGINE_NUMERICAL_NOTE = 1301, 1303
DEVICEPROP_JSON_REPRESENTATION = 2702
# Values:
ADD, CROSS_CORRELATION = 0, 1
MODE_A, MODE_B, FALLBACK = 3, 1, 2  # of the heuristics
SINGLE = 0
DATA_TYPES = {"float32": SINGLE, "tf32": SINGLE, "float16": 2, "bfloat16": 9}
TENSOR_CORE, DOWN_CONVERT, REDUCED_SUMS, NONDETERMINISTIC = 0, 1, 2, 4  # an engine's notes

ALIGNMENT = 16  # bytes; the best engines want it
DESCRIPTION = 2**14  # bytes of a plan's JSON; some 2,000 are usual
IMAGES, WEIGHTS, OUTPUTS, BIAS, SUMS = 1, 2, 3, 4, 5  # our numbers for a graph's tensors
# {direction: (kind of its operation, the first of that one's attributes)}. They are, in order:
# alpha, beta, convolution, weights, images, outputs; result = alpha * convolved + beta * result.
DIRECTIONS = {
    "forward": (FORWARD, OPERATION_CONVOLUTION_FORWARD_ALPHA),
    "data_gradient": (DATA_GRADIENT, OPERATION_CONVOLUTION_BWD_DATA_ALPHA),
    "weight_gradient": (WEIGHT_GRADIENT, OPERATION_CONVOLUTION_BWD_FILTER_ALPHA),
}
# {(direction, number of axes, engine): versions of cuDNN in which the engine's results are wrong}.
# PyTorch leaves out the same ones (plan_errata_exception in its Conv_v8.cpp), and others on GPUs of
# compute capability 8.6 and 12.0.
WRONG = {
    ("forward", 3, 23): range(90800, 91501),
    ("data_gradient", 3, 23): range(8000, 10**6),
}
Object = c_void_p
FUNCTIONS = {  # all return a status
    "create_handle": ("cudnnCreate", [POINTER(c_void_p)]),
    "set_stream": ("cudnnSetStream", [Object, c_void_p]),
    "create": ("cudnnBackendCreateDescriptor", [c_int, POINTER(c_void_p)]),
    "set": ("cudnnBackendSetAttribute", [Object, c_int, c_int, c_int64, c_void_p]),
    "get": (
        "cudnnBackendGetAttribute",
        [Object, c_int, c_int, c_int64, POINTER(c_int64), c_void_p],
    ),
    "finalize": ("cudnnBackendFinalize", [Object]),
    "destroy": ("cudnnBackendDestroyDescriptor", [Object]),
    "execute": ("cudnnBackendExecute", [Object, Object, Object]),
}


class Error(RuntimeError):
    """A call of cuDNN failed."""


class Library:
    """The functions of a loaded cuDNN, each of which raises Error where it fails."""

    def __init__(self, lib):
        self._lib = lib
        lib.cudnnGetErrorString.restype = c_char_p
        lib.cudnnGetLastErrorString.argtypes = [c_char_p, c_size_t]
        lib.cudnnGetVersion.restype = c_size_t
        self.version = lib.cudnnGetVersion()  # such as 91900
        for name, (symbol, argtypes) in FUNCTIONS.items():
            function = getattr(lib, symbol)
            function.argtypes = argtypes
            function.errcheck = functools.partial(self._check, symbol)
            setattr(self, name, function)

    def _check(self, symbol, status, function, arguments):
        if status:
            words = ctypes.create_string_buffer(512)
            self._lib.cudnnGetLastErrorString(words, len(words))
            reason = self._lib.cudnnGetErrorString(status).decode()
            raise Error(f"{symbol}: {reason} {words.value.decode(errors='replace')}".rstrip())


def load():
    """The shared library that the loader finds, else that of a wheel on Python's path.

    Raises OSError, with the loader's message, if there is none.
    """
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError:
        for place in sys.path:
            path = Path(place) / "nvidia/cudnn/lib" / LIBRARY
            if path.exists():
                return ctypes.CDLL(str(path))
        raise


@functools.cache
def library():
    return Library(load())


class Descriptor:
    """A cuDNN backend descriptor, destroyed with the last reference to it."""

    def __init__(self, kind):
        self._as_parameter_, self._uses = c_void_p(), []
        self._destroy = library().destroy
        library().create(kind, byref(self._as_parameter_))

    def set(self, attribute, kind, *values):
        """Give an attribute its values -> the descriptor."""
        number, ctype = kind
        if kind in (DESCRIPTOR, HANDLE):
            self._uses += values
            values = [value._as_parameter_ for value in values]
        library().set(self, attribute, number, len(values), (ctype * len(values))(*values))
        return self

    def finalize(self):
        library().finalize(self)
        return self

    def get(self, attribute, kind, most=1):
        """Up to `most` values of an attribute."""
        (number, ctype), count = kind, c_int64()
        values = (ctype * most)()
        library().get(self, attribute, number, most, byref(count), values)
        return values[: min(count.value, most)]

    def get_descriptors(self, attribute, kind, most=None):
        """The descriptors of an attribute, up to `most`, None for all."""
        count = c_int64()
        if most is None:
            library().get(self, attribute, DESCRIPTOR[0], 0, byref(count), None)
            most = count.value
        found = [Descriptor(kind) for _ in range(most)]
        addresses = (c_void_p * most)(*(one._as_parameter_ for one in found))
        library().get(self, attribute, DESCRIPTOR[0], most, byref(count), addresses)
        return found[: count.value]

    def __del__(self):
        # When Python ends, cuDNN may have been unloaded before.
        if self._as_parameter_ and not sys.is_finalizing():
            self._destroy(self)


class Handle:
    """cuDNN's context for the device in use; each thread needs its own.

    It is never destroyed: that would wait for the device, or fail if CUDA has ended before.
    """

    attributes, type = {GRAPH: OPERATIONGRAPH_HANDLE, PLAN: EXECUTION_PLAN_HANDLE}, HANDLE

    def __init__(self):
        self._as_parameter_, self._stream = c_void_p(), None
        library().create_handle(byref(self._as_parameter_))

    def follow(self, stream):
        """Execute on the CUDA stream at this address from now on."""
        if stream != self._stream:  # setting even the same stream again takes microseconds
            library().set_stream(self, stream)
            self._stream = stream


class Properties:
    """A device known by its properties alone, cuDNN's JSON: plans for it can be made, not run."""

    attributes = {HEURISTIC: ENGINEHEUR_DEVICEPROP, PLAN: EXECUTION_PLAN_DEVICEPROP}
    type = DESCRIPTOR

    def __init__(self, json):
        text = [bytes([byte]) for byte in json.encode()]
        self._descriptor = Descriptor(PROPERTIES)
        self._descriptor.set(DEVICEPROP_JSON_REPRESENTATION, CHARACTER, *text, b"\0").finalize()
        self._as_parameter_ = self._descriptor._as_parameter_


def _on(device, kind):
    """A descriptor of this kind, bound to the device if its kind has to be."""
    descriptor = Descriptor(kind)
    if kind in device.attributes:
        descriptor.set(device.attributes[kind], device.type, device)
    return descriptor


class Plan:
    """One engine's way to convolve, compiled.

    workspace: bytes it needs beside its arrays. engine: cuDNN's number for it. notes: its
    numerical properties (TENSOR_CORE, ...). description: cuDNN's JSON; None where it has none.
    """

    def __init__(self, device, choice, engine, notes, tensors):
        self._descriptor = plan = _on(device, PLAN)
        plan.set(EXECUTION_PLAN_ENGINE_CONFIG, DESCRIPTOR, choice).finalize()
        (self.workspace,) = plan.get(EXECUTION_PLAN_WORKSPACE_SIZE, INTEGER)
        (self.engine,), self.notes = engine.get(ENGINE_GLOBAL_INDEX, INTEGER), notes
        try:
            self.description = plan.get(EXECUTION_PLAN_JSON_REPRESENTATION, CHARACTER, DESCRIPTION)
        except Error:  # the plan may work all the same
            self.description = None
        self._tensors = tensors

    def execute(self, handle, addresses, workspace):
        """Run on arrays at these addresses: images, weights, outputs, bias if there is one."""
        pack = Descriptor(PACK)
        pack.set(VARIANT_PACK_UNIQUE_IDS, INTEGER, *self._tensors)
        pack.set(VARIANT_PACK_DATA_POINTERS, POINTER_TYPE, *addresses)
        pack.set(VARIANT_PACK_WORKSPACE, POINTER_TYPE, workspace).finalize()
        library().execute(handle, self._descriptor, pack)


def plans(device, direction, geometry, bias=False, channels_last=False, without=(), workspace=0):
    """Yield Plans for one direction of a convolution, those expected to be fastest first.

    device: a Handle, or Properties. direction: one of DIRECTIONS. bias: whether `forward` adds
    one to each channel. channels_last: whether images, weights and outputs have channels last in
    memory. without: notes that an engine must not have. workspace: bytes that one may need.
    Raises Error for an impossible geometry.
    """
    graph = _graph(device, direction, geometry, bias, channels_last)
    tensors = (IMAGES, WEIGHTS, OUTPUTS, BIAS)[: 4 if bias else 3]
    seen = set()  # several heuristics yield the same plans
    for mode in (MODE_A, MODE_B, FALLBACK):
        for choice in _choices(device, graph, mode):
            (engine,) = choice.get_descriptors(ENGINECFG_ENGINE, ENGINE, 1)
            notes = frozenset(engine.get(ENGINE_NUMERICAL_NOTE, NOTE, 16))
            if notes.intersection(without):
                continue
            try:
                plan = Plan(device, choice, engine, notes, tensors)
            except Error:  # the engine turns out not to support this geometry or device
                continue
            wrong = WRONG.get((direction, len(geometry.stride), plan.engine), ())
            known = plan.description in seen or library().version in wrong
            seen |= {plan.description} - {None}
            if not known and plan.workspace <= workspace:
                yield plan


_searching = threading.Lock()  # as in cuDNN's own frontend


def _choices(device, graph, mode):
    """Engine configurations in the order of one of cuDNN's heuristics; may be empty."""
    search = _on(device, HEURISTIC)
    search.set(ENGINEHEUR_OPERATION_GRAPH, DESCRIPTOR, graph).set(ENGINEHEUR_MODE, SEARCH, mode)
    try:
        with _searching:
            return search.finalize().get_descriptors(ENGINEHEUR_RESULTS, CHOICE)
    except Error:
        return []


def _graph(device, direction, geometry, bias, channels_last):
    """The operation graph that a plan is for: a convolution, then with a bias an addition."""

    def tensor(number, shape, virtual=False):
        dtype = SINGLE if virtual else DATA_TYPES[geometry.dtype]
        described = Descriptor(TENSOR).set(TENSOR_UNIQUE_ID, INTEGER, number)
        described.set(TENSOR_DATA_TYPE, DATA_TYPE, dtype)
        described.set(TENSOR_BYTE_ALIGNMENT, INTEGER, ALIGNMENT)
        described.set(TENSOR_DIMENSIONS, INTEGER, *map(int, shape))
        described.set(TENSOR_STRIDES, INTEGER, *strides(shape, channels_last))
        return described.set(TENSOR_IS_VIRTUAL, BOOLEAN, virtual).finalize()

    images, weights = tensor(IMAGES, geometry.images), tensor(WEIGHTS, geometry.weights)
    outputs = tensor(SUMS if bias else OUTPUTS, geometry.outputs, virtual=bias)
    kind, first = DIRECTIONS[direction]
    convolution = Descriptor(kind).set(first, FLOAT, 1).set(first + 1, FLOAT, 0)
    for attribute, part in enumerate((_convolution(geometry), weights, images, outputs), first + 2):
        convolution.set(attribute, DESCRIPTOR, part)
    operations = [convolution.finalize()]
    if bias:
        channels, axes = geometry.weights[0], len(geometry.stride)
        add = Descriptor(POINTWISE).set(POINTWISE_MODE, OPERATOR, ADD)
        add.set(POINTWISE_MATH_PREC, DATA_TYPE, SINGLE).finalize()
        addition = Descriptor(ADDITION).set(OPERATION_POINTWISE_PW_DESCRIPTOR, DESCRIPTOR, add)
        addition.set(OPERATION_POINTWISE_XDESC, DESCRIPTOR, outputs)
        biases = tensor(BIAS, (1, channels, *axes * [1]))
        addition.set(OPERATION_POINTWISE_BDESC, DESCRIPTOR, biases)
        results = tensor(OUTPUTS, geometry.outputs)
        addition.set(OPERATION_POINTWISE_YDESC, DESCRIPTOR, results)
        operations.append(addition.finalize())
    return _on(device, GRAPH).set(OPERATIONGRAPH_OPS, DESCRIPTOR, *operations).finalize()


def _convolution(geometry):
    """The convolution descriptor; products are summed in float32, whatever type is multiplied."""
    described = Descriptor(CONVOLUTION).set(CONVOLUTION_COMP_TYPE, DATA_TYPE, SINGLE)
    described.set(CONVOLUTION_CONV_MODE, MODE, CROSS_CORRELATION)
    described.set(CONVOLUTION_SPATIAL_DIMS, INTEGER, len(geometry.stride))
    for attribute, per_axis in (
        (CONVOLUTION_DILATIONS, geometry.dilate),
        (CONVOLUTION_FILTER_STRIDES, geometry.stride),
        (CONVOLUTION_POST_PADDINGS, geometry.pad_after),
        (CONVOLUTION_PRE_PADDINGS, geometry.pad),
    ):
        described.set(attribute, INTEGER, *map(int, per_axis))
    return described.finalize()


def strides(shape, channels_last):
    """The strides of a contiguous array, in elements; with the channels, axis 1, last in memory if
    `channels_last`."""
    order = list(range(len(shape)))
    if channels_last:
        order.append(order.pop(1))
    steps, step = [0] * len(shape), 1
    for axis in reversed(order):
        steps[axis], step = step, step * int(shape[axis])
    return steps
