"""benchmarks/gpu_convolution.py where there is no GPU."""

import math
import subprocess
import sys
from pathlib import Path

import pytest

import models
from benchmarks import gpu_convolution
from benchmarks.gpu_convolution import layers, right
from models.discriminators import Discriminators
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


def test_one_error_too_large_is_not_right():
    fine = {"G3.0": {"tf32": {"forward": 3e-4}}, "G3.2": {"float32": {"forward": 1e-6}}}
    assert right(fine)
    assert not right({**fine, "G3.5": {"float32": {"forward": 3e-4}}})
    assert not right({**fine, "G3.5": {"float32": {"forward": float("nan")}}})


def test_a_layer_that_fails_leaves_the_sums_of_the_others(monkeypatch):
    def timings(direction, geometry, *others):
        if geometry.weights[0] == 3:
            raise RuntimeError("no engine\nfor this")
        return {"first_ms": 2.0, "best_ms": 1.0}

    monkeypatch.setattr(gpu_convolution, "timings", timings)
    geometries = {name: layers(8)[name] for name in ("G3.0", "G3.5", "D3.1")}
    each, total = gpu_convolution.all_speeds(geometries, 1, False)
    assert each["tf32"]["forward"]["G3.5"] == {"error": "RuntimeError: no engine"}
    assert total["float32"]["data_gradient"]["first_ms"] == 4.0
    assert total["float32"]["data_gradient"]["layers"] == 2
    monkeypatch.setattr(gpu_convolution, "SECONDS", -1)
    assert gpu_convolution.all_speeds(geometries, 1, False)[1] == {}
    assert not right({"G3.0": {"error": "no engine"}})
