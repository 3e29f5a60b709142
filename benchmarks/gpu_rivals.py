"""Rivals that do the same work on a GPU, each in a process that has it to itself."""

import json
import statistics
import subprocess
import sys
import time

from benchmarks import rivals
from utils.device import open_device

WARM_UPS = 10  # calls; compilers, cuDNN's choice, the capture of graphs are in them
LIMIT, BUDGET = 240, 560  # seconds for a side, its compiler included; for all
PEAK, COPIED = 8192, 2**30  # rows of the matrices, bytes of the copy whose speeds are the GPU's
PACKAGES = "cupy-cuda12x", "cupy-cuda13x", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13"


def each_alone(script, names, options):
    """Run `script --side NAME` with the options, for each -> {name: what it prints, as JSON}.

    A side that fails is {"error": its last line}, others need not be repeated for it; so is one
    for which no time is left.  Each is told on stderr when it is done.
    """
    found, end = {}, time.monotonic() + BUDGET
    for name in names:
        limit = max(0, min(LIMIT, end - time.monotonic()))
        command = [sys.executable, str(script), "--side", name, *map(str, options)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
        except subprocess.TimeoutExpired:
            found[name] = {"error": f"not done in {limit:.0f} s"}
        else:
            lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
            last = lines[-1] if lines else f"status {done.returncode}"
            found[name] = {"error": last} if done.returncode else json.loads(last)
        print(f"{name}: {json.dumps(found[name])}", file=sys.stderr)
    return found


def timed(step, wait, repeats, calls):
    """Milliseconds of a call, by the clock of the host: of `calls` in a row, then a wait for all.

    {"median_ms", "fastest_ms"} of so many repeats.
    """
    for _ in range(WARM_UPS):
        step()
    wait()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        for _ in range(calls):
            step()
        wait()
        times.append(1e3 * (time.perf_counter() - began) / calls)
    return {"median_ms": statistics.median(times), "fastest_ms": min(times)}


def captured(step):
    """The step of a PyTorch program as a CUDA graph, by hand; its inputs stay where they are."""
    import torch

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def peak(dtype):
    """How fast the GPU multiplies large matrices in PyTorch: {"tflop_per_s"}."""
    import torch

    torch.set_float32_matmul_precision("high")
    kind = torch.bfloat16 if dtype == "bf16" else torch.float32
    a, b = torch.randn(2, PEAK, PEAK, device="cuda").to(kind)
    ms = timed(lambda: a @ b, torch.cuda.synchronize, 5, 20)["fastest_ms"]
    return {"tflop_per_s": 2e-9 * PEAK**3 / ms}


def bandwidth():
    """How fast it copies from its memory to its memory: {"gb_per_s"}, read and written."""
    import torch

    a = torch.zeros(COPIED, dtype=torch.uint8, device="cuda")
    b = torch.empty_like(a)
    ms = timed(lambda: b.copy_(a), torch.cuda.synchronize, 5, 20)["fastest_ms"]
    return {"gb_per_s": 2e-6 * COPIED / ms}


def best(report, precision):
    """The name of PyTorch's fastest side at a precision; None where none has run."""
    sides = [n for n in report if n.startswith(f"pytorch-{precision}") and "error" not in report[n]]
    return min(sides, key=lambda name: report[name]["median_ms"], default=None)


def ratio(report, ours, precision):
    """Ours over the best of PyTorch's at that precision: below 1, ours needs less time."""
    rival = best(report, precision)
    if rival is None or "error" in report.get(ours, {"error": "not run"}):
        return None
    return round(report[ours]["median_ms"] / report[rival]["median_ms"], 3)


def surroundings():
    """The GPU, versions of what computes on it."""
    name = open_device(0).xp.cuda.runtime.getDeviceProperties(0)["name"].decode()
    return {"gpu": name, "versions": rivals.versions((*rivals.PACKAGES, *PACKAGES))}
