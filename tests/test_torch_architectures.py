"""The twins of the architectures in PyTorch: with our weights they predict and learn alike."""

import json
import subprocess
import sys
import time
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
import pytest

from benchmarks import architectures, rivals, train_step
from utils.stack import chainer

torch = pytest.importorskip("torch", reason="the benchmarks compare with PyTorch")
twins = pytest.importorskip("benchmarks.torch_architectures")
from tests.test_benchmarks import direct_convolutions as direct_convolutions  # noqa: E402

ROOT = Path(__file__).parents[1]
HISTORY, CHANNELS, BATCH = train_step.HISTORY, train_step.CHANNELS, 2
CUT = ("convlstm-forecaster", "convlstm-s", "e3d-lstm", "predrnn")  # into patches
PATCH = 4**2 * CHANNELS  # channels of a patch
EPSILON = 1e-8 / (1 - 0.999) ** 0.5  # theirs, see test_benchmarks.adam
LEAVES = {"W": "weight", "b": "bias", "gamma": "weight", "beta": "bias"}
PREFIXES = {  # where a twin has layers elsewhere: our names' beginnings, theirs
    "catz": {"full.0.": "1.0.", "half.0.": "3.0.", "last.": "5."},
    "conv2d": {"convolution.": "1."},
    "ensemble": {"ways.1.": "conv3d.", "ways.2.": "convlstm."},
    "hourglass": {"half.": "halved."},
    "voxel-flow": {"nets.0.": ""},
}


def pair(arch):
    """(Our updater, their network with the same weights, none of them at a special value)."""
    np.random.seed(0)
    updater = architectures.updater(arch, "small", BATCH)
    net = updater.get_optimizer("gen").target
    for param in net.params():
        param.array += np.random.normal(0, 0.02, param.shape)
    same = twins.TWINS[arch](HISTORY, CHANNELS, "small")
    if arch.startswith("multiscale"):  # theirs have numbers for the ReLUs, too
        arrays = [param.array for param in net.params()]
        names = [name for name, _ in same.named_parameters()]
        arrays = dict(zip(names, arrays, strict=True))
    else:
        arrays = {their_name(arch, name): array for name, array in weights(net)}
    if arch == "e3d-lstm":
        arrays = joined(arrays)
    gates = {
        f"{name}.{own}".lstrip(".")
        for name, cell in same.named_modules()
        if isinstance(cell, twins.ConvLSTM)
        for own, param in cell.named_parameters()
        if len(param) == 4 * cell.outputs
    }
    for name, param in same.named_parameters():
        array = arrays.pop(name).reshape(param.shape)
        if name in gates:  # ours are side by side in each map
            array = regrouped(array, 0, 4)
        if arch in CUT and PATCH in array.shape and "from_shared" not in name:
            # ours have a pixel's colours side by side
            array = regrouped(array, array.shape.index(PATCH), CHANNELS)
        param.data = torch.tensor(array)
    assert not arrays
    return updater, same


def weights(link, name=""):
    """(Name as PyTorch would have it, array) of each parameter."""
    for leaf, param in chainer.Link.namedparams(link):
        leaf = leaf.strip("/")
        yield name + LEAVES.get(leaf, leaf), param.array
    if isinstance(link, chainer.ChainList | chainer.Sequential):
        parts = enumerate(link)
    else:
        parts = ((child.name, child) for child in link.children())
    for part, child in parts:
        if isinstance(child, chainer.Link):
            yield from weights(child, f"{name}{part}.")


def joined(arrays):
    """The weights of e3d_lstm.OverTime's two convolutions as those of a 3D one."""
    made = {}
    for name, array in arrays.items():
        if name.endswith(".same.weight"):
            ahead = arrays[name.replace(".same.", ".ahead.")]
            made[name.replace(".same", "")] = np.stack([array, ahead], axis=2)
        elif ".ahead." not in name:
            made[name.replace(".same", "")] = array
    return made


def their_name(arch, name):
    for ours, theirs in PREFIXES.get(arch, {}).items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


def regrouped(array, axis, inner):
    """What is at a * inner + b along the axis goes to b * (length / inner) + a."""
    return array.take(np.arange(array.shape[axis]).reshape(-1, inner).T.ravel(), axis)


def our_loss(updater):
    """That of one more step."""
    reporter, told = chainer.Reporter(), {}
    reporter.add_observer("gen", updater.get_optimizer("gen").target)
    with reporter.scope(told):
        updater.update()
    return float(told["gen/l2"].array + told["gen/gdl"].array)


@pytest.mark.parametrize("arch", twins.TWINS)
def test_twin_predicts_and_learns_alike(arch):
    updater, same = pair(arch)
    net = updater.get_optimizer("gen").target
    assert net.count_params() == sum(param.numel() for param in same.parameters())

    shape = BATCH, HISTORY, CHANNELS, 32, 32
    past = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    ours, theirs = net.pyramid(past)[-1].array[:, 0], same(torch.from_numpy(past)).detach().numpy()
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * ours.std())

    clips = torch.from_numpy(train_step.clips(BATCH))
    optimizer = torch.optim.Adam(same.parameters(), train_step.RATE_GEN, eps=EPSILON)
    theirs = [twins.training_step(same, optimizer, clips, HISTORY).item() for _ in range(3)]
    ours = [our_loss(updater) for _ in range(3)]
    assert ours[0] == pytest.approx(theirs[0], rel=1e-6)
    np.testing.assert_allclose(np.diff(ours), np.diff(theirs), rtol=0.01)


@pytest.mark.parametrize("arch", twins.TWINS)
def test_twin_of_the_papers_width_has_as_many_weights(arch):
    ours = architectures.updater(arch, "paper", 1).get_optimizer("gen").target.count_params()
    same = twins.TWINS[arch](HISTORY, CHANNELS, "paper")
    assert ours == sum(param.numel() for param in same.parameters())


@pytest.mark.parametrize("arch", twins.TWINS)
def test_channels_last_computes_the_same(arch):
    losses = []
    for side in architectures.theirs, architectures.theirs_channels_last:
        torch.manual_seed(0)
        losses.append(side(arch, "small", BATCH)().item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_script_prints_one_line_of_json():
    names = ("conv3d-residual",)
    script = ROOT / "benchmarks" / "architectures.py"
    command = [sys.executable, script, "--width=small", "--repeats=1", "--threads=1", "--only"]
    done = subprocess.run([*command, *names], capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    report = json.loads(done.stdout)
    assert report["versions"].keys() >= {"chainer", "torch"}
    assert tuple(report["architectures"]) == names
    for found in report["architectures"].values():
        rival = found[found["rival"]]
        sides = [found[side] for side in ("pytorch", "pytorch_channels_last")]
        assert rival in sides and rival["median_s"] == min(side["median_s"] for side in sides)
        for ratio, quantity in (("ratio", "median_s"), ("cpu_ratio", "cpu_s")):
            expected = found["ours"][quantity] / rival[quantity]
            assert found[ratio] == pytest.approx(expected, abs=0.01)


def test_short_calls_are_repeated():
    ours, theirs = Pipe()
    for word in "again", "peak":
        ours.send(word)
    calls = []

    def prepare(seconds):
        return lambda: calls.append(time.sleep(seconds))

    rivals.serve(theirs, prepare, (0.01,), 0.05)
    assert ours.recv() == "ready"
    wall, cpu = ours.recv()
    assert 0.01 <= wall <= 0.05 and cpu < wall
    assert (len(calls) - 2) * wall >= 0.05  # the first two are not timed
