"""How long a training step of the multi-scale GAN takes on a GPU, ours beside PyTorch's."""

import argparse
import functools
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks import gpu_rivals, train_step
from utils.device import open_device
from utils.errors import reason, report_errors

OURS = "ours-tf32-graph", "ours-bf16-graph", "ours-tf32", "ours-im2col"
FLOORS = "peak-tf32", "peak-bf16", "bandwidth"
CLIPS = 4096  # kept on the GPU, from which batches are gathered
ADAM_BYTES = 28  # per parameter: reads it, its gradient, two moments; writes all but the gradient


class Noise:
    """A store of clips."""

    history, path = train_step.HISTORY, "noise"
    shape = (train_step.HISTORY + train_step.HORIZON, train_step.CHANNELS) + (train_step.PATCH,) * 2

    def __len__(self):
        return CLIPS

    def read(self, numbers):
        import numpy as np

        return np.random.default_rng(0).integers(0, 256, (len(numbers), *self.shape), np.uint8)


def ours(width, batch, precision, graph):
    """(a function that makes one training step as train.py does, one that waits for the GPU, one
    that returns the results at the end)."""
    if precision == "im2col":
        os.environ["CHAINER_CUDNN"] = "0"  # Chainer's own way since CuPy dropped cuDNN
    from utils.divergence import FiniteCheck
    from utils.stack import chainer, cudnn
    from utils.supply import supply

    device = open_device(0)
    batches, converter = supply(Noise(), batch, 0, device)
    updater = train_step.updater(width, True, batches, converter, device)
    if not graph:
        updater.step = updater.learn
    finite, reporter, losses = FiniteCheck(updater), chainer.Reporter(), {}
    for name, optimizer in updater.get_all_optimizers().items():
        reporter.add_observer(name, optimizer.target)

    def step():
        losses.clear()  # those of the step before are not for FiniteCheck to see
        fastest, dtype = chainer.using_config("autotune", True), gpu_rivals.DTYPES[precision]
        with cudnn.using_dtype(dtype), fastest, reporter.scope(losses):
            updater.update()

    def tell():
        """{"losses": the last ones, "captured": whether a graph was}; raises Diverged at NaN."""
        finite(None)
        result = {"losses": {name: float(loss.array) for name, loss in losses.items()}}
        return result | ({"captured": updater.step.graph is not None} if graph else {})

    return step, device.xp.cuda.runtime.deviceSynchronize, tell


def theirs(width, batch, precision, compiled, graph, device="cuda"):
    """(The same step in PyTorch, a function that waits for the GPU)."""
    import torch

    from benchmarks import torch_multiscale

    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    shape = train_step.HISTORY, train_step.HORIZON, train_step.CHANNELS
    nets = (
        torch_multiscale.Generator(width, *shape),
        torch_multiscale.discriminators(width, *shape, train_step.PATCH),
    )
    nets = [net.to(device, memory_format=torch.channels_last) for net in nets]  # as ours
    kind = {"fused": True, "capturable": graph}
    rates = train_step.RATE_GEN, train_step.RATE_DIS
    adams = [torch.optim.Adam(n.parameters(), r, **kind) for n, r in zip(nets, rates, strict=True)]
    gen, dis = nets
    if compiled:
        # Each network for its own shapes: it would take those of the next one for changing sizes of
        # one network, and make slower kernels for any size.
        compile_net = functools.partial(torch.compile, dynamic=False)
        gen.pyramid = compile_net(gen.pyramid)
        dis = torch.nn.ModuleList(map(compile_net, dis))
    store = torch.from_numpy(Noise().read(range(CLIPS))).to(device)
    clips = store[:batch].clone()
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    settings = train_step.HISTORY, train_step.WEIGHT_ADV, dtype
    train = functools.partial(torch_multiscale.adversarial_step, gen, dis, *adams, clips, *settings)
    if graph:
        train = gpu_rivals.captured(train)

    def step():
        torch.index_select(store, 0, torch.randint(CLIPS, (batch,), device=device), out=clips)
        train()

    return step, getattr(torch, device).synchronize


def run(side, options):
    """Time a side, in this process -> its results."""
    owner, *how = side.split("-")
    if owner == "peak":
        return gpu_rivals.peak(*how)
    if owner == "bandwidth":
        return gpu_rivals.bandwidth()
    precision, graph = how[0], "graph" in how
    task, times = (options.width, options.batch, precision), (options.repeats, options.steps)
    if owner == "ours":
        *work, tell = ours(*task, graph)
        return gpu_rivals.timed(*work, *times) | tell()
    return gpu_rivals.timed(*theirs(*task, "compiled" in how, graph), *times)


def floors(report, width, batch):
    """Lower bounds of a step's time, by its arithmetic and by Adam's memory traffic.

    Adds to each side of the report its share of the GPU's peak.
    """
    found = {"gflop": train_step.operations(width, 1, True, "float32") / 1e9 * batch}
    for precision in "tf32", "bf16":
        peak = report.get(f"peak-{precision}", {}).get("tflop_per_s")
        if not peak:
            continue
        floor = found[f"{precision}_ms"] = found["gflop"] / peak
        for side, result in report.items():
            if precision in side and "median_ms" in result:
                result["share_of_peak"] = floor / result["median_ms"]
    if speed := report.get("bandwidth", {}).get("gb_per_s"):
        found["adam_ms"] = 1e-6 * ADAM_BYTES * parameters(width) / speed
    return found


def parameters(width):
    """The number of parameters of both networks."""
    from benchmarks import torch_multiscale

    shape = train_step.HISTORY, train_step.HORIZON, train_step.CHANNELS
    gen = torch_multiscale.Generator(width, *shape)
    dis = torch_multiscale.discriminators(width, *shape, train_step.PATCH)
    return sum(param.numel() for net in (gen, dis) for param in net.parameters())


@report_errors
def main():
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--width", choices=("paper", "small"), default="paper")
    add("--batch", type=int, default=8)
    add("--repeats", type=int, default=5, help="of so many steps in a row")
    add("--steps", type=int, default=50)
    add("--sides", nargs="+", default=[*OURS, *FLOORS, *gpu_rivals.PYTORCH], help="which to time")
    add("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(run(options.side, options)))
        return
    open_device(0)
    names = "width", "batch", "repeats", "steps"
    flags = [f"--{name}={getattr(options, name)}" for name in names]
    report = gpu_rivals.each_alone(__file__, options.sides, flags)
    try:
        report["floors"] = floors(report, options.width, options.batch)
    except ImportError as error:  # PyTorch counts the operations
        report["floors"] = {"error": reason(error)}
    report["ratio_tf32"] = gpu_rivals.ratio(report, "ours-tf32-graph", "tf32")
    report["ratio_bf16"] = gpu_rivals.ratio(report, "ours-bf16-graph", "bf16")
    print(json.dumps(report | vars(options) | gpu_rivals.surroundings()))


if __name__ == "__main__":
    main()
