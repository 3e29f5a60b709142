"""Real training processes, killed, signalled, starved, that must lose nothing."""

import errno
import fcntl
import itertools
import json
import multiprocessing
import os
import pty
import random
import resource
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import weakref
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pytest

import train
from tests.stores import make_store, noise
from utils import log, pixels, rundir
from utils.files import PARTIAL
from utils.stack import chainer
from utils.store import ClipStore
from utils.trainer import Trainer

ROOT = Path(__file__).resolve().parents[1]
ITERATIONS = 36
SMALL = ["--pyramid", "4-8", "--width", "small", "-b", 4, "-n", ITERATIONS]
OFTEN = ["--snapshot-every", 1, "--report-every", 6, "--validate-every", 8]
MOMENTS = 15  # at which each kind of training is killed
MODULES = ["pytest", "train", "models", "models.discriminators", "utils.trainer", "utils.store"]
MODULES += ["utils.batches", "utils.updater", "utils.device", "numpy.random"]


@pytest.fixture(scope="module")
def context():
    """Starts processes at once: a server that has imported everything forks them."""
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    before = {name: os.environ.get(name) for name in threads}
    os.environ.update(threads)
    forkserver._forkserver._stop()  # of another test, which had it import nothing
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(MODULES)
    context.Process(target=int).start()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
    return context


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A directory with clips of noise to train on, others to validate on."""
    place = tmp_path_factory.mktemp("work")
    make_store(place / "clips", noise(50, 3, (8, 8), seed=0), history=2)
    make_store(place / "test", noise(8, 3, (8, 8), seed=1), history=2)
    return place


def run(argv, said):
    """What a process does: train, its messages going to the file `said`."""
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    train.main(argv)


def start(context, work, out, *options):
    data = ["-d", work / "clips", "--test-data", work / "test", "-o", out]
    argv = list(map(str, [*data, *SMALL, *OFTEN, *options]))
    process = context.Process(target=run, args=(argv, f"{out}.txt"))
    process.start()
    return process


def finish(process):
    process.join(60)
    return process.exitcode


def wait_for(process, condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.002)


def said(out):
    return Path(f"{out}.txt").read_text()


@pytest.fixture(scope="module")
def whole(context, work):
    """The directories of runs never stopped, by their options; how long each took, in `seconds`."""
    seconds = {}

    def whole(*kind):
        out = work / f"whole{''.join(kind)}"
        if kind not in seconds:
            begun = time.monotonic()
            assert finish(start(context, work, out, *kind)) == 0
            seconds[kind] = time.monotonic() - begun
        return out

    whole.seconds = seconds
    return whole


def left_by(out):
    """All that a finished run has to say, but for times of day."""
    with np.load(out / f"{rundir.SNAPSHOT}{ITERATIONS}") as arrays:
        state = {
            name: array
            for name, array in arrays.items()
            if "elapsed" not in name and name != "extensions/log/state"
        }
    log = json.loads((out / "log").read_text())
    for entry in log:
        entry.pop("elapsed_time")
    names = ("*.model", "*.png", "samples/*", "samples.gif")
    files = {str(p.relative_to(out)): p.read_bytes() for n in names for p in out.glob(n)}
    return state, log, files


def assert_same(out, reference):
    for found, wanted in zip(left_by(out), left_by(reference), strict=True):
        assert found if isinstance(found, list) else found.keys() == wanted.keys()
        if isinstance(found, list):
            assert json.dumps(found) == json.dumps(wanted)  # dumps: NaN is NaN
            continue
        differing = [name for name in wanted if not np.array_equal(found[name], wanted[name])]
        assert differing == []


@pytest.mark.parametrize("kind", [(), ("--no-adversarial",)])
def test_a_run_killed_at_random_moments_ends_as_one_never_stopped(context, work, whole, kind):
    reference, usual = whole(*kind), whole.seconds[kind]
    out, draw = work / f"killed{len(kind)}", random.Random(len(kind))
    writing = 0
    for _ in range(MOMENTS):
        process = start(context, work, out, *kind, "-r")
        process.join(draw.uniform(0, usual / 4))
        process.kill()
        finish(process)
        writing += any(out.glob(f"*{PARTIAL}"))
    assert finish(start(context, work, out, *kind, "-r")) == 0
    assert writing, "no kill hit the writing of a file"
    assert_same(out, reference)


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signalled_run_is_saved_moved_resumed(context, work, whole, number, status):
    out, moved = work / f"signal{status}", work / f"moved{status}"
    process = start(context, work, out, "--snapshot-every", ITERATIONS)
    wait_for(process, (out / "log").exists)
    os.kill(process.pid, number)
    assert finish(process) == status
    (snapshot,) = rundir.snapshots(out)
    assert f"last good snapshot: {snapshot}" in said(out)
    out.rename(moved)
    assert finish(start(context, work, moved, "-r")) == 0
    assert f"resumed from {moved / snapshot.name}" in said(moved)
    assert_same(moved, whole())


def test_a_run_is_saved_when_its_terminal_closes(work, tmp_path):
    out, (ours, theirs) = tmp_path / "out", pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("4H", 40, 120, 0, 0))  # for the bar
    code = "import fcntl, signal, sys, termios, train; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    code += "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # tests under nohup ignore it
    code += "train.main(sys.argv[1:])"
    argv = ["-d", work / "clips", "--test-data", work / "test", "-o", out, *SMALL, *OFTEN]
    command = map(str, [sys.executable, "-c", code, *argv, "--snapshot-every", ITERATIONS])
    terminal = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    with subprocess.Popen(list(command), cwd=ROOT, start_new_session=True, **terminal) as process:
        os.close(theirs)
        while not (out / "log").exists():
            assert process.poll() is None
            if select.select([ours], [], [], 0.01)[0]:
                os.read(ours, 4096)
        os.close(ours)
        assert process.wait(60) == 129
    (snapshot,) = rundir.snapshots(out)
    assert int(snapshot.name.rpartition("_")[2]) < ITERATIONS


def test_a_second_ctrl_c_leaves_at_once():
    code = "from utils.signals import Signals; import time\n"
    # Not one long sleep: a signal that comes as it begins does not end it.
    code += "with Signals(): print(flush=True); [time.sleep(0.01) for _ in range(6000)]"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, **pipes) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.stderr.readline(), process.stderr.readline()  # it has been noted
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == -signal.SIGINT


def fill_disk(process, allowed=50_000):
    """Let the process write no file beyond so many bytes."""
    _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (allowed, hard))


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="prlimit is of Linux")
def test_a_full_disk_ends_a_run_in_one_line_with_its_snapshots_whole(context, work, whole):
    out = work / "full"
    process = start(context, work, out)
    wait_for(process, lambda: len(rundir.snapshots(out)) > 1)
    fill_disk(process)
    assert finish(process) == 2
    (line,) = [line for line in said(out).splitlines() if line.startswith("error")]
    assert line.startswith(f"error: {out}/")
    assert "File too large: cannot be written; last good snapshot" in line
    assert not list(out.glob(f"*{PARTIAL}"))
    assert finish(start(context, work, out, "-r")) == 0
    assert_same(out, whole())


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="prlimit is of Linux")
def test_a_run_that_keeps_going_outlives_a_full_disk(context, work, whole):
    out = work / "full_for_a_while"
    process = start(context, work, out, "--keep-going")
    wait_for(process, lambda: len(rundir.snapshots(out)) > 1)
    fill_disk(process)
    wait_for(process, lambda: "going on" in said(out))
    kept = rundir.snapshots(out)
    fill_disk(process, resource.RLIM_INFINITY)
    assert kept and finish(process) == 0
    assert "Traceback" not in said(out)
    assert_same(out, whole())


def test_a_second_run_in_the_same_place_is_refused(context, work):
    out = work / "shared"
    process = start(context, work, out)
    wait_for(process, lambda: rundir.snapshots(out))
    assert finish(start(context, work, out, "-r")) == 2
    assert "another" in said(out)
    process.kill()
    finish(process)


def test_the_seed_alone_decides_what_a_run_ends_with(work, whole):
    out = work / "seeded"
    data = ["-d", work / "clips", "--test-data", work / "test", "-o", out]
    command = [sys.executable, ROOT / "train.py", *data, *SMALL, *OFTEN]
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "7"}
    subprocess.run(list(map(str, command)), env={**os.environ, **threads}, check=True)
    assert_same(out, whole())


def train_here(work, out, *options):
    data = ["-d", work / "clips", "--test-data", work / "test", "-o", out]
    train.main(list(map(str, [*data, *SMALL, *OFTEN, "--no-adversarial", *options])))


@pytest.fixture
def poison(monkeypatch):
    """Make the clips of one later batch NaN."""

    def poison(batch):
        calls = itertools.count(1)
        normalise = pixels.normalise

        def spoil(clips):
            return normalise(clips) * (np.float32("nan") if next(calls) == batch else 1)

        monkeypatch.setattr(pixels, "normalise", spoil)

    return poison


def test_divergence_is_told_with_all_that_is_known(work, poison, capsys):
    poison(4)
    with pytest.raises(SystemExit) as caught:
        train_here(work, work / "diverged", "--validate-every", 99, "--snapshot-every", 2)
    assert caught.value.code == 3
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: iteration 4 diverged: gen/l2 nan, gen/gdl nan, gradient of gen")
    assert line.endswith(f"last good snapshot: {work / 'diverged' / 'snapshot_iter_2'}")


def test_a_run_that_diverged_goes_back_with_half_the_rates(work, poison, capsys):
    out, rates = work / "rolled", ("--lr-gen", 0.5, "--rollbacks", 2)
    poison(4)
    train_here(work, out, "--validate-every", 99, "--snapshot-every", 2, "-n", 6, *rates)
    told = capsys.readouterr().err
    assert f"resumed from {out / 'snapshot_iter_2'}" in told
    options = rundir.read_record(out)["options"]
    assert (options["rolled_back"], options["lr_gen"]) == (1, 0.5)
    assert [entry["iteration"] for entry in json.loads((out / "log").read_text())] == [6]
    train_here(work, out, "-r", "-n", 7, "--lr-gen", 0.25)
    assert "learning rates: those given, times 1/2 " in capsys.readouterr().err


def test_a_snapshot_from_which_a_run_diverges_twice_is_set_aside(work, monkeypatch, capsys):
    out = work / "poisoned"
    train_here(work, out, "-n", 2)
    one, two = (str(out / f"{rundir.SNAPSHOT}{k}") for k in (1, 2))
    monkeypatch.setattr(pixels, "normalise", lambda clips: clips * np.float32("nan"))
    with pytest.raises(SystemExit):
        train_here(work, out, "-r", "-n", 9, "--rollbacks", 3)
    told = capsys.readouterr().err
    assert told.count(f"resumed from {two}\n") == 2  # and with half the rates
    assert f"{two}: diverges at half the rates, too; it is snapshot_iter_2.diverges now" in told
    assert told.count(f"resumed from {one}\n") == 2  # the last one stays
    assert [path.name for path in rundir.snapshots(out)] == ["snapshot_iter_1"]
    assert (out / "snapshot_iter_2.diverges").exists()


def test_what_was_trained_is_saved_before_an_error_ends_the_run(work, monkeypatch, capsys):
    make_store(work / "torn", noise(50, 3, (8, 8), seed=0), history=2)
    (shard,) = (work / "torn").glob("c.*")
    calls, read = itertools.count(1), ClipStore.read

    def read_what_is_torn_later(store, indices):
        if next(calls) == 5:  # later than validation, preview and the first batches
            shard.write_bytes(shard.read_bytes()[:-99])
            store = ClipStore.open(store.path)
        return read(store, indices)

    def full(path, text):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    seldom = "--snapshot-every", 999, "--validate-every", 999
    for owner, name, how in (
        (log, "write_text", full),
        (ClipStore, "read", read_what_is_torn_later),
    ):
        out = work / f"without_{name}"
        with monkeypatch.context() as patch, pytest.raises(SystemExit) as caught:
            patch.setattr(owner, name, how)
            train_here(work, out, *seldom, "-d", work / "torn")
        (snapshot,) = rundir.snapshots(out)
        assert caught.value.code == 2 and (out / rundir.MODEL).exists()
        assert capsys.readouterr().err.endswith(f"; last good snapshot: {snapshot}\n")


def test_a_run_goes_back_no_oftener_than_it_may(work, monkeypatch, capsys):
    monkeypatch.setattr(pixels, "normalise", lambda clips: clips * np.float32("nan"))
    with pytest.raises(SystemExit) as caught:
        train_here(work, work / "hopeless", "--rollbacks", 2)
    assert caught.value.code == 3
    told = capsys.readouterr().err
    assert told.count("trying again") == 2 and "times 1/4" in told
    assert "last good snapshot: none yet" in told
    with pytest.raises(SystemExit):
        train_here(work, work / "hopeless", "-r", "--rollbacks", 1)
    assert "trying again" not in capsys.readouterr().err


def test_the_memory_of_the_run_that_failed_is_there_for_the_next(work, monkeypatch):
    trainers, own = [], Trainer.run

    def run(trainer):
        assert [one() for one in trainers] == [None] * len(trainers)
        trainers.append(weakref.ref(trainer))
        own(trainer)

    monkeypatch.setattr(Trainer, "run", run)
    monkeypatch.setattr(pixels, "normalise", lambda clips: clips * np.float32("nan"))
    with pytest.raises(SystemExit):
        train_here(work, work / "memory", "--rollbacks", 2)
    assert len(trainers) == 3


def test_going_back_does_not_prolong_a_run(work, monkeypatch):
    monkeypatch.setattr(pixels, "normalise", lambda clips: clips * np.float32("nan"))
    train_here(work, work / "brief", "--rollbacks", 1000, "--minutes", 0.02)


def test_gradients_are_clipped(work, monkeypatch):
    norms = []
    hook = chainer.optimizer_hooks.GradientClipping

    def clip_and_look(self, optimizer):
        clip(self, optimizer)
        squares = [float((p.grad**2).sum()) for p in optimizer.target.params()]
        norms.append(sum(squares) ** 0.5)

    clip = hook.__call__
    monkeypatch.setattr(hook, "__call__", clip_and_look)
    train_here(work, work / "clipped", "-n", 2, "--clip-gradients", 1e-3)
    assert norms == pytest.approx([1e-3, 1e-3], rel=1e-3)
