"""Rivals that do the same work on a GPU, each in a process that has the GPU to itself."""

import json
import statistics
import sys
import tempfile
import time

from benchmarks import apart, rivals
from utils.device import open_device

# Names of sides: whose, precision, how; "graph" is a CUDA graph captured by hand. The quick ones
# come first, in both precisions, in case time runs out: compilers take a minute.
WAYS = "-graph", "", "-compiled-graph", "-compiled"
PYTORCH = tuple(f"pytorch-{precision}{way}" for way in WAYS for precision in ("tf32", "bf16"))
DTYPES = {"im2col": "float32", "tf32": "tf32", "bf16": "bfloat16"}
WARM_UPS = 10  # untimed calls, in which code is compiled, engines are chosen, graphs are captured
LIMIT, BUDGET = 240, 420  # seconds for a side, its compiler included, and for all sides
WORDS = 5  # last lines of a side's stderr that are kept
PEAK, COPIED = 8192, 2**30  # rows of the matrices in `peak`, bytes copied in `bandwidth`


def each_alone(script, names, options):
    """Run `script --side NAME` with the options, for each name -> {name: what it prints, as JSON}.

    A side that fails, or that no time is left for, is {"error": reason}; the others go on. Each
    result is printed on stderr when it is there.
    """
    found, end = {}, time.monotonic() + BUDGET
    for name in names:
        limit = max(0, min(LIMIT, end - time.monotonic()))
        command = [sys.executable, str(script), "--side", name, *map(str, options)]
        found[name] = alone(command, limit)
        print(f"{name}: {json.dumps(found[name])}", file=sys.stderr)
    return found


def alone(command, limit):
    """The last line that a command prints, as JSON, or {"error"}; with the end of its "stderr"."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        status = apart.run(command, limit, stdout=out, stderr=err)
        said, words = map(lines, (out, err))
    stderr = {"stderr": words[-WORDS:]} if words else {}
    if status is None:
        return {"error": f"not done in {limit:.0f} s"} | stderr
    if status:
        return {"error": words[-1] if words else f"status {status}"} | stderr
    try:
        return json.loads(said[-1]) | stderr
    except (IndexError, TypeError, ValueError):
        return {"error": f"not JSON: {said[-1] if said else 'nothing said'}"} | stderr


def lines(file):
    file.seek(0)
    return file.read().decode(errors="replace").strip().splitlines()


def timed(step, wait, repeats, calls):
    """Milliseconds of a call of `step`, by the host's clock -> {"median_ms", "fastest_ms"}.

    Each of `repeats` measurements is of `calls` in a row, followed by wait() for the GPU.
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

    a = torch.randint(256, (COPIED,), dtype=torch.uint8, device="cuda")
    b = torch.empty_like(a)
    ms = timed(lambda: b.copy_(a), torch.cuda.synchronize, 5, 20)["fastest_ms"]
    return {"gb_per_s": 2e-6 * COPIED / ms}


def counts(report, side):
    """Whether a side has run without an error, and as a CUDA graph if it should be one."""
    result = report.get(side, {"error": "not run"})
    return "error" not in result and result.get("captured", True)


def best(report, precision):
    """The name of PyTorch's fastest side at a precision; None where none has run."""
    sides = [n for n in report if n.startswith(f"pytorch-{precision}") and counts(report, n)]
    return min(sides, key=lambda name: report[name]["median_ms"], default=None)


def ratio(report, ours, precision):
    """Ours over the best of PyTorch's at that precision: below 1, ours needs less time."""
    rival = best(report, precision)
    if rival is None or not counts(report, ours):
        return None
    return round(report[ours]["median_ms"] / report[rival]["median_ms"], 3)


def surroundings():
    """The GPU's name, and the versions of packages that decide the speed."""
    name = open_device(0).xp.cuda.runtime.getDeviceProperties(0)["name"].decode()
    return {"gpu": name, "versions": rivals.versions()}
