"""How fast cuDNN computes the networks' convolutions for Chainer on this GPU, and for PyTorch."""

import argparse
import contextlib
import functools
import importlib.util
import itertools
import json
import math
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks import rivals
from models.discriminators import LAYOUTS
from models.multiscale import KERNELS, MAPS
from utils.device import open_device
from utils.errors import UserError, reason, report_errors
from utils.stack import F, casts, chainer, cudnn, cudnn_engines, cudnn_plans
from utils.stack.geometry import Geometry, product
from utils.stack.precision import using_dtype

HISTORY, CHANNELS, SIZE = 4, 3, 32
DTYPES = "tf32", "bfloat16", "float16", "float32"
WARM_UPS, CALLS = 3, 500
CYCLES = 1_000_000  # half a millisecond of a GPU: more than Python needs for one of Chainer's calls
SECONDS = 400  # from the start, after which no more speeds are measured


def convolution(batch, taken, made, size, kernel, pad):
    after = size + 2 * pad - kernel + 1
    shapes = (batch, taken, size, size), (made, taken, kernel, kernel), (batch, made, after, after)
    return Geometry(*shapes, (1, 1), (pad, pad), (1, 1))


def layers(batch):
    """{name: Geometry}: convolutions, linear layers of the paper's generator, discriminators."""
    found = {}
    for level, (maps, kernels) in enumerate(zip(MAPS, KERNELS, strict=True)):
        taken = (HISTORY + (level > 0)) * CHANNELS
        for i, (made, kernel) in enumerate(zip((*maps, CHANNELS), kernels, strict=True)):
            size = SIZE // 8 << level
            found[f"G{level}.{i}"] = convolution(batch, taken, made, size, kernel, kernel // 2)
            taken = made
    for level, size in enumerate((4, 8, 16, 32)):
        layout, taken = LAYOUTS["paper"][size], (HISTORY + 1) * CHANNELS
        for i, (kernel, made, _) in enumerate(layout.convolutions):
            found[f"D{level}.{i}"] = convolution(batch, taken, made, size, kernel, 0)
            taken, size = made, size - kernel + 1
        taken *= size**2
        for i, made in enumerate((*layout.units, 1)):
            found[f"D{level}.linear{i}"] = product(batch, made, taken)
            taken = made
    return found


def operands(geometry):
    """Images, weights, outputs: float32 on the GPU, {name: array}."""
    random = chainer.backends.cuda.cupy.random.RandomState(0)
    shapes = zip(cudnn_engines.OPERANDS, geometry, strict=False)
    return {name: random.standard_normal(shape, np.float32) for name, shape in shapes}


def read(direction, arrays):
    """Those that a direction reads."""
    writes = {"forward": "outputs", "data_gradient": "images", "weight_gradient": "weights"}
    return {name: array for name, array in arrays.items() if name != writes[direction]}


def milliseconds(work, repeats, cycles=cudnn_engines.CYCLES):
    """Of the GPU, for one call that Python launches within so many cycles."""
    for _ in range(WARM_UPS):
        work()
    return cudnn_engines.milliseconds(work, repeats, cycles)


def layouts(geometry):
    """{prefix of the names of times: whether channels are last}."""
    return {"": True} if geometry.dtype in casts.DTYPES else {"": False, "channels_last_": True}


def speed(direction, geometry, repeats):
    """Milliseconds of cuDNN's first plan that runs, the fastest of 8, and Chainer's whole call."""
    arrays, device = operands(geometry), handle()
    device.follow(chainer.backends.cuda.cupy.cuda.get_current_stream().ptr)
    given = list(arrays.values())
    if geometry.dtype in casts.DTYPES:  # other bits would be other numbers, which take other power
        given = casts.packed(given, geometry.dtype)
    addresses = [array.data.ptr for array in given]
    found = {}
    for name, last in layouts(geometry).items():
        without, room = cudnn_engines.unwanted(geometry.dtype), cudnn_engines.WORKSPACE
        search = direction, geometry, False, last, without, room
        times = []
        for plan in itertools.islice(cudnn_plans.plans(device, *search), cudnn_engines.TRIED):
            work = functools.partial(cudnn_engines.execute, plan, device, addresses)
            with contextlib.suppress(Exception):  # an engine that does not run is not the best
                times.append(milliseconds(work, repeats))
        if times:
            found |= {f"{name}first_ms": times[0], f"{name}best_ms": min(times)}
    factors = read(direction, arrays)
    whole = functools.partial(cudnn.run, direction, geometry, **factors)
    found["chainer_ms"] = milliseconds(whole, repeats, CYCLES)
    if direction == "forward":
        bias = arrays["outputs"][0, :, 0, 0].copy()
        found["with_bias_ms"] = milliseconds(functools.partial(whole, bias), repeats, CYCLES)
    return found


@functools.cache
def handle():
    return cudnn_plans.Handle()


def theirs(direction, geometry, repeats):
    """PyTorch's milliseconds for the same, in the layouts that ours is timed in."""
    import torch

    cudnn_flags = torch.backends.cudnn
    cudnn_flags.benchmark, cudnn_flags.allow_tf32 = True, geometry.dtype != "float32"
    dtype = getattr(torch, "float32" if geometry.dtype == "tf32" else geometry.dtype)
    how = [1, 1], list(geometry.pad), [1, 1], False, [0, 0], 1
    masks = {"data_gradient": [True, False, False], "weight_gradient": [False, True, False]}
    backward = torch.ops.aten.convolution_backward
    found = {}
    for name, last in layouts(geometry).items():
        layout = torch.channels_last if last else torch.contiguous_format
        x, w, y = (
            torch.randn(shape, device="cuda", dtype=dtype).to(memory_format=layout)
            for shape in geometry[:3]
        )

        def work(x=x, w=w, y=y):
            if direction == "forward":
                torch.ops.aten.convolution(x, w, None, *how)
            else:
                backward(y, x, w, None, *how, masks[direction])

        for _ in range(WARM_UPS):
            work()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda._sleep(CYCLES * repeats)
        start.record()
        for _ in range(repeats):
            work()
        end.record()
        end.synchronize()
        found[f"{name}pytorch_ms"] = start.elapsed_time(end) / repeats
    return found


def all_speeds(geometries, repeats, with_torch, end):
    """(times of every layer, their sums with the speed in TFLOP/s), by dtype and direction.

    What fails, or would begin after `end` (time.monotonic()), has an "error". The sums are over
    the layers that cuDNN computes, of what was timed for all of them; they are printed on stderr.
    """
    each, total = {}, {}
    for dtype, direction in itertools.product(DTYPES, cudnn_plans.DIRECTIONS):
        found = {
            name: timings(direction, geometry._replace(dtype=dtype), repeats, with_torch)
            if time.monotonic() < end
            else {"error": f"not done in {SECONDS} s"}
            for name, geometry in geometries.items()
        }
        each.setdefault(dtype, {})[direction] = found
        done = {name: times for name, times in found.items() if "best_ms" in times}
        if done:
            names = [n for n in next(iter(done.values())) if all(n in t for t in done.values())]
            names = [n for n in names if n.endswith("_ms")]
            sums = {name: round(sum(times[name] for times in done.values()), 3) for name in names}
            work = sum(operations(geometries[name]) for name in done)
            sums |= {"layers": len(done), "best_tflops": round(work / sums["best_ms"] / 1e9, 1)}
            total.setdefault(dtype, {})[direction] = sums
            print(dtype, direction, json.dumps(sums), file=sys.stderr)
    return each, total


def timings(direction, geometry, repeats, with_torch):
    """{what was timed: milliseconds}, an "error" of ours, a "pytorch_error"."""
    found = attempt(speed, direction, geometry, repeats)
    if with_torch:
        others = attempt(theirs, direction, geometry, repeats)
        if "error" in others:
            others["pytorch_error"] = others.pop("error")
        found |= others
    return {n: round(ms, 4) if isinstance(ms, float) else ms for n, ms in found.items()}


def attempt(work, *args):
    """work(*args), or {"error": why it failed}, so that the others go on."""
    try:
        return work(*args)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {reason(error)}"}


def operations(geometry):
    return 2 * math.prod(geometry.outputs) * math.prod(geometry.weights[1:])


def host_microseconds(device):
    """What a call costs the host, which does not wait for the GPU: {name: microseconds}."""
    cupy = device.xp
    x = cupy.ones((1, 8, 4, 4), np.float32)
    w, b = cupy.ones((8, 8, 3, 3), np.float32), cupy.ones(8, np.float32)

    def convolve():
        F.convolution_2d(x, w, b, pad=1)

    works = {  # with the type that is multiplied, None for the usual one
        "F.convolution_2d": (None, convolve),
        "add": (None, lambda: x + x),
        "sum": (None, lambda: x.sum(axis=0)),
        "F.convolution_2d in bfloat16": ("bfloat16", convolve),
        "F.convolution_2d in float16": ("float16", convolve),
    }
    found = {}
    for name, (dtype, work) in works.items():
        with chainer.no_backprop_mode(), using_dtype(dtype, device):
            work()
            cupy.cuda.Device().synchronize()
            start = time.perf_counter()
            for _ in range(CALLS):
                work()
            found[name] = round((time.perf_counter() - start) / CALLS * 1e6, 1)
            cupy.cuda.Device().synchronize()
    return found


@report_errors
def main():
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("-g", "--gpu", type=int, default=0, metavar="ID")
    add("--batch", type=int, default=8)
    add("--repeats", type=int, default=20, help="calls that one time is the mean of")
    add("--only", nargs="+", metavar="LAYER", help="such as G3.2: time these, not all")
    add("--no-torch", action="store_true", help="without PyTorch beside it")
    options = parser.parse_args()

    end = time.monotonic() + SECONDS
    device = open_device(options.gpu)
    if obstacle := cudnn.missing():
        raise UserError(f"cuDNN is not usable: {obstacle[1]}")
    geometries = layers(options.batch)
    if unknown := set(options.only or ()) - geometries.keys():
        raise UserError(f"--only {' '.join(unknown)}: choose from {' '.join(geometries)}")
    chosen = {name: geometries[name] for name in options.only or geometries}
    beside = not options.no_torch and importlib.util.find_spec("torch") is not None
    host = attempt(host_microseconds, device)
    each, total = all_speeds(chosen, options.repeats, beside, end)
    properties = device.xp.cuda.runtime.getDeviceProperties(options.gpu)
    report = {
        "gpu": properties["name"].decode(),
        "cudnn": cudnn_plans.library().version,
        "host_us": host,
        "milliseconds": total,
        "layers": each,
    }
    print(json.dumps(vars(options) | report | {"versions": rivals.versions()}))


if __name__ == "__main__":
    main()
