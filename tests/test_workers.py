"""Processes that share a loop: their results, their ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from utils.errors import UserError
from utils.workers import cores, workers

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("count", [1, 2])
def test_results_in_order(count):
    with workers(count) as spread:
        assert list(spread(abs, range(-5, 0))) == [5, 4, 3, 2, 1]


@pytest.mark.parametrize("count", [1, 2])
def test_work_is_done_in_other_processes(count):
    with workers(count) as spread:
        assert os.getpid() not in spread(eval, ["__import__('os').getpid()"] * 4)
    assert "MALLOC_TRIM_THRESHOLD_" not in os.environ


def inherited(seconds):
    """What a process was started with, told after so long that others get work, too."""
    time.sleep(seconds)
    blocked = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return blocked, os.environ["MALLOC_TRIM_THRESHOLD_"], "colorsys" in sys.modules, os.getpid()


def test_every_worker_blocks_ctrl_c_keeps_memory_and_has_imported_its_modules():
    with workers(3, "colorsys") as spread:
        found = {*spread(inherited, [0.3] * 3), *spread(inherited, [0.1] * 3)}
    assert len(found) == 3 and {kind[:3] for kind in found} == {(True, str(2**27), True)}
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


# Ctrl-C comes while workers start, and while they work.
CODE = """
import subprocess, time
from utils.workers import workers
if __name__ == "__main__":
    try:
        subprocess.Popen(["sh", "-c", "sleep {delay}; kill -INT 0"])
        with workers(2) as spread:
            list(spread(time.sleep, [0.05] * 4000))
    except KeyboardInterrupt:
        print("stopped")
"""


@pytest.mark.parametrize("delay", [0, 0.02, 0.5])
def test_ctrl_c_ends_all_at_once_in_silence(delay, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(CODE.format(delay=delay))
    ended = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=60,  # all the work would take 100 s
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "stopped\n", "")


@pytest.mark.parametrize(
    "count, cure", [(2, "fewer --workers than 2, or"), (1, "a lower --size or --resize, or")]
)
def test_a_worker_that_dies_is_told(count, cure):
    with (
        pytest.raises(UserError, match=f"a worker process died.* try {cure} fewer --images"),
        workers(count) as spread,
    ):
        list(spread(os._exit, [1]))


def test_an_exception_in_a_worker_is_raised_here():
    with pytest.raises(ZeroDivisionError), workers(2) as spread:
        list(spread(eval, ["1 / 0"]))


def test_a_module_that_is_missing_is_for_the_parent_to_tell(capfd):
    with workers(1, "no_such_module") as spread:
        assert list(spread(abs, [-1])) == [1]
    assert capfd.readouterr().err == ""


def test_cores():
    assert 1 <= cores() <= os.cpu_count()
