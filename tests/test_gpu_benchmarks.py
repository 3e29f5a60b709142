"""The benchmarks on a GPU: each side does its work, the report adds up."""

import functools
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import apart, gpu_rivals, gpu_rollout, gpu_step, train_step
from benchmarks import gpu as gpu_all
from tests.test_gpu import gpu as gpu
from utils.errors import Diverged

ROOT = Path(__file__).parents[1]
SCRIPTS = "gpu_step.py", "gpu_rollout.py"
needs_torch = pytest.mark.skipif(
    not importlib.util.find_spec("torch"), reason="the benchmarks compare with PyTorch"
)


@pytest.mark.gpu
def test_our_step_runs(gpu, monkeypatch):
    monkeypatch.setenv("CHAINER_CUDNN", "0")  # as this does, for the tests to come
    step, wait, tell = gpu_step.ours("small", 2, "im2col", True)
    for _ in range(5):
        step()
    wait()
    told = tell()
    assert told.keys() == {"losses", "captured"}
    assert told["losses"].keys() == {"gen/l2", "gen/gdl", "gen/adversarial", "dis/loss"}
    assert all(np.isfinite(loss) for loss in told["losses"].values())


@pytest.mark.gpu
def test_our_step_that_diverges_is_told(gpu, monkeypatch):
    monkeypatch.setenv("CHAINER_CUDNN", "0")
    monkeypatch.setattr(train_step, "RATE_GEN", float("inf"))
    step, _, tell = gpu_step.ours("small", 2, "im2col", False)
    for _ in range(3):
        step()
    with pytest.raises(Diverged, match="^iteration 2 diverged: "):
        tell()


@pytest.mark.gpu
def test_our_rollout_runs(gpu, monkeypatch):
    monkeypatch.setenv("CHAINER_CUDNN", "0")
    predict, wait = gpu_rollout.ours("small", (20, 16), 2, "im2col")
    assert predict().shape == (1, 2, 3, 20, 16)
    wait()


@needs_torch
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_their_sides_run(precision):
    step, wait = gpu_step.theirs("small", 2, precision, False, False, device="cpu")
    step()
    predict, wait = gpu_rollout.theirs("small", (20, 16), 2, precision, False, False, device="cpu")
    assert predict().shape == (1, 6, 20, 16)
    wait()


@needs_torch
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # PyTorch's compiler looks
def test_their_compiler_knows_all_sizes(monkeypatch):
    import torch

    graphs, sizes = [], []

    def backend(graph, inputs):
        graphs.append(graph)
        sizes.extend(x for x in inputs if not isinstance(x, torch.Tensor))
        return graph.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    step, _ = gpu_step.theirs("small", 2, "tf32", True, False, device="cpu")
    for _ in range(2):
        step()
    assert len(graphs) == 1 + 2 * 4  # each discriminator with and without gradients of its weights
    assert not sizes


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


def test_a_graph_that_none_was_captured_of_has_no_ratio():
    report = {
        "ours-tf32-graph": {"median_ms": 3.0, "captured": False},
        "pytorch-tf32-graph": {"median_ms": 4.0},
    }
    assert gpu_rivals.ratio(report, "ours-tf32-graph", "tf32") is None
    report["ours-tf32-graph"]["captured"] = True
    assert gpu_rivals.ratio(report, "ours-tf32-graph", "tf32") == 0.75


def test_what_needs_no_compiler_comes_first():
    compiled = ["compiled" in side for side in gpu_rivals.PYTORCH]
    assert compiled == sorted(compiled)


@needs_torch
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


SIDES = """
import json, subprocess, sys
kind = sys.argv[2]
print("a warning", file=sys.stderr)
if kind == "leaves a process":
    subprocess.Popen(["sleep", "60"])
if kind == "babbles":
    print("no JSON")
    sys.exit()
print(json.dumps({"ms": 1 / (kind != "fails")}))
"""


def test_a_side_that_fails_leaves_the_others(tmp_path):
    script = tmp_path / "sides.py"
    script.write_text(SIDES)
    began = time.monotonic()
    names = "works", "fails", "babbles", "leaves a process"
    works, fails, babbles, leaves = gpu_rivals.each_alone(script, names, []).values()
    assert works == leaves == {"ms": 1, "stderr": ["a warning"]}
    assert fails["error"] == "ZeroDivisionError: division by zero" == fails["stderr"][-1]
    assert babbles["error"] == "not JSON: no JSON"
    assert time.monotonic() - began < 50


def test_times_are_of_a_call():
    calls = []
    found = gpu_rivals.timed(lambda: calls.append(0), lambda: None, repeats=3, calls=5)
    assert len(calls) == gpu_rivals.WARM_UPS + 15
    assert 0 < found["fastest_ms"] <= found["median_ms"]
    assert np.isfinite(json.loads(json.dumps(found))["median_ms"])


@pytest.mark.parametrize("script", SCRIPTS)
def test_without_a_gpu_a_script_says_so_in_one_line(script):
    command = [sys.executable, ROOT / "benchmarks" / script]
    done = subprocess.run(command, capture_output=True, text=True, env={"CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")


def test_one_command_that_fails_does_not_stop_the_others(tmp_path, monkeypatch, capsys):
    said = "import sys; print('{\"ms\": 1}'); sys.exit(%d)"
    sleep = "import subprocess; print('so far'); subprocess.run(['sleep', '60'])"
    asked = {"bad": ("-c", said % 3), "slow": ("-c", sleep), "good": ("-c", said % 0)}
    monkeypatch.setattr(gpu_all, "ASKED", asked)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "-o", str(tmp_path), "--limit", "5"])
    with pytest.raises(SystemExit) as ended:
        gpu_all.main()
    report = json.loads(capsys.readouterr().out)
    assert ended.value.code == 1
    assert {name: told["status"] for name, told in report.items()} == {
        "bad": 3,
        "slow": "not done in 5 s",
        "good": 0,
    }
    assert "KeyboardInterrupt" in (tmp_path / "slow.txt").read_text()
    assert report["good"]["said"] == {"ms": 1} and (tmp_path / "good.txt").exists()
    assert json.loads((tmp_path / "report.json").read_text()) == report


def test_each_command_has_its_environment(tmp_path, monkeypatch):
    command = "-c", "import os; print(len(os.environ['CUPY_ACCELERATORS']))"
    monkeypatch.setenv("CUPY_ACCELERATORS", "cub")
    monkeypatch.setattr(gpu_all, "ASKED", dict.fromkeys(("graphs-without-cub", "tests"), command))
    said = [gpu_all.ask(name, tmp_path, 60)["said"] for name in gpu_all.ASKED]
    assert said == [0, 3]


def test_what_is_known_is_written_before_the_next_is_asked(tmp_path, monkeypatch):
    def ask(name, out, limit):
        if name == "second":
            raise KeyboardInterrupt
        return {"status": 0, "seconds": 1}

    monkeypatch.setattr(gpu_all, "ASKED", {"first": (), "second": ()})
    monkeypatch.setattr(gpu_all, "ask", ask)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "-o", str(tmp_path)])
    with pytest.raises(KeyboardInterrupt):
        gpu_all.main()
    assert json.loads((tmp_path / "report.json").read_text()) == {
        "first": ask("first", tmp_path, 0)
    }


def test_every_module_with_tests_for_a_gpu_is_asked():
    modules = [path for path in (ROOT / "tests").glob("test_*.py") if path != Path(__file__)]
    marked = [path for path in modules if "pytest.mark.gpu" in path.read_text()]
    named = {f"tests/{path.name}" for path in [*marked, Path(__file__)]}
    named.discard("tests/test_driver.py")  # it looks for the mark
    assert named == {word for word in gpu_all.ASKED["tests"] if word.startswith("tests/")}


def test_most_need_no_package_that_reads_pictures_or_clips():
    modules = [f"tests.test_{name}" for name in gpu_all.MODULES if name != "snapshots"]
    lacking = dict.fromkeys(("av", "imagecodecs", "zstandard", "google_crc32c"))
    code = f"import sys; sys.modules |= {lacking}; import {', '.join(modules)}"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_module_that_lacks_a_package_leaves_the_others(tmp_path):
    (tmp_path / "test_one.py").write_text("import no_such_package\n")
    told = "import pytest\n@pytest.mark.gpu\ndef test(): pass\n"
    (tmp_path / "test_two.py").write_text(told)
    config = "[pytest]\nmarkers =\n    gpu: needs one\n"
    (tmp_path / "pytest.ini").write_text(config)
    command = [sys.executable, *gpu_all.PYTEST, tmp_path]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "no_such_package" in done.stdout and "test_two.py::test PASSED" in done.stdout


def test_processes_that_a_command_has_begun_end_with_it(tmp_path):
    begun = "import subprocess; print(subprocess.Popen(['sleep', '60']).pid)"
    with (tmp_path / "said").open("wb") as file:
        assert apart.run([sys.executable, "-c", begun], 30, stdout=file) == 0
    pid, end = int((tmp_path / "said").read_text()), time.monotonic() + 10
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(pid)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_without_time_left_every_side_is_reported_as_not_done(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_rivals, "BUDGET", 0)
    found = gpu_rivals.each_alone(tmp_path / "none.py", ["a", "b"], [])
    errors = {side: report["error"] for side, report in found.items()}
    assert errors == dict.fromkeys(("a", "b"), "not done in 0 s")
