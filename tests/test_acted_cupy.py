"""The tests of GPU code where no GPU is: the same ones, in a process where NumPy acts CuPy."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EACH = [path.name for path in sorted(Path(__file__).parent.glob("test_*.py"))]
EACH = [name for name in EACH if "pytest.mark.gpu\n" in (ROOT / "tests" / name).read_text()]


def run(*command):
    if not importlib.util.find_spec("cupy"):
        pytest.skip("no CuPy, whose names the stand-in is held to")
    if not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("no C++ compiler for the kernels")
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("name", EACH)
def test_gpu_code_runs_on_the_stand_in(name):
    if "benchmarks" in name and not importlib.util.find_spec("torch"):
        pytest.skip("the benchmarks compare with PyTorch")
    out = run("-m", "pytest", "-q", "-p", "tests.acted_cupy", "-m", "gpu", f"tests/{name}")
    assert "passed" in out and "skipped" not in out
