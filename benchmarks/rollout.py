"""How long it takes to predict full frames recursively, ours beside PyTorch's, on the CPU."""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks import rivals
from utils.workers import cores

HISTORY, HORIZON, CHANNELS, PATCH = 4, 1, 3, 32


def past(size):
    """The frames to go on from: (1, T, C, H, W) float32 in [-1, 1], noise."""
    import numpy as np

    shape = 1, HISTORY, CHANNELS, *size
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def ours(width, size, frames):
    """A function that predicts frames, as test.py does."""
    import models
    from utils.rollout import rollout

    shape = HISTORY, HORIZON, CHANNELS, (PATCH,) * 2
    gen, seen = models.create("multiscale", *shape, width=width), past(size)
    return lambda: rollout(gen, seen, frames)


def theirs(width, size, frames):
    """A function that predicts them in PyTorch."""
    import torch

    from benchmarks import torch_multiscale

    gen = torch_multiscale.Generator(width, HISTORY, HORIZON, CHANNELS)
    seen = torch.from_numpy(past(size)).flatten(1, 2)
    return lambda: torch_multiscale.rollout(gen, seen, frames, CHANNELS)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--width", choices=("paper", "small"), default="paper")
    add("--size", type=int, nargs=2, default=(210, 160), metavar=("HEIGHT", "WIDTH"))
    add("--frames", type=int, default=8, help="to predict")
    add("--repeats", type=int, default=3, help="rollouts of each side, in turns")
    add("--threads", type=int, default=cores(), help="of each side")
    options = parser.parse_args()

    arguments = options.width, options.size, options.frames
    sides = {"ours": ours, "pytorch": theirs}
    report = rivals.compete(sides, arguments, options.repeats, options.threads)
    report |= rivals.ratios(report)
    print(json.dumps(report | vars(options) | rivals.surroundings()))


if __name__ == "__main__":
    main()
