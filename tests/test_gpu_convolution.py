"""benchmarks/gpu_convolution.py: what it times, what it says where something fails."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

import models
from benchmarks import gpu_convolution
from benchmarks.gpu_convolution import layers
from models.discriminators import Discriminators
from tests.acted_cudnn import Engine
from utils.stack import chainer

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu_convolution.py"


def test_says_in_one_line_that_there_is_no_gpu():
    if chainer.backends.cuda.available:
        pytest.skip("there may be a GPU here")
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: -g 0: ") and done.stderr.count("\n") == 1


def test_layers_are_those_of_the_networks():
    gen = models.create("multiscale", 4, 1, 3, (32, 32))
    dis = Discriminators([(size, size) for size in (4, 8, 16, 32)], 4, 1, 3)
    weights = [g.weights for g in layers(8).values()]
    assert len(weights) == 43
    parameters = sum(math.prod(weight) + weight[0] for weight in weights)
    assert parameters == gen.count_params() + dis.count_params()


def test_a_layer_that_fails_leaves_the_sums_of_the_others(monkeypatch):
    def speed(direction, geometry, repeats):
        if geometry.weights[0] == 3:
            raise RuntimeError("no engine\nfor this")
        return {"first_ms": 2.0, "best_ms": 1.0}

    monkeypatch.setattr(gpu_convolution, "speed", speed)
    geometries = {name: layers(8)[name] for name in ("G3.0", "G3.5", "D3.1")}
    each, total = gpu_convolution.all_speeds(geometries, 1, False, math.inf)
    assert each["tf32"]["forward"]["G3.5"] == {"error": "RuntimeError: no engine for this"}
    assert total["float32"]["data_gradient"]["first_ms"] == 4.0
    assert total["float32"]["data_gradient"]["layers"] == 2
    assert gpu_convolution.all_speeds(geometries, 1, False, -math.inf)[1] == {}


def test_what_pytorch_cannot_leaves_our_times(monkeypatch, capsys):
    def theirs(direction, geometry, repeats):
        if geometry.weights[0] == 3:
            raise RuntimeError("out of memory")
        return {"pytorch_ms": 3.0}

    monkeypatch.setattr(gpu_convolution, "speed", lambda *told: {"best_ms": 1.0})
    monkeypatch.setattr(gpu_convolution, "theirs", theirs)
    geometries = {name: layers(8)[name] for name in ("G3.0", "G3.5")}
    each, total = gpu_convolution.all_speeds(geometries, 1, True, math.inf)
    assert each["tf32"]["forward"]["G3.0"] == {"best_ms": 1.0, "pytorch_ms": 3.0}
    assert each["tf32"]["forward"]["G3.5"] == {
        "best_ms": 1.0,
        "pytorch_error": "RuntimeError: out of memory",
    }
    sums = total["tf32"]["forward"]
    assert sums["best_ms"] == 2.0 and sums["layers"] == 2 and "pytorch_ms" not in sums
    assert f"tf32 forward {json.dumps(sums)}" in capsys.readouterr().err


@pytest.mark.gpu
def test_it_prints_one_line_of_json(gpu_with_cudnn, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["x", "--only", "D0.0", "--repeats", "1", "--no-torch"])
    gpu_convolution.main()
    (line,) = capsys.readouterr().out.splitlines()
    report = json.loads(line)
    assert isinstance(report["gpu"], str) and report["only"] == ["D0.0"]
    times = report["layers"]["tf32"]["forward"]["D0.0"]
    assert {"first_ms", "best_ms", "chainer_ms", "with_bias_ms"} < times.keys()
    assert "error" not in json.dumps(report)


@pytest.mark.gpu
def test_an_engine_that_does_not_run_is_not_the_best(acted, monkeypatch):
    def milliseconds(work, repeats, *cycles):
        work()
        return float(acted.executed[-1])

    acted.engines[3] = [Engine(5, runs=False), Engine(4), Engine(2)]
    geometry = gpu_convolution.convolution(1, 2, 3, 4, 3, 1)._replace(dtype="tf32")
    monkeypatch.setattr(gpu_convolution, "milliseconds", milliseconds)
    gpu_convolution.handle.cache_clear()
    found = gpu_convolution.timings("data_gradient", geometry, 1, False)
    gpu_convolution.handle.cache_clear()
    assert found["first_ms"] == 4 and found["best_ms"] == 2 and "error" not in found
