"""The benchmarks on a GPU: each side does its work, the report adds up."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the benchmarks compare with PyTorch")
from benchmarks import gpu as gpu_all
from benchmarks import gpu_rivals, gpu_rollout, gpu_step
from tests.test_gpu import gpu as gpu

ROOT = Path(__file__).parents[1]
SCRIPTS = "gpu_step.py", "gpu_rollout.py"


@pytest.mark.gpu
def test_our_step_runs(gpu, monkeypatch):
    monkeypatch.setenv("CHAINER_CUDNN", "0")  # as this does, for the tests to come
    step, wait = gpu_step.ours("small", 2, "im2col", True)
    for _ in range(5):
        step()
    wait()


@pytest.mark.gpu
def test_our_rollout_runs(gpu, monkeypatch):
    monkeypatch.setenv("CHAINER_CUDNN", "0")
    predict, wait = gpu_rollout.ours("small", (20, 16), 2, "im2col")
    assert predict().shape == (1, 2, 3, 20, 16)
    wait()


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_their_sides_run(precision):
    step, wait = gpu_step.theirs("small", 2, precision, False, False, device="cpu")
    step()
    predict, wait = gpu_rollout.theirs("small", (20, 16), 2, precision, False, False, device="cpu")
    assert predict().shape == (1, 6, 20, 16)
    wait()


def test_ratios_are_to_the_best_of_equal_precision():
    report = {
        "ours-tf32-graph": {"median_ms": 3.0},
        "pytorch-tf32": {"median_ms": 8.0},
        "pytorch-tf32-graph": {"median_ms": 4.0},
        "pytorch-tf32-compiled": {"error": "no compiler"},
        "pytorch-bf16": {"median_ms": 1.0},
    }
    assert gpu_rivals.ratio(report, "ours-tf32-graph", "tf32") == 0.75
    assert gpu_rivals.ratio(report, "ours-bf16-graph", "bf16") is None


def test_floors_are_of_measured_peaks():
    report = {
        "ours-tf32-graph": {"median_ms": 4.0},
        "peak-tf32": {"tflop_per_s": 400.0},
        "peak-bf16": {"error": "out of memory"},
        "bandwidth": {"gb_per_s": 4000.0},
    }
    found = gpu_step.floors(report, "small", 8)
    assert found["tf32_ms"] == pytest.approx(found["gflop"] / 400)
    assert report["ours-tf32-graph"]["share_of_peak"] == pytest.approx(found["tf32_ms"] / 4)
    assert "bf16_ms" not in found and 0 < found["adam_ms"] < 1


def test_a_side_that_fails_leaves_the_others(tmp_path):
    script = tmp_path / "sides.py"
    script.write_text("import sys, json\nprint(json.dumps({'ms': 1 / int(sys.argv[2])}))\n")
    found = gpu_rivals.each_alone(script, ["2", "0"], [])
    assert found == {"2": {"ms": 0.5}, "0": {"error": "ZeroDivisionError: division by zero"}}


def test_times_are_of_a_call():
    calls = []
    found = gpu_rivals.timed(lambda: calls.append(0), lambda: None, repeats=3, calls=5)
    assert len(calls) == gpu_rivals.WARM_UPS + 15
    assert 0 < found["fastest_ms"] <= found["median_ms"]
    assert np.isfinite(json.loads(json.dumps(found))["median_ms"])


@pytest.mark.parametrize("script", SCRIPTS)
def test_without_a_gpu_it_is_one_line(script):
    command = [sys.executable, ROOT / "benchmarks" / script]
    done = subprocess.run(command, capture_output=True, text=True, env={"CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")


def test_all_are_asked_whatever_becomes_of_one(tmp_path, monkeypatch, capsys):
    said = "import sys; print('{\"ms\": 1}'); sys.exit(%d)"
    sleep = "import subprocess; subprocess.run(['sleep', '60'])"
    asked = {"bad": ("-c", said % 3), "slow": ("-c", sleep), "good": ("-c", said % 0)}
    monkeypatch.setattr(gpu_all, "ASKED", asked)
    monkeypatch.setattr(gpu_all, "LIMIT", 5)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "-o", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        gpu_all.main()
    report = json.loads(capsys.readouterr().out)
    assert ended.value.code == 1
    assert {name: told["status"] for name, told in report.items()} == {
        "bad": 3,
        "slow": "not done in 5 s",
        "good": 0,
    }
    assert report["good"]["said"] == {"ms": 1} and (tmp_path / "good.txt").exists()


def test_no_time_left_is_no_end_of_the_report(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_rivals, "BUDGET", 0)
    found = gpu_rivals.each_alone(tmp_path / "none.py", ["a", "b"], [])
    assert found == dict.fromkeys(("a", "b"), {"error": "not done in 0 s"})
