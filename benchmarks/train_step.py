"""How long a training step of the multi-scale GAN takes, ours beside PyTorch's, on the CPU."""

import argparse
import functools
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks import rivals
from utils.workers import cores

HISTORY, HORIZON, CHANNELS, PATCH = 4, 1, 3, 32
SGEMM = 2048  # rows, columns of the product whose speed is the machine's peak
RATE_GEN, RATE_DIS, WEIGHT_ADV = 2e-4, 2e-5, 0.05


def clips(batch):
    """The batch to train on: uint8 (batch, T, C, H, W), noise."""
    import numpy as np

    shape = HISTORY + HORIZON, CHANNELS, PATCH, PATCH
    return np.random.default_rng(0).integers(0, 256, (batch, *shape), np.uint8)


def ours(width, batch, adversarial, dtype):
    """A function that makes one training step, as train.py would."""
    from utils.stack import onednn

    update = checked(updater_on_the_cpu(width, batch, adversarial))

    def step():
        with onednn.using_dtype(dtype):
            update()

    return step


def checked(updater):
    """updater.update, with the checks of losses and gradients that train.py's Trainer makes."""
    from utils.divergence import FiniteCheck
    from utils.stack import chainer

    FiniteCheck(updater)
    reporter, losses = chainer.Reporter(), {}
    for name, optimizer in updater.get_all_optimizers().items():
        reporter.add_observer(name, optimizer.target)

    def update():
        losses.clear()  # those of the step before are not for FiniteCheck to see
        with reporter.scope(losses):
            updater.update()

    return update


def updater_on_the_cpu(width, batch, adversarial, arch="multiscale"):
    """The updater of train.py, whose every batch is `clips`."""
    from utils.batches import to_past_and_future
    from utils.stack import chainer

    class OneBatch(chainer.dataset.Iterator):
        data = clips(batch)

        def next(self):
            return self.data

    device = chainer.get_device("@numpy")
    return updater(width, adversarial, OneBatch(), to_past_and_future(HISTORY), device, arch)


def updater(width, adversarial, batches, converter, device, arch="multiscale"):
    """The updater of train.py."""
    import models
    from models.discriminators import Discriminators
    from utils.losses import by_name
    from utils.stack import chainer
    from utils.updater import AdversarialUpdater, PredictionUpdater

    shape, size = (HISTORY, HORIZON, CHANNELS), (PATCH, PATCH)
    gen = models.create(arch, *shape, size, width=width)
    gen.to_device(device)
    terms, _ = by_name("l2=1,gdl=1", alpha=1)
    shared = terms, converter, device
    optimizers = {"gen": chainer.optimizers.Adam(RATE_GEN).setup(gen)}
    if not adversarial:
        return PredictionUpdater(batches, optimizers, *shared)
    dis = Discriminators.of(gen, size, width)
    dis.to_device(device)
    optimizers["dis"] = chainer.optimizers.Adam(RATE_DIS).setup(dis)
    return AdversarialUpdater(batches, optimizers, *shared, adversarial_weight=WEIGHT_ADV)


def theirs(width, batch, adversarial, dtype):
    """A function that makes the same step in PyTorch."""
    import torch

    from benchmarks import torch_multiscale

    shape = HISTORY, HORIZON, CHANNELS
    dtype = torch.bfloat16 if dtype == "bfloat16" else torch.float32  # it has no tf32 on a CPU
    gen = torch_multiscale.Generator(width, *shape)
    gen_optimizer = torch.optim.Adam(gen.parameters(), RATE_GEN, fused=True)
    data = torch.from_numpy(clips(batch))
    if not adversarial:
        return lambda: torch_multiscale.generator_step(gen, gen_optimizer, data, HISTORY, dtype)
    dis = torch_multiscale.discriminators(width, *shape, PATCH)
    dis_optimizer = torch.optim.Adam(dis.parameters(), RATE_DIS, fused=True)
    return lambda: torch_multiscale.adversarial_step(
        gen, dis, gen_optimizer, dis_optimizer, data, HISTORY, WEIGHT_ADV, dtype
    )


def theirs_in_float32(width, batch, adversarial, dtype):
    return theirs(width, batch, adversarial, "float32")


def sgemm(*_):
    """A function that multiplies two matrices by oneDNN."""
    import numpy as np

    from utils.stack import products

    a, b = np.random.default_rng(0).standard_normal((2, SGEMM, SGEMM), np.float32)
    return functools.partial(products.multiply, a, b, np.empty_like(a))


def operations(*arguments):
    """Additions, multiplications of a step's convolutions and matrix products, done directly."""
    from torch.utils.flop_counter import FlopCounterMode

    step = theirs(*arguments)
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--width", choices=("paper", "small"), default="paper")
    add("--batch", type=int, default=8)
    dtypes = "float32", "tf32", "bfloat16"
    add("--dtype", choices=dtypes, default="float32", help="of convolutions")
    add("--no-adversarial", action="store_true", help="train the generator alone")
    add("--repeats", type=int, default=10, help="steps of each side, in turns")
    add("--threads", type=int, default=cores(), help="of each side")
    options = parser.parse_args()

    arguments = options.width, options.batch, not options.no_adversarial, options.dtype
    sides = {"ours": ours, "pytorch": theirs, "sgemm": sgemm}
    if options.dtype == "bfloat16":
        sides["pytorch_float32"] = theirs_in_float32
    report = rivals.compete(sides, arguments, options.repeats, options.threads)
    report |= rivals.ratios(report)
    if options.dtype == "bfloat16":
        report["ratio_to_float32"] = rivals.ratio(report, "median_s", "pytorch_float32")
    report["gflop"] = round(operations(*arguments) / 1e9, 1)
    # By processor time, which other programs do not lengthen.
    peak = 2e-9 * SGEMM**3 / report["sgemm"]["cpu_s"]
    for side in ("ours", "pytorch"):  # above 1 if it takes fewer operations than were counted
        share = report["gflop"] / report[side]["cpu_s"] / peak
        report[side]["share_of_sgemm_peak"] = round(share, 3)
    report["sgemm"]["gflop_per_cpu_s"] = round(peak, 1)
    print(json.dumps(report | vars(options) | rivals.surroundings()))


if __name__ == "__main__":
    main()
