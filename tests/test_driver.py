"""The tests of GPU code where no GPU is: the same ones, by CuPy itself on a driver for tests."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import driver

ROOT = Path(__file__).parents[1]
EACH = [path.name for path in sorted(Path(__file__).parent.glob("test_*.py"))]
EACH = [name for name in EACH if "pytest.mark.gpu" in (ROOT / "tests" / name).read_text()]
EACH.remove("test_cudnn_gpu.py")  # its largest layers take minutes
EACH.remove("test_driver.py")  # it looks for the mark


def run(*command):
    if lacking := driver.missing():
        pytest.skip(lacking)
    done = subprocess.run(
        [sys.executable, "-m", "tests.driver", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("name", EACH)
def test_gpu_code_runs(name):
    if "benchmarks" in name:
        pytest.importorskip("torch", reason="the benchmarks compare with PyTorch")
    out = run("--cudnn", "--order=1", "-m", "pytest", "-q", "-m", "gpu", f"tests/{name}")
    assert "passed" in out and "skipped" not in out


@pytest.mark.parametrize(
    "options, file, tests",
    [
        # without cuDNN: Chainer's own convolutions
        ((), "test_gpu.py", "adversarial_step or learns and (multiscale or conv3d)"),
        # all as late as possible
        (("--cudnn",), "test_branches.py", ""),
        # of the largest layers those that do not
        (("--cudnn",), "test_cudnn_gpu.py", "repeats or threads or training and tf32"),
    ],
)
def test_gpu_code_runs_under_other_conditions(options, file, tests):
    out = run(*options, "-m", "pytest", "-q", "-m", "gpu", f"tests/{file}", "-k", tests)
    assert "passed" in out and "skipped" not in out


SEES = r"""
import cupy, numpy

first, second = (cupy.cuda.Stream(non_blocking=True) for _ in range(2))
numbers = cupy.zeros(4, "f4")
cupy.cuda.runtime.deviceSynchronize()

with first:
    numbers += 1
with second:
    early = numbers + 0  # does not wait
    told = early.get()
assert (told == 0).all(), told
first.synchronize()
assert (numbers.get() == 1).all()

with first:
    numbers += 1
second.wait_event(first.record())
with second:
    assert ((numbers + 0).get() == 2).all()

for wait in first.synchronize, cupy.cuda.runtime.deviceSynchronize:
    first.begin_capture()
    try:
        wait()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        assert "StreamCapture" in str(error), error
    else:
        raise AssertionError("a capture that waits")
    try:
        first.end_capture()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        assert "Invalidated" in str(error), error
    else:
        raise AssertionError("a capture that was broken")
assert numpy.isnan(cupy.empty(4, "f4").get()).all()  # what nobody has written
"""


def test_the_driver_sees_who_does_not_wait(tmp_path):
    script = tmp_path / "sees.py"
    script.write_text(SEES)
    run(str(script))


COLLECTS = r"""
import ctypes, gc, weakref
import cupy
from tests import driver
from utils.workers import cores

class Node:
    pass

gone, meanwhile = [], []

def host(_):
    node = Node()
    node.itself = node
    weakref.finalize(node, gone.append, "node")
    del node
    assert [[] for _ in range(10 * gc.get_threshold()[0])]
    meanwhile.extend(gone)

function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(host)
assert driver.library().cudaLaunchHostFunc(None, function, None) == 0
cupy.cuda.runtime.deviceSynchronize()
assert meanwhile == [] and gc.isenabled()
gc.collect()
assert gone == ["node"]
"""


def test_no_garbage_is_collected_while_the_driver_calls_python(tmp_path):
    """It would call CUDA, which waits for the one that has called it: for ever."""
    script = tmp_path / "collects.py"
    script.write_text(COLLECTS)
    run(str(script))
