"""How long a convolutional LSTM takes, forward and backward, ours beside PyTorch's, on the CPU."""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks import rivals
from utils.workers import cores

KERNEL = 3


def frames(batch, time, channels, size):
    """The input: (batch, time, channels, size, size) float32, noise."""
    import numpy as np

    shape = batch, time, channels, size, size
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def ours(batch, time, channels, size):
    """A function that works out the gradients of the mean of all outputs."""
    from models.convlstm import ConvLSTM
    from utils.stack import F, chainer

    cell, x = ConvLSTM(channels, channels, KERNEL), frames(batch, time, channels, size)

    def step():
        seen = chainer.Variable(x)
        made, _ = cell(seen)
        loss = F.mean(made)
        chainer.grad([loss], [seen, *cell.params()])
        return float(loss.array)

    return step


def theirs(batch, time, channels, size):
    """The same in PyTorch."""
    import torch

    x = torch.from_numpy(frames(batch, time, channels, size))
    conv = torch.nn.Conv2d(2 * channels, 4 * channels, KERNEL, padding="same")

    def step():
        seen = x.clone().requires_grad_()
        h = c = torch.zeros(batch, channels, size, size)
        made = []
        for frame in seen.unbind(1):
            i, f, o, g = conv(torch.cat([frame, h], 1)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            made.append(h)
        loss = torch.stack(made, 1).mean()
        torch.autograd.grad(loss, [seen, *conv.parameters()])
        return loss.item()

    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--batch", type=int, default=4)
    add("--time", type=int, default=4, help="frames of a clip")
    add("--channels", type=int, default=64, help="of the frames, of the memory")
    add("--size", type=int, default=64, help="height and width, pixels")
    add("--repeats", type=int, default=5, help="of each side, in turns")
    add("--threads", type=int, default=cores(), help="of each side")
    options = parser.parse_args()

    arguments = options.batch, options.time, options.channels, options.size
    sides = {"ours": ours, "pytorch": theirs}
    report = rivals.compete(sides, arguments, options.repeats, options.threads)
    report |= rivals.ratios(report)
    print(json.dumps(report | vars(options) | rivals.surroundings()))


if __name__ == "__main__":
    main()
