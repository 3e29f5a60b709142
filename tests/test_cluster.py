"""Clips cut by the workers of a Dask cluster on this machine."""

import contextlib
import filecmp
import logging
import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.processes import ROOT, run_python
from utils.cluster import cluster
from utils.errors import UserError

pytest.importorskip("distributed")


def start(folder, *arguments):
    """A Dask process -> (process, the address of the scheduler that it tells of)."""
    log = folder / f"{len(list(folder.iterdir()))}.log"
    with open(log, "w") as file:
        command = [sys.executable, "-m", "dask", *arguments]
        process = subprocess.Popen(command, cwd=folder, stdout=file, stderr=file)
    while not (
        found := re.search(r"(?:Scheduler at|Registered to): *(tcp://\S+)", log.read_text())
    ):
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    return process, found.group(1)


@contextlib.contextmanager
def running(folder, workers):
    """Context of a scheduler and some workers, started in a folder -> (processes, address)."""
    processes = []
    try:
        process, address = start(
            *(folder, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        )
        processes.append(process)
        for _ in range(workers):
            options = ("--nthreads", "1", "--no-dashboard", "--no-nanny")
            processes.append(start(folder, "worker", address, *options)[0])
        yield processes, address
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(20)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """The address of a cluster of two processes that start far from this project."""
    with running(tmp_path_factory.mktemp("elsewhere"), 2) as (_, address):
        yield address


def process_data(*arguments, cwd):
    return run_python(ROOT / "process_data.py", *arguments, cwd=cwd)


def test_the_same_clips_from_a_cluster(scheduler, tmp_path):
    rng = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / "in").mkdir(exist_ok=True)
        np.save(tmp_path / "in" / name, rng.integers(0, 256, (90, 40, 40, 3), dtype=np.uint8))
    (tmp_path / "in" / "notes.txt").write_text("left out")
    command = ("-n", 2500, "--images", "in")
    here = process_data(*command, "-o", "here", "--workers", 1, cwd=tmp_path)
    assert here.returncode == 0, here.stderr
    there = process_data(*command, "-o", "there", "--scheduler", scheduler, cwd=tmp_path)
    assert there.returncode == 0, there.stderr
    names = sorted(path.name for path in (tmp_path / "here").iterdir())
    assert len(names) > 2  # several shards and zarr.json
    assert names == sorted(p.name for p in (tmp_path / "there").iterdir())
    same = filecmp.cmpfiles(tmp_path / "here", tmp_path / "there", names, shallow=False)[0]
    assert same == names
    assert here.stdout.splitlines()[:-1] == there.stdout.splitlines()[:-1]


def test_both_workers_work(scheduler):
    with cluster(scheduler) as spread:
        assert list(spread(abs, range(-5, 0))) == [5, 4, 3, 2, 1]
        assert len(set(spread(pid_after_a_while, range(8)))) == 2


pid_after_a_while = eval("lambda _: [__import__('time').sleep(0.1), __import__('os').getpid()][1]")


def test_an_exception_in_a_worker_is_raised_here(scheduler):
    with pytest.raises(ZeroDivisionError), cluster(scheduler) as spread:
        list(spread((1).__floordiv__, [0]))


def test_a_cluster_that_dies_at_its_work_is_an_error(tmp_path, monkeypatch, caplog):
    logging.getLogger("distributed.client").addHandler(caplog.handler)
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    told = "the Dask cluster at tcp:.* failed .*: the same command with --resume goes on$"
    with running(tmp_path, 2) as (processes, address):
        with pytest.raises(UserError, match=told), cluster(address) as spread:
            list(spread(os._exit, [1]))
        with pytest.raises(UserError, match=told), cluster(address) as spread:
            for _ in spread(time.sleep, [0, 3]):
                processes[0].kill()
    assert caplog.text == ""


def test_a_scheduler_that_does_not_answer_is_an_error(monkeypatch):
    monkeypatch.setattr("utils.cluster.PATIENCE", 1)
    with (
        pytest.raises(UserError, match="no Dask scheduler at tcp://127.0.0.1:9 "),
        cluster("tcp://127.0.0.1:9"),
    ):
        pass


def test_a_worker_does_not_mistake_a_new_store_for_an_earlier_one(scheduler, tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (99, 160, 160), np.uint8)
    np.save(tmp_path / "in.npy", frames)
    for size in (32, 128):  # of other shapes, hence with other numbers of clips in a file
        command = ("-n", 200, "--images", "in.npy", "--size", size, "--overwrite")
        done = process_data(*command, "-o", "there", "--scheduler", scheduler, cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def test_a_worker_runs_changed_code_not_what_it_imported_earlier(scheduler, tmp_path, monkeypatch):
    monkeypatch.setattr("utils.cluster.ROOT", tmp_path)
    (tmp_path / "utils").mkdir()
    (tmp_path / "utils" / "__init__.py").touch()
    for answer in (1, 22):
        (tmp_path / "utils" / "fresh.py").write_text(f"answer = {answer}\n")
        with cluster(scheduler) as spread:
            assert list(spread(answer_after_a_while, range(4))) == [answer] * 4


answer_after_a_while = eval(
    "lambda _: [__import__('time').sleep(0.1), __import__('utils.fresh').fresh.answer][1]"
)
