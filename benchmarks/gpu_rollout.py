"""How long it takes to predict full frames recursively on a GPU, ours beside PyTorch's."""

import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks import gpu_rivals, rollout
from utils.device import open_device
from utils.errors import report_errors

OURS = "ours-tf32", "ours-bf16", "ours-im2col"
REAL_TIME = 60  # frames a second


def ours(width, size, frames, precision):
    """(A function that predicts frames as test.py does, one that waits for the GPU)."""
    if precision == "im2col":
        os.environ["CHAINER_CUDNN"] = "0"  # Chainer's own way since CuPy dropped cuDNN
    import models
    from utils.rollout import rollout as predict
    from utils.stack import chainer, cudnn

    device = open_device(0)
    shape = rollout.HISTORY, rollout.HORIZON, rollout.CHANNELS, (rollout.PATCH,) * 2
    gen = models.create("multiscale", *shape, width=width)
    gen.to_device(device)
    seen = device.send(rollout.past(size))

    def work():
        fastest, dtype = chainer.using_config("autotune", True), gpu_rivals.DTYPES[precision]
        with cudnn.using_dtype(dtype), fastest:
            return predict(gen, seen, frames)

    return work, device.xp.cuda.runtime.deviceSynchronize


def theirs(width, size, frames, precision, compiled, graph, device="cuda"):
    """(The same in PyTorch, a function that waits for the GPU)."""
    import torch

    from benchmarks import torch_multiscale

    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    shape = rollout.HISTORY, rollout.HORIZON, rollout.CHANNELS
    layout = torch.channels_last  # as ours
    gen = torch_multiscale.Generator(width, *shape).to(device, memory_format=layout)
    if compiled:
        gen.pyramid = torch.compile(gen.pyramid)
    seen = torch.from_numpy(rollout.past(size)).flatten(1, 2).to(device, memory_format=layout)

    def predict():
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            return torch_multiscale.rollout(gen, seen, frames, rollout.CHANNELS)

    wait = getattr(torch, device).synchronize
    return (gpu_rivals.captured(predict) if graph else predict), wait


def run(side, options):
    """Time a side, in this process -> {"median_ms", "fastest_ms", "frames_per_s"}."""
    owner, precision, *how = side.split("-")
    task = options.width, options.size, options.frames, precision
    work = ours(*task) if owner == "ours" else theirs(*task, "compiled" in how, "graph" in how)
    found = gpu_rivals.timed(*work, options.repeats, calls=1)
    return found | {"frames_per_s": 1e3 * options.frames / found["median_ms"]}


@report_errors
def main():
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--width", choices=("paper", "small"), default="paper")
    add("--size", type=int, nargs=2, default=(210, 160), metavar=("HEIGHT", "WIDTH"))
    add("--frames", type=int, default=64, help="to predict")
    add("--repeats", type=int, default=5, help="rollouts of each side")
    add("--sides", nargs="+", default=[*OURS, *gpu_rivals.PYTORCH], help="which to time")
    add("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(run(options.side, options)))
        return
    open_device(0)
    flags = [f"--{name}={getattr(options, name)}" for name in ("width", "frames", "repeats")]
    report = gpu_rivals.each_alone(__file__, options.sides, [*flags, "--size", *options.size])
    for precision in "tf32", "bf16":
        report[f"ratio_{precision}"] = gpu_rivals.ratio(report, f"ours-{precision}", precision)
    speeds = [report[side].get("frames_per_s", 0) for side in OURS if side in report]
    report["of_real_time"] = max(speeds, default=0) / REAL_TIME
    print(json.dumps(report | vars(options) | gpu_rivals.surroundings()))


if __name__ == "__main__":
    main()
