"""How long a training step of each architecture takes, ours beside PyTorch's, on the CPU.

The generator alone learns. PyTorch runs twice, with the channels of its maps first and last; the
faster way is the rival.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks import rivals, train_step
from utils.workers import cores

BATCH = 8
SHORTEST = 0.05  # seconds that a measurement takes; faster steps are repeated


def ours(arch, width, batch):
    """A function that makes one training step, as train.py would."""
    return train_step.checked(updater(arch, width, batch))


def updater(arch, width, batch):
    """The updater of train.py; `width` is for architectures that have several."""
    import models

    own = width if "width" in models.own_options(arch) else None
    return train_step.updater_on_the_cpu(own, batch, False, arch)


def theirs(arch, width, batch):
    """A function that makes the same step in PyTorch."""
    return their_step(arch, width, batch, {})


def theirs_channels_last(arch, width, batch):
    """The same with the weights of convolutions, hence their maps, channels last."""
    import torch

    return their_step(arch, width, batch, {4: torch.channels_last, 5: torch.channels_last_3d})


def their_step(arch, width, batch, formats):
    """A function that makes one step; formats: {dimensions of weights: torch.memory_format}."""
    import torch

    from benchmarks import torch_architectures

    history, channels = train_step.HISTORY, train_step.CHANNELS
    net = torch_architectures.TWINS[arch](history, channels, width)
    for param in net.parameters():
        if param.ndim in formats:
            param.data = param.data.contiguous(memory_format=formats[param.ndim])
    optimizer = torch.optim.Adam(net.parameters(), train_step.RATE_GEN, fused=True)
    clips = torch.from_numpy(train_step.clips(batch))
    return lambda: torch_architectures.training_step(net, optimizer, clips, history)


SIDES = {"ours": ours, "pytorch": theirs, "pytorch_channels_last": theirs_channels_last}


def compared(arguments, repeats, threads):
    """What rivals.compete found, the name of the rival, ratios to it."""
    report = rivals.compete(SIDES, arguments, repeats, threads, SHORTEST)
    rival = min(list(SIDES)[1:], key=lambda side: report[side]["median_s"])
    return report | {"rival": rival} | rivals.ratios(report, rival)


def main():
    from benchmarks.torch_architectures import TWINS

    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--only", nargs="+", choices=TWINS, default=list(TWINS), metavar="ARCH", help="not all")
    add("--width", choices=("paper", "small"), default="paper", help="where there are two")
    add("--batch", type=int, default=BATCH)
    add("--repeats", type=int, default=5, help="measurements of each side, in turns")
    add("--threads", type=int, default=cores(), help="of each side")
    options = parser.parse_args()

    found = {}
    for arch in options.only:
        arguments = arch, options.width, options.batch
        found[arch] = compared(arguments, options.repeats, options.threads)
        print(f"{arch}: {json.dumps(found[arch])}", file=sys.stderr)
    print(json.dumps({"architectures": found} | vars(options) | rivals.surroundings()))


if __name__ == "__main__":
    main()
