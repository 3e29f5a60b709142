import filecmp
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from utils.store import ClipStore

ROOT = Path(__file__).resolve().parents[1]
PACMAN = ROOT.parent / "shared" / "data" / "pacman"


def process_data(*arguments, **options):
    command = [sys.executable, ROOT / "process_data.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two videos: the recorded ones where there are any, else noise of the same size."""
    if PACMAN.is_dir():
        return PACMAN
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("images")
    for video in ("Video 1", "Video 2"):
        (folder / video).mkdir()
        for number in range(68):
            frame = rng.integers(0, 256, (210, 160, 3), dtype=np.uint8)
            Image.fromarray(frame).save(folder / video / f"frame{number}.png")
    return folder


@pytest.fixture(scope="module")
def made(images, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "clips"
    return out, process_data("-n", 3000, "--images", images, "-o", out, "--workers", 1)


def test_what_it_says(made):
    out, done = made
    assert done.returncode == 0 and done.stderr == ""
    assert "3000 clips of 5 frames, 32x32 pixels" in done.stdout
    assert "from 2 videos, 1" in done.stdout and "exempt from moving" in done.stdout
    assert ClipStore.open(out).shape == (5, 3, 32, 32)


def test_two_workers_make_the_same_bytes(made, images, tmp_path):
    done = process_data(*("-n", 3000, "--images", images, "-o", tmp_path / "clips", "--workers", 2))
    assert done.returncode == 0 and done.stderr == ""
    files = [p.relative_to(made[0]) for p in sorted(made[0].rglob("*")) if p.is_file()]
    assert len(files) == 3  # two shards and zarr.json
    same, *others = filecmp.cmpfiles(made[0], tmp_path / "clips", map(str, files), shallow=False)
    assert len(same) == 3 and others == [[], []]


def test_options(images, tmp_path):
    (tmp_path / "data" / "images").mkdir(parents=True)
    os.symlink(images, tmp_path / "data" / "images" / "test")
    few = ("-n", 50, "--split", "test", "--workers", 1)
    done = process_data(
        *few, "--history", 8, "--horizon", 2, "--size", 24, 40, "--seed", 3, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    store = ClipStore.open(tmp_path / "data" / "testclips")
    assert (store.history, store.horizon, store.shape) == (8, 2, (10, 3, 24, 40))
    done = process_data(*few, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: data/testclips holds 50 clips: give --append, --overwrite or another --out\n"
    )
    done = process_data(*few, "--append", cwd=tmp_path)
    assert done.returncode == 2 and "holds clips of 8+2 frames of 24x40" in done.stderr
    assert process_data(*few, "--overwrite", cwd=tmp_path).returncode == 0
    assert process_data(*few, "--append", cwd=tmp_path).returncode == 0
    assert len(ClipStore.open(tmp_path / "data" / "testclips")) == 100


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--images", "nowhere"], ["no folder nowhere", "record_ms_pacman"]),
        (["--images", "empty"], ["no frames below empty"]),
        (["--images", "single"], ["no video has 5 frames of at least 32x32"]),
        (["--images", "still"], ["only 50 of 1000 clips", "lower --min-movement"]),
        (["--images", "still", "-o", "thesis"], ["thesis is not a store", "another path"]),
        (["-n", "0"], ["-n", "0"]),
        (["-n", "many"], ["-n", "many"]),
        (["--exempt", "1.5"], ["--exempt", "1.5"]),
        (["--min-movement", "nan"], ["--min-movement", "nan"]),
        (["--size", "0"], ["--size", "0"]),
        (["--size", "1", "2", "3"], ["--size", "3"]),
        (["--append", "--overwrite"], ["--append", "--overwrite"]),
    ],
)
def test_mistakes_take_one_line(tmp_path, arguments, words):
    frame = Image.new("RGB", (40, 40))
    for folder in ("empty", "single", "still", "thesis"):
        (tmp_path / folder).mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years of work")
    frame.save(tmp_path / "single" / "1.png")
    for number in range(6):
        frame.save(tmp_path / "still" / f"{number}.png")
    done = process_data("-n", 1000, "--workers", 1, "-o", "out", *arguments, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    message = done.stderr.splitlines()[-1]
    assert "error: " in message and "Traceback" not in done.stderr
    assert all(word in message for word in words)
    assert not (tmp_path / "out").exists()


def test_what_is_left_out_is_named_and_counted(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(12):
        frame = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(frame).save(tmp_path / f"{number}.png")
    (tmp_path / "3.png").write_bytes((tmp_path / "3.png").read_bytes()[:999])
    (tmp_path / "notes.txt").write_text("not a frame")
    done = process_data(
        *("-n", 20, "--workers", 1, "--images", tmp_path, "-o", tmp_path / "out" / "clips")
    )
    assert done.returncode == 0
    warnings = done.stderr.splitlines()
    assert len(warnings) == 2 and all(w.startswith("warning: ") for w in warnings)
    assert sum("notes.txt: not an image; left out" in w for w in warnings) == 1
    assert sum("3.png: cannot be read" in w for w in warnings) == 1
    assert "left out: 1 x not an image" in done.stdout


@pytest.mark.parametrize(
    "end, workers", [(signal.SIGINT, 1), (signal.SIGINT, 2), (signal.SIGKILL, 2)]
)
def test_interrupted(images, tmp_path, end, workers):
    out = tmp_path / "clips"
    arguments = ("--images", images, "-o", out, "--workers", workers)
    assert process_data("-n", 100, *arguments).returncode == 0
    before = ClipStore.open(out)
    command = [sys.executable, ROOT / "process_data.py", "-n", "500000", "--append"]
    running = subprocess.Popen(
        [*command, *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    shard = out / "c.1.0.0.0.0"
    while not shard.exists():
        assert running.poll() is None
        time.sleep(0.02)
    if end == signal.SIGINT:
        os.killpg(running.pid, end)  # as a terminal does
        assert running.communicate(timeout=20)[1] == f"stopped: no clips were added to {out}\n"
        assert running.returncode == 130 and not shard.exists()
    else:
        running.send_signal(end)
        running.communicate(timeout=20)  # returns when the workers have left, too
    after = ClipStore.open(out)
    assert after.fingerprint == before.fingerprint
    assert np.array_equal(after.read(np.arange(100)), before.read(np.arange(100)))
    assert process_data("-n", 50, "--append", *arguments).returncode == 0
    assert len(ClipStore.open(out)) == 150
