"""The command that cuts clips: its words, its bytes, interruptions, mistakes."""

import filecmp
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
from PIL import Image

from tests.processes import ROOT, run_python
from tests.shared import PACMAN
from utils.journal import Journal, identity, strip
from utils.lock import claim
from utils.recipe import Recipe
from utils.store import ClipStore
from utils.tasks import Block, Task, Visit, describe_task
from utils.videos import find_videos

RECIPE = Recipe(history=2, horizon=1, size=(8, 8), min_movement=1.0, exempt=0.0, seed=0)


def process_data(*arguments, **options):
    return run_python(ROOT / "process_data.py", *arguments, **options)


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


def test_the_command_says_what_it_made(made):
    out, done = made
    assert done.returncode == 0 and done.stderr == ""
    assert "3000 clips of 5 frames, 32x32 pixels" in done.stdout
    assert "from 2 videos, 1" in done.stdout and "exempt from moving" in done.stdout
    assert ClipStore.open(out).shape == (5, 3, 32, 32)


def test_two_workers_make_the_same_bytes(made, images, tmp_path):
    done = process_data(*("-n", 3000, "--images", images, "-o", tmp_path / "clips", "--workers", 2))
    assert done.returncode == 0 and done.stderr == ""
    assert len(list(made[0].glob("c.*"))) > 1  # shards: each worker has its own
    assert same_files(made[0], tmp_path / "clips")


def test_options(images, tmp_path):
    (tmp_path / "data" / "images").mkdir(parents=True)
    os.symlink(images, tmp_path / "data" / "images" / "test")
    few = ("-n", 50, "--split", "test", "--workers", 1)
    shape = ("--history", 8, "--horizon", 2, "--size", 24, 40)
    draw = ("--seed", 3, "--min-movement", 90, "--exempt", 0.3)
    done = process_data(*few, *shape, *draw, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    store = ClipStore.open(tmp_path / "data" / "testclips")
    assert (store.history, store.horizon, store.shape) == (8, 2, (10, 3, 24, 40))
    assert [store.runs[0][name] for name in ("seed", "min_movement", "exempt")] == [3, 90, 0.3]
    done = process_data(*few, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: data/testclips holds 50 clips: give --append, --overwrite or another --out\n"
    )
    done = process_data(*few, "--append", cwd=tmp_path)
    assert done.returncode == 2 and "holds colour clips of 8+2 frames of 24x40" in done.stderr
    assert process_data(*few, "--overwrite", cwd=tmp_path).returncode == 0
    assert process_data(*few, "--append", cwd=tmp_path).returncode == 0
    assert len(ClipStore.open(tmp_path / "data" / "testclips")) == 100


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--images", "nowhere"], ["no such file or folder nowhere", "record_ms_pacman"]),
        (["--images", "/dev/null"], ["neither a file nor a folder: /dev/null"]),
        (["--scheduler", ""], ["--scheduler", "an address such as tcp"]),
        (["--scheduler", "tcp://a:1"], ["--workers", "--scheduler", "leave out one of these"]),
        (["--workers", "1000"], ["--workers", "1000", "from 1 to 999"]),
        (["--images", "empty"], ["no usable frames at empty"]),
        (["--images", "single"], ["no video has 5 frames of at least 32x32"]),
        (["--images", "still"], ["only 162 of 1000 clips", "whether they move or not"]),
        (["--images", "still", "-n", "100"], ["only 5 of 100 clips", "--clips or --min-movement"]),
        (
            ["--images", "still", "-n", "100", "-o", "thesis"],
            ["thesis is not a store", "another path"],
        ),
        (["-n", "0"], ["-n", "0"]),
        (["-n", "many"], ["-n", "many"]),
        (["--exempt", "1.5"], ["--exempt", "1.5"]),
        (["--min-movement", "nan"], ["--min-movement", "nan"]),
        (["--min-movement", "1e300"], ["--min-movement", "1e300"]),
        (["--size", "1"], ["--size", "1", "from 2"]),
        (["-n", "1" + 20 * "0"], ["-n", "1000000000"]),
        (["--seed", "9" * 20], ["--seed", "4294967295"]),
        (["--resize", "100000"], ["--resize", "16384"]),
        (["--history", "1001"], ["--history", "to 1000"]),
        (["--images", "still", "still/.."], ["still is in still/.."]),
        (["-o", ""], ["--out"]),
        (["--size", "1", "2", "3"], ["--size", "3"]),
        (["--append", "--overwrite"], ["--append", "--overwrite"]),
    ],
)
def test_a_mistake_is_told_in_one_line(tmp_path, arguments, words):
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
    assert (
        sum("notes.txt: neither picture nor film nor array; left out" in w for w in warnings) == 1
    )
    assert sum("3.png: cannot be read" in w for w in warnings) == 1
    assert "left out: 1 x neither picture nor film nor array" in done.stdout


def interrupt(command, ready, end):
    """Run process_data.py until `ready()`, then end it -> (its stderr, its status)."""
    command = [sys.executable, ROOT / "process_data.py", *map(str, command)]
    pipes = {"stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    listen = partial(signal.signal, signal.SIGHUP, signal.SIG_DFL)  # tests under nohup ignore it
    running = subprocess.Popen(command, preexec_fn=listen, **pipes)
    while not ready():
        assert running.poll() is None
        time.sleep(0.01)
    if end in (signal.SIGINT, signal.SIGHUP):
        os.killpg(running.pid, end)  # as a terminal does
    else:
        running.send_signal(end)
    said = running.communicate(timeout=20)[1]  # when the workers have left, too
    return said, running.returncode


def same_files(one, other):
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in other.iterdir())
    return filecmp.cmpfiles(one, other, names, shallow=False)[0] == names


@pytest.mark.parametrize(
    "end, workers, status",
    [
        (signal.SIGINT, 1, 130),
        (signal.SIGINT, 2, 130),
        (signal.SIGTERM, 2, 143),
        (signal.SIGHUP, 2, 129),
    ],
)
def test_interrupted(images, tmp_path, end, workers, status):
    out = tmp_path / "clips"
    arguments = ("--images", images, "-o", out, "--workers", workers)
    assert process_data("-n", 100, *arguments).returncode == 0
    before = ClipStore.open(out)
    command = ("-n", 500000, "--append", *arguments)
    said, found = interrupt(command, (out / "c.1.0.0.0.0").exists, end)
    assert found == status
    assert said == f"stopped: the same command with --resume goes on, at {out}\n"
    after = ClipStore.open(out)
    assert after.fingerprint == before.fingerprint
    assert np.array_equal(after.read(np.arange(100)), before.read(np.arange(100)))
    left = noted(out)
    for flags in (("--append", "--resume"), ("--append",)):
        done = process_data("-n", 50, *flags, *arguments)
        assert done.returncode == 2 and "an unfinished run with other options" in done.stderr
        assert noted(out) == left
    (out / "unfinished.plan").unlink()
    assert process_data("-n", 50, "--append", *arguments).returncode == 0
    assert len(ClipStore.open(out)) == 150
    assert {p.name for p in out.iterdir()} == {"zarr.json", "c.0.0.0.0.0"}


def noted(out):
    """How many files of the unfinished run, or how much of the store, there are."""
    names = os.listdir(out) if out.exists() else []
    return sum(1 for name in names if not name.endswith(("__lock", ".partial")))


@pytest.mark.parametrize("notes", [1, 3, 4])
@pytest.mark.parametrize("go_on", ["--append", "--resume"])
def test_a_killed_run_is_resumed_to_the_same_bytes(images, tmp_path, made, notes, go_on):
    """Killed with a plan, with some tasks done: the same bytes in the end as if it never was."""
    out = tmp_path / "clips"
    command = ("-n", 3000, "--images", images, "-o", out, "--workers", 1)

    if notes == 4:  # when all is done, but not cleaned up
        shutil.copytree(made[0], out)
        record = dict(ClipStore.open(out).runs[0])
        Journal(ClipStore.open(out)).note("plan", {"run": identity(strip(record)), "start": 0})
    else:
        interrupt(command, lambda: noted(out) >= notes, signal.SIGKILL)
        refused = process_data(*command)
        assert refused.returncode == 2
        assert "unfinished run: give the same command with --resume" in refused.stderr
    done = process_data(*command, go_on)
    assert done.returncode == 0, done.stderr
    if notes < 4:
        assert same_files(made[0], out)
    assert len(ClipStore.open(out)) == 3000
    again = process_data(*command, "--resume")
    assert again.returncode == 0 and "3000 clips, finished before" in again.stdout


def test_overwriting_is_resumed_too_and_until_then_loses_nothing(images, tmp_path, made):
    out = tmp_path / "clips"
    few = ("--images", images, "-o", out, "--workers", 1)
    assert process_data("-n", 10, *few).returncode == 0
    before = ClipStore.open(out).read(np.arange(10))
    short = process_data("-n", 3000, *few, "--overwrite", "--min-movement", 1e9)
    assert short.returncode == 2 and "only 150 of 3000 clips" in short.stderr
    assert noted(out) == 2  # zarr.json and a shard
    command = ("-n", 3000, *few, "--overwrite", "--resume")
    interrupt(command, lambda: noted(out) >= 6, signal.SIGKILL)
    assert np.array_equal(ClipStore.open(out).read(np.arange(10)), before)
    assert "holds 10 clips" in process_data("-n", 3000, *few).stderr
    assert process_data(*command).returncode == 0
    for shard in made[0].glob("c.*"):
        assert (out / shard.name.removeprefix("c.")).read_bytes() == shard.read_bytes()
    assert noted(out) == noted(made[0])
    assert ClipStore.open(out).fingerprint == ClipStore.open(made[0]).fingerprint


def test_one_writer_at_a_time(images, tmp_path):
    out = tmp_path / "clips"
    arguments = ("--images", images, "-o", out, "--workers", 1)
    with claim(out):
        for flag in ("--append", "--overwrite", "--resume"):
            second = process_data("-n", 10, *arguments, flag)
            assert second.returncode == 2 and "another process is writing to" in second.stderr
    assert not out.exists()
    assert process_data("-n", 10, *arguments).returncode == 0


def test_full_disk(images, tmp_path):
    out = tmp_path / "clips"
    arguments = ("--images", images, "-o", out, "--workers", 1)
    assert process_data("-n", 10, *arguments).returncode == 0
    before = ClipStore.open(out).read(np.arange(10))

    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**17, 2**17))

    done = process_data("-n", 4000, "--append", *arguments, preexec_fn=fill)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    told = done.stderr.splitlines()[-1]
    assert told.startswith(f"error: cannot write to {out}: ")
    assert told.endswith(
        "; make room or make it writable, then the same command with --resume goes on"
    )
    assert np.array_equal(ClipStore.open(out).read(np.arange(10)), before)
    assert process_data("-n", 4000, "--append", *arguments).returncode == 0
    assert len(ClipStore.open(out)) == 4010
    fresh = ("-n", 4000, *arguments[:3], tmp_path / "fresh", *arguments[4:])
    done = process_data(*fresh, preexec_fn=fill)
    told = f"error: cannot write to {tmp_path}/fresh/c.0.0.0.0.0: File too large; make room"
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith(told)
    assert process_data(*fresh, "--resume").returncode == 0


def films(folder, colours):
    """One film for each colour: 12 frames of noise in it, or of nothing but the colour."""
    rng = np.random.default_rng(0)
    for name, (colour, noise) in colours.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        frames = np.full((12, 40, 40), colour, np.uint8)
        frames += rng.integers(0, noise + 1, frames.shape, dtype=np.uint8)
        np.save(folder / name, frames)


def test_only_videos_that_clips_are_from_are_counted(tmp_path):
    films(tmp_path, {f"{number}.npy": (0, 255) for number in range(10)})  # of 8 windows each
    done = process_data("-n", 2, "--workers", 1, "--images", tmp_path, "-o", tmp_path / "out")
    assert "from 2 videos, 24 frames decoded" in done.stdout


def test_still_folders(tmp_path):
    films(tmp_path, {"Typing/a.npy": (90, 0), "Typing/b.npy": (90, 1), "Diving/a.npy": (0, 255)})
    command = ("-n", 50, "--workers", 1, "--images", tmp_path, "--exempt", 0.2)
    done = process_data(*command, "-o", tmp_path / "all")
    assert done.returncode == 0
    assert "little motion: Typing, 0.00% of its crops move" in done.stdout
    done = process_data(*command, "-o", tmp_path / "some", "--drop-still")
    assert done.returncode == 0
    assert "dropped: Typing, 0.00% of its crops move" in done.stdout
    assert "little motion" not in done.stdout
    assert ClipStore.open(tmp_path / "some").read(np.arange(50)).std(axis=(1, 2, 3, 4)).min() > 50
    done = process_data(*command, "-o", tmp_path / "none", "--drop-still", "--min-movement", 1e9)
    assert done.returncode == 2 and "everything is still" in done.stderr


def test_without_folders_none_is_dropped_and_that_is_told(tmp_path):
    films(tmp_path, {"a.npy": (90, 0), "b.npy": (0, 255)})
    command = ("-n", 50, "--workers", 1, "--images", tmp_path, "-o", tmp_path / "out")
    done = process_data(*command, "--drop-still")
    assert done.returncode == 0
    assert done.stdout.startswith("--drop-still has no effect: no video is in a folder\n50 clips")


DROPPING = "--drop-still", "--still", 0.02


@pytest.mark.parametrize("before, after", [((), DROPPING), (DROPPING, ())])
def test_a_run_that_drops_still_folders_is_another_run(tmp_path, before, after):
    films(tmp_path / "in", {"Typing/a.npy": (90, 0), "Diving/a.npy": (0, 255)})
    command = ("-n", 50, "--workers", 1, "--images", tmp_path / "in", "-o", tmp_path / "out")
    assert process_data(*command, *before).returncode == 0
    again = process_data(*command, *before, "--resume")
    assert again.returncode == 0 and "50 clips, finished before" in again.stdout
    other = process_data(*command, *after, "--resume")
    assert other.returncode == 2 and "out holds 50 clips: give --append" in other.stderr
    (run,) = ClipStore.open(tmp_path / "out").runs
    assert run["still"] == (0.02 if before else None)


def test_a_run_of_other_axes_is_another_run_to_its_tasks_too(tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 256, (40, 40, 40), np.uint8))
    command = ("-n", 50, "--workers", 1, "--images", tmp_path / "a.npy", "-o", tmp_path / "out")
    assert process_data(*command, "--axes", "TWH").returncode == 0
    other = process_data(*command, "--axes", "THW", "--resume")
    assert other.returncode == 2 and "out holds 50 clips: give --append" in other.stderr
    videos = [find_videos(tmp_path / "a.npy", axes=axes) for axes in (None, "THW", "TWH")]
    (guessed, told, transposed) = [
        describe_task(Task((Visit(Block(0, video, 0, 9)),), ((0, 50),), 0), RECIPE, 0, 50)
        for (video,) in videos
    ]
    assert guessed == told != transposed


def test_scene_cuts_are_no_motion(tmp_path):
    frames = np.repeat(np.array([20, 220], np.uint8), 12)[:, None, None]
    rng = np.random.default_rng(0)
    np.save(tmp_path / "a.npy", frames + rng.integers(0, 30, (24, 40, 40), dtype=np.uint8))
    command = ("-n", 200, "--workers", 1, "--images", tmp_path, "--min-movement", 10)
    done = process_data(*command, "-o", tmp_path / "clips")
    assert done.returncode == 0 and "left out: 4 windows with a scene cut" in done.stdout
    clips = ClipStore.open(tmp_path / "clips").read(np.arange(200)).astype(int)
    assert np.abs(np.diff(clips.mean(axis=(2, 3, 4)), axis=1)).max() < 20
    done = process_data(*command, "-o", tmp_path / "with", "--scene-cut", 1)
    assert done.returncode == 0 and "scene cut" not in done.stdout


def test_no_clip_contains_part_of_a_flash(tmp_path):
    frames = np.random.default_rng(0).integers(0, 30, (60, 40, 40), dtype=np.uint8)
    frames[[0, 17, 40, 59]] = 255
    np.save(tmp_path / "a.npy", frames)
    size = "--history", 1, "--horizon", 1
    command = ("-n", 200, "--workers", 1, "--images", tmp_path, "--exempt", 1, *size)
    done = process_data(*command, "-o", tmp_path / "clips")
    assert done.returncode == 0 and "left out: 6 windows with a scene cut" in done.stdout
    assert ClipStore.open(tmp_path / "clips").read(np.arange(200)).max() < 30


def test_copies_are_dropped(tmp_path):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 250, (15, 40, 40), dtype=np.uint8).repeat(2, axis=0)
    frames[1::2] += 3  # a decoder's noise
    np.save(tmp_path / "a.npy", frames)
    command = ("-n", 100, "--workers", 1, "--images", tmp_path)
    done = process_data(*command, "-o", tmp_path / "clips", "--drop-copies")
    assert (
        done.returncode == 0 and "left out: 13 windows that begin with a near copy" in done.stdout
    )
    clips = ClipStore.open(tmp_path / "clips").read(np.arange(100)).astype(int)
    assert np.abs(np.diff(clips, axis=1)).mean(axis=(2, 3, 4)).min() > 40


def test_grey_whole_frames_at_intervals(images, tmp_path):
    out = tmp_path / "clips"
    command = ("--images", images, "-o", out, "--workers", 1, "--min-movement", 1)
    look = ("--gray", "--resize", 42, 32, "--size", 42, 32, "--step", 3)
    done = process_data("-n", 20, *command, *look)
    assert done.returncode == 0, done.stderr
    assert ClipStore.open(out).shape == (5, 1, 42, 32)
    done = process_data("-n", 20, *command, *look[1:], "--append")
    assert done.returncode == 2 and "holds grey clips" in done.stderr


def test_strict(tmp_path):
    films(tmp_path, {"a.npy": (0, 255)})
    (tmp_path / "notes.txt").write_text("not a video")
    command = ("-n", 5, "--workers", 1, "--images", tmp_path, "-o", tmp_path / "clips")
    done = process_data(*command, "--strict")
    assert done.returncode == 2 and "notes.txt: neither picture nor film" in done.stderr
    assert process_data(*command).returncode == 0


def test_once_the_file_that_stopped_it_is_mended_the_same_strict_command_works(tmp_path):
    images, out = tmp_path / "images", tmp_path / "clips"
    images.mkdir()
    rng = np.random.default_rng(0)
    for number in range(30):
        frame = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(frame).save(images / f"{number:02}.png")
    whole = (images / "17.png").read_bytes()
    command = ("-n", 2000, "--workers", 1, "--images", images, "-o", out, "--strict")
    for go_on in ((), ("--resume",)):
        (images / "17.png").write_bytes(whole[:999])
        done = process_data(*command)
        assert done.returncode == 2 and "17.png: cannot be read" in done.stderr
        (images / "17.png").write_bytes(whole)
        done = process_data(*command, *go_on)
        assert done.returncode == 0, done.stderr
        assert len(ClipStore.open(out)) == 2000
        shutil.rmtree(out)


def test_a_store_at_a_url(images, made, tmp_path):
    url = f"file://{tmp_path}/clips"
    arguments = ("--images", images, "-o", url, "--workers", 2)
    done = process_data("-n", 3000, *arguments)
    assert done.returncode == 0 and done.stdout.endswith(f"{url}: 3000 clips\n"), done.stderr
    assert same_files(made[0], tmp_path / "clips")
    assert process_data("-n", 10, *arguments).returncode == 2
    assert process_data("-n", 10, *arguments, "--overwrite").returncode == 0
    assert len(ClipStore.open(url)) == 10


def test_more_clips_than_there_are_crops_are_refused_before_anything_is_cut(images, made, tmp_path):
    out = shutil.copytree(made[0], tmp_path / "clips")
    done = process_data("-n", 10**9, "--images", images, "-o", out, "--overwrite")
    crops = 2 * 64 * 179 * 129
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: only {crops} of 1000000000 clips can be cut: the videos")
    assert len(ClipStore.open(out)) == 3000
