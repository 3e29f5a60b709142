"""How long the paper's generator spends in convolutions, ours beside PyTorch's, on the CPU."""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from models.multiscale import KERNELS, MAPS
from utils.stack import F, chainer, onednn
from utils.workers import cores

HISTORY, CHANNELS = 4, 3
DIRECTIONS = "forward", "data_gradient", "weight_gradient"


def layers(batch, patch):
    """(input, weights, bias, output's gradient) of every convolution, NumPy float32."""
    rng = np.random.default_rng(0)

    def array(*shape):
        return rng.standard_normal(shape, np.float32)

    for level, (maps, kernels) in enumerate(zip(MAPS, KERNELS, strict=True)):
        size = patch >> len(KERNELS) - 1 - level
        taken = (HISTORY + (level > 0)) * CHANNELS
        for made, kernel in zip((*maps, CHANNELS), kernels, strict=True):
            yield (
                array(batch, taken, size, size),
                array(made, taken, kernel, kernel),
                array(made),
                array(batch, made, size, size),
            )
            taken = made


def ours(x, w, b, gy):
    """One function for each direction, through Chainer."""
    pad = w.shape[-1] // 2
    x, w, b, gy = map(chainer.Variable, (x, w, b, gy))
    nodes = F.connection.convolution_2d
    node = nodes.Convolution2DFunction(pad=pad)
    return (
        lambda: F.convolution_2d(x, w, b, pad=pad).array,
        lambda: F.deconvolution_2d(gy, w, pad=pad, outsize=x.shape[2:]).array,
        lambda: nodes.Convolution2DGradW(node, w.shape, w.dtype, None).apply((x, gy))[0].array,
    )


def theirs(x, w, b, gy, dtype):
    """One function for each direction, through PyTorch; weights are float32, as in autocast."""
    pad = w.shape[-1] // 2
    x, w, b, gy = map(torch.from_numpy, (x, w, b, gy))
    x, gy = x.to(dtype), gy.to(dtype)
    how = None, [1, 1], [pad, pad], [1, 1], False, [0, 0], 1
    backward = torch.ops.aten.convolution_backward
    return (
        lambda: torch.nn.functional.conv2d(x, w.to(dtype), b.to(dtype), padding=pad),
        lambda: backward(gy, x, w.to(dtype), *how, [True, False, False])[0],
        lambda: backward(gy, x, w.to(dtype), *how, [False, True, False])[1].float(),
    )


def seconds(function):
    """How long a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--patch", type=int, default=32, help="height and width, pixels")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--repeats", type=int, default=10, help="the fastest one counts")
    args = parser.parse_args()

    threads = cores()
    torch.set_num_threads(threads)
    total = np.zeros((2, 3))  # seconds: ours, theirs; by direction
    dtype, near = getattr(torch, args.dtype), {"float32": 1e-4, "bfloat16": 1e-2}[args.dtype]
    with onednn.using_dtype(args.dtype):
        for layer in layers(args.batch, args.patch):
            for direction, pair in enumerate(zip(ours(*layer), theirs(*layer, dtype), strict=True)):
                a, b = pair[0](), pair[1]().float().numpy()
                assert np.abs(a - b).max() <= near * np.abs(b).max()
                # Both sides in turns, so that what else the machine does falls on both.
                times = [[seconds(function) for function in pair] for _ in range(args.repeats)]
                total[:, direction] += np.min(times, axis=0)
    report = {"threads": threads, **vars(args)}
    for direction, (a, b) in zip(DIRECTIONS, total.T, strict=True):
        report[direction] = {
            "ours_s": round(a, 4),
            "pytorch_s": round(b, 4),
            "ratio": round(a / b, 3),
        }
    report["ratio"] = round(total[0].sum() / total[1].sum(), 3)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
