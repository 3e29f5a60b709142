"""cuDNN's library for tests that have no GPU: its C functions as NumPy, with float64 sums.

It is called as the real one is, by ctypes with the numbers of its C header. What it is told of
tensors (addresses, sizes, strides, types) is all it knows when it computes.
"""

import ctypes
import functools
import itertools
from ctypes import CFUNCTYPE, POINTER, c_int, c_int64, c_size_t, c_void_p
from typing import NamedTuple

import numpy as np

from tests.arrays import rounded

BAD_PARAM, NOT_SUPPORTED = 2000, 3000
CTYPES = {
    **{1: c_int, 2: ctypes.c_bool, 3: c_int64, 4: ctypes.c_float, 7: c_int, 8: c_int, 14: c_int},
    **{0: c_void_p, 6: c_void_p, 15: c_void_p},
}
OPERATIONS = {10: "forward", 11: "weight_gradient", 12: "data_gradient"}
FIRST = {10: 700, 11: 712, 12: 706}


class Engine(NamedTuple):
    """What the heuristics offer: a number, properties, bytes of workspace, whether there are plans
    with it, whether these run, whether they may add a bias."""

    number: int
    notes: tuple = ()
    workspace: int = 0
    works: bool = True
    runs: bool = True
    adds_bias: bool = True


class Object:
    """A descriptor, or a handle."""

    def __init__(self, kind):
        self.kind, self.attributes, self.final = kind, {}, False

    def __getitem__(self, attribute):
        return self.attributes[attribute]


class Library:
    """What ctypes.CDLL would return.

    engines: offered by the heuristics' mode A, B and FALLBACK, {3: [...], 1: [...], 2: [...]}.
    executed: the engines that computed, in turn. streams: those that handles were told to join.
    A subclass has `launch`, which has the device do some work.
    """

    def __init__(self):
        self.engines = {3: [Engine(1)], 1: [], 2: []}
        self.objects, self.executed, self.streams, self.numbers = {}, [], [], itertools.count(4096)
        status, ids = c_int, POINTER(c_void_p)
        for name, restype, argtypes in (
            ("cudnnGetVersion", c_size_t, []),
            ("cudnnGetErrorString", c_void_p, [c_int]),
            ("cudnnGetLastErrorString", None, [c_void_p, c_size_t]),
            ("cudnnCreate", status, [ids]),
            ("cudnnSetStream", status, [c_void_p, c_void_p]),
            ("cudnnBackendCreateDescriptor", status, [c_int, ids]),
            ("cudnnBackendSetAttribute", status, [c_void_p, c_int, c_int, c_int64, c_void_p]),
            (
                "cudnnBackendGetAttribute",
                status,
                [c_void_p, c_int, c_int, c_int64, POINTER(c_int64), c_void_p],
            ),
            ("cudnnBackendFinalize", status, [c_void_p]),
            ("cudnnBackendDestroyDescriptor", status, [c_void_p]),
            ("cudnnBackendExecute", status, [c_void_p] * 3),
        ):
            method = getattr(self, name.removeprefix("cudnn"))
            setattr(self, name, CFUNCTYPE(restype, *argtypes)(method))

    def GetVersion(self):
        return 91900

    def GetErrorString(self, status):
        self.words = ctypes.create_string_buffer(b"CUDNN_STATUS_%d" % status)
        return ctypes.addressof(self.words)

    def GetLastErrorString(self, words, size):
        return None

    def Create(self, out):
        return self.BackendCreateDescriptor("handle", out)

    def SetStream(self, handle, stream):
        self.streams.append(stream or 0)
        return 0

    def BackendCreateDescriptor(self, kind, out):
        number = out[0] = next(self.numbers)
        self.objects[number] = Object(kind)
        return 0

    def BackendDestroyDescriptor(self, number):
        del self.objects[number]
        return 0

    def BackendSetAttribute(self, number, attribute, kind, count, values):
        made = self.objects[number]
        if made.final:
            return BAD_PARAM
        found = list((CTYPES[kind] * count).from_address(values))
        if kind in (0, 15):
            found = [self.objects[value] for value in found]
        made.attributes[attribute] = found
        return 0

    def BackendFinalize(self, number):
        made = self.objects[number]
        try:
            complain = self.finalizers.get(made.kind, lambda self, made: None)(self, made)
        except (KeyError, AssertionError):  # an attribute is missing, or makes no sense
            return BAD_PARAM
        made.final = not complain
        return complain or 0

    def finalize_operation(self, made):
        first = FIRST[made.kind]
        assert made[first] == [1] and made[first + 1] == [0]
        (conv,), *tensors = (made[first + i] for i in range(2, 6))
        (weights, images, outputs) = (tensor for (tensor,) in tensors)
        assert all(one.final for one in (conv, weights, images, outputs))
        axes = conv[106][0]
        assert axes in (2, 3) and conv[100] == [0] and conv[101] == [1]
        for axis in range(axes):
            dilate, stride, after, before = (conv[n][axis] for n in (102, 103, 104, 105))
            reach = dilate * (weights[902][2 + axis] - 1) + 1
            size = images[902][2 + axis] + before + after
            assert min(before, after) >= 0 and size >= reach
            assert outputs[902][2 + axis] == (size - reach) // stride + 1
        assert images[902][0] == outputs[902][0]
        assert weights[902][0] == outputs[902][1]
        groups, rest = divmod(images[902][1], weights[902][1])
        assert not rest and outputs[902][1] % groups == 0

    def finalize_tensor(self, made):
        assert len(made[902]) == len(made[903]) in (4, 5) and made[900] == [16]
        assert min(made[902]) > 0

    def finalize_graph(self, made):
        assert made[800][0].kind == "handle"
        assert all(operation.final for operation in made[801])

    def finalize_heuristic(self, made):
        if not self.engines[made[200][0]]:
            return NOT_SUPPORTED

    def finalize_plan(self, made):
        assert made[400][0].kind == "handle"
        choice = made[401][0]
        fits = choice.engine.adds_bias or len(choice.graph[801]) == 1
        if not (choice.engine.works and fits):
            return NOT_SUPPORTED

    finalizers = {
        **dict.fromkeys(OPERATIONS, finalize_operation),
        **{17: finalize_tensor, 15: finalize_graph, 4: finalize_heuristic, 5: finalize_plan},
    }

    def BackendGetAttribute(self, number, attribute, kind, most, count, values):
        made = self.objects[number]
        if attribute == 202:  # choices, put into descriptors that are there
            engines = self.engines[made[200][0]]
            count[0] = len(engines) if most == 0 else min(most, len(engines))
            for i, engine in enumerate(engines[:most]):
                choice = self.objects[(c_void_p * most).from_address(values)[i]]
                choice.engine, choice.graph, choice.final = engine, made[201][0], True
            return 0
        if attribute == 300:
            self.objects[c_void_p.from_address(values).value].engine = made.engine
            count[0] = 1
            return 0
        if attribute == 405:
            text = repr(made[401][0].engine).encode()
            ctypes.memmove(values, text, len(text))
            count[0] = len(text)
            return 0
        if attribute == 402:
            found = [made[401][0].engine.workspace]
        else:
            found = {1301: [made.engine.number], 1303: made.engine.notes}[attribute]
        count[0] = len(found)
        out = ((c_int64 if kind == 3 else c_int) * most).from_address(values)
        out[: len(found)] = found
        return 0

    def BackendExecute(self, handle, plan, pack):
        plan, pack = self.objects[plan], self.objects[pack]
        assert plan.final and pack.final and self.objects[handle].kind == "handle"
        choice = plan[401][0]
        if not choice.engine.runs:
            return NOT_SUPPORTED
        self.executed.append(choice.engine.number)
        assert bool(choice.engine.workspace) == bool(pack[1003][0])
        places = dict(zip(pack[1000], pack[1001], strict=True))
        self.launch(functools.partial(compute, choice.graph, places))
        return 0


@np.errstate(all="ignore")  # as a GPU does
def compute(graph, places):
    """What a graph of one convolution, maybe with a bias, says; places: {uid: address}."""
    operation, *addition = graph[801]
    first = FIRST[operation.kind]
    conv, weights, images, outputs = (operation[first + i][0] for i in range(2, 6))
    direction = OPERATIONS[operation.kind]
    if addition:
        (addition,) = addition
        assert addition[750][0][0] == [0] and outputs[907] == [True]
        assert addition[751][0] is outputs and direction == "forward"
        written = addition[753][0]
        bias = Tensor(addition[752][0], places).read()
    else:
        written = {"forward": outputs, "data_gradient": images, "weight_gradient": weights}
        written, bias = written[direction], 0
    read = [
        None if part is written or part[907] == [True] else Tensor(part, places).read()
        for part in (images, weights, outputs)
    ]
    shapes = [tuple(part[902]) for part in (images, weights, outputs)]
    steps = [conv[number] for number in (103, 105, 104, 102)]
    Tensor(written, places).write(convolve(direction, *read, shapes, *steps) + bias)


def convolve(direction, images, weights, outputs, shapes, stride, before, after, dilate):
    """One direction of a convolution by its definition, float64; the array it makes is None."""
    (batch, channels, *size), (made, taken, *kernel), (_, _, *places) = shapes
    groups = channels // taken
    axes = range(len(kernel))
    room = [size[i] + max(before[i], 0) + max(after[i], 0) for i in axes]
    padded = np.zeros((batch, groups, taken, *room))
    inside = (..., *(slice(before[i], before[i] + size[i]) for i in axes))
    if direction != "data_gradient":
        padded[inside] = images.reshape(batch, groups, taken, *size)
    factors = np.zeros((groups, made // groups, taken, *kernel))
    if direction != "weight_gradient":
        factors[...] = weights.reshape(factors.shape)
    results = np.zeros((batch, groups, made // groups, *places))
    if direction != "forward":
        results[...] = outputs.reshape(results.shape)
    made_there = results.reshape(batch, groups, made // groups, -1)
    for offset in np.ndindex(*kernel):
        start = [offset[i] * dilate[i] for i in axes]
        stops = [start[i] + stride[i] * (places[i] - 1) + 1 for i in axes]
        patch = (..., *(slice(start[i], stops[i], stride[i]) for i in axes))
        one = (..., *offset)
        taken_there = padded[patch].reshape(batch, groups, taken, -1)
        if direction == "forward":
            made_there += factors[one] @ taken_there
        elif direction == "data_gradient":
            taken_there += factors[one].swapaxes(1, 2) @ made_there
            padded[patch] = taken_there.reshape(padded[patch].shape)
        else:
            factors[one] = (made_there @ taken_there.swapaxes(2, 3)).sum(0)
    written = {"forward": results, "data_gradient": padded[inside], "weight_gradient": factors}
    shape = dict(zip(("data_gradient", "weight_gradient", "forward"), shapes, strict=True))
    return written[direction].reshape(shape[direction])


class Tensor:
    """Memory as a tensor's descriptor has it."""

    def __init__(self, described, places):
        (uid,), (self.dtype,) = described[906], described[901]
        assert places[uid] % 16 == 0
        ctype = ctypes.c_float if self.dtype == 0 else ctypes.c_uint16
        shape, steps = described[902], described[903]
        size = sum((n - 1) * step for n, step in zip(shape, steps, strict=True)) + 1
        flat = np.ctypeslib.as_array((ctype * size).from_address(places[uid]))
        steps = [step * flat.itemsize for step in steps]
        self.array = np.lib.stride_tricks.as_strided(flat, shape, steps)

    def read(self):
        if self.dtype == 0:
            return self.array.astype("f8")
        if self.dtype == 2:
            return self.array.view("f2").astype("f8")
        return (self.array.astype("u4") << 16).view("f4").astype("f8")

    def write(self, values):
        if self.dtype == 0:
            self.array[...] = values
        elif self.dtype == 2:
            self.array[...] = values.astype("f2").view("u2")
        else:
            self.array[...] = rounded(values.astype("f4")).view("u4") >> 16
