"""How long a training step of the multi-scale GAN takes, ours beside PyTorch's, on the CPU."""

import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks import rivals

HISTORY, HORIZON, CHANNELS, PATCH = 4, 1, 3, 32
RATE_GEN, RATE_DIS, WEIGHT_ADV = 2e-4, 2e-5, 0.05


def clips(batch):
    """The batch to train on: uint8 (batch, T, C, H, W), noise."""
    import numpy as np

    shape = HISTORY + HORIZON, CHANNELS, PATCH, PATCH
    return np.random.default_rng(0).integers(0, 256, (batch, *shape), np.uint8)


def ours(width, batch, adversarial):
    """A function that makes one training step, as train.py would."""
    import models
    from models.discriminators import Discriminators
    from utils.batches import to_past_and_future
    from utils.losses import by_name
    from utils.stack import chainer
    from utils.updater import AdversarialUpdater, PredictionUpdater

    class OneBatch(chainer.dataset.Iterator):
        data = clips(batch)

        def next(self):
            return self.data

    shape, size = (HISTORY, HORIZON, CHANNELS), (PATCH, PATCH)
    gen = models.create("multiscale", *shape, size, width=width)
    terms, _ = by_name("l2=1,gdl=1", alpha=1)
    shared = terms, to_past_and_future(gen.history), chainer.get_device("@numpy")
    gen_optimizer = chainer.optimizers.Adam(RATE_GEN).setup(gen)
    if not adversarial:
        return PredictionUpdater(OneBatch(), gen_optimizer, *shared).update
    sizes = [[n // factor for n in size] for factor in gen.factors]
    dis = Discriminators(sizes, *shape, width)
    optimizers = gen_optimizer, chainer.optimizers.Adam(RATE_DIS).setup(dis)
    return AdversarialUpdater(OneBatch(), *optimizers, WEIGHT_ADV, *shared).update


def theirs(width, batch, adversarial):
    """A function that makes the same step in PyTorch."""
    import torch

    from benchmarks import torch_multiscale

    shape = HISTORY, HORIZON, CHANNELS
    gen = torch_multiscale.Generator(width, *shape)
    gen_optimizer = torch.optim.Adam(gen.parameters(), RATE_GEN, fused=True)
    data = torch.from_numpy(clips(batch))
    if not adversarial:
        return lambda: torch_multiscale.generator_step(gen, gen_optimizer, data, HISTORY)
    dis = torch_multiscale.discriminators(width, *shape, PATCH)
    dis_optimizer = torch.optim.Adam(dis.parameters(), RATE_DIS, fused=True)
    return lambda: torch_multiscale.adversarial_step(
        gen, dis, gen_optimizer, dis_optimizer, data, HISTORY, WEIGHT_ADV
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--width", choices=("paper", "small"), default="paper")
    add("--batch", type=int, default=8)
    add("--no-adversarial", action="store_true", help="train the generator alone")
    add("--repeats", type=int, default=10, help="steps of each side, in turns")
    add("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each side")
    options = parser.parse_args()

    arguments = options.width, options.batch, not options.no_adversarial
    sides = {"ours": ours, "pytorch": theirs}
    report = rivals.compete(sides, arguments, options.repeats, options.threads)
    report["ratio"] = rivals.ratio(report, "median_s")
    report["peak_rss_ratio"] = rivals.ratio(report, "peak_rss_mib")
    print(json.dumps(report | vars(options) | {"versions": rivals.versions()}))


if __name__ == "__main__":
    main()
