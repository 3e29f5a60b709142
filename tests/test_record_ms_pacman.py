"""The recorder of Ms. Pac-Man, run as a user runs it."""

import argparse
import os
import signal
import subprocess
import sys
import time
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ale_py = pytest.importorskip("ale_py", reason="pip install -r requirements-pacman.txt")

from data import record_ms_pacman as recorder  # noqa: E402
from tests.processes import ROOT, run_python  # noqa: E402

COMMAND = [sys.executable, "data/record_ms_pacman.py"]
SMALL = ["--train", "2", "--test", "1", "--frames", "12", "--seed", "3"]


def run(*arguments, **env):
    return run_python("data/record_ms_pacman.py", *arguments, environment=env)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.png")}


def play(split, number, count, player):
    options = argparse.Namespace(seed=0, sticky=0.25, frame_skip=4, player=player)
    return list(islice(recorder.play(options, split, number), count))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    out = tmp_path_factory.mktemp("images")
    return out, run("--out", out, "--workers", 2, *SMALL)


@pytest.fixture
def game():
    emulator = recorder.import_emulator()
    game = emulator.ALEInterface()
    game.setInt("random_seed", 1)
    game.loadROM(emulator.roms.get_rom_path("ms_pacman"))
    return game


def test_writes_numbered_frames_of_each_episode(small):
    out, _ = small
    episodes = ["train/episode_0001", "train/episode_0002", "test/episode_0001"]
    expected = {Path(e, f"frame_{n:05d}.png") for e in episodes for n in range(1, 13)}
    assert contents(out).keys() == expected
    assert {path.name for path in out.iterdir()} == {"train", "test"}, "left something aside"


def test_says_what_it_made_without_banner_or_bar(small):
    out, result = small
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"{out}: 2 train and 1 test episodes, 36 frames, ")
    assert result.stdout.endswith("games that ended before 12 frames: 0\n")


def test_frames_are_rgb_and_move(small):
    out, _ = small
    for episode in out.glob("*/*"):
        images = [Image.open(path) for path in sorted(episode.iterdir())]
        assert {(image.mode, image.size) for image in images} == {("RGB", (160, 210))}
        frames = [np.asarray(image) for image in images]
        for before, after in zip(frames, frames[1:], strict=False):
            assert before.dtype == np.uint8
            assert (before != after).any()


def test_same_seed_same_bytes_for_any_number_of_workers(small, tmp_path):
    run("--out", tmp_path, "--workers", 1, *SMALL)
    assert contents(tmp_path) == contents(small[0])


def test_another_seed_makes_other_games(small, tmp_path):
    run("--out", tmp_path, *SMALL, "--seed", 4)
    assert contents(tmp_path).keys() == contents(small[0]).keys()
    assert contents(tmp_path) != contents(small[0])


@pytest.mark.parametrize("player", recorder.PLAYERS)
def test_games_share_little_but_their_first_moves(player):
    def frames(split, number):
        return {frame.tobytes() for frame in play(split, number, 150, player)}

    train = set.union(*(frames("train", number) for number in range(1, 6)))
    for number in range(1, 4):
        assert len(frames("test", number) & train) < 40


def test_train_never_shares_a_seed_with_test():
    def drawn(split):
        pairs = [recorder.seeds(s, split, n) for s in range(20) for n in range(100)]
        return {seed for seed, _ in pairs}, {rng.integers(2**63) for _, rng in pairs}

    train, test = drawn("train"), drawn("test")
    for ours, theirs in zip(train, test, strict=True):
        assert not ours & theirs
    assert len(train[1]) == 2000
    assert 0 <= min(train[0] | test[0]) <= max(train[0] | test[0]) < 2**31


def test_the_opening_ends_where_things_move(game):
    def sprites():  # columns and rows of the four ghosts, then of Ms. Pac-Man
        return game.getRAM()[6:18].tolist()

    game.act(recorder.NOTHING)
    still = sprites()
    for _ in range(recorder.OPENING - 1):
        game.act(recorder.NOTHING)
        assert sprites() == still
    game.act(recorder.NOTHING)
    assert sprites() != still


@pytest.mark.parametrize("skip", [2, 4])
def test_a_frame_is_the_maximum_of_the_last_two(game, skip):
    for _ in range(recorder.OPENING + 40):
        game.act(recorder.NOTHING)
    flickered = 0
    for _ in range(20):
        state = game.cloneState(include_rng=True)
        frame = recorder.step(game, recorder.LEFT, skip)
        game.restoreState(state)
        screens = []
        for _ in range(skip):
            game.act(recorder.LEFT)
            screens.append(game.getScreenRGB())
        assert (frame == np.maximum(screens[-2], screens[-1])).all()
        flickered += (frame != screens[-1]).any()
    assert flickered, "nothing to take a maximum for"


def test_keep_moving_eats_more_of_the_maze_than_random():
    def eaten(player):  # pixels of maze changed after 250 frames, most of them dots
        games = [play("train", number, 250, player) for number in range(4)]
        return sum((game[0][:170] != game[-1][:170]).any(-1).sum() for game in games)

    assert eaten("keep-moving") > 1.1 * eaten("random")


def test_an_episode_ends_with_its_game(tmp_path):
    result = run("--out", tmp_path, "--train", 1, "--test", 0, "--frames", 9000, "--sticky", 1)
    frames = sorted(path.name for path in tmp_path.glob("train/episode_0001/*"))
    assert 100 < len(frames) < 1000
    assert frames[-1] == f"frame_{len(frames):05d}.png"
    assert result.stdout.endswith("games that ended before 9000 frames: 1\n")
    assert not (tmp_path / "test").exists()


def test_refuses_to_replace_unless_told(tmp_path):
    run("--out", tmp_path, *SMALL)
    before = contents(tmp_path)
    refused = run("--out", tmp_path, *SMALL, "--seed", 9)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "episode_0001 is there already; add --overwrite" in refused.stderr
    assert contents(tmp_path) == before
    run("--out", tmp_path, "--train", 1, "--test", 0, "--frames", 5, "--seed", 9, "--overwrite")
    after = contents(tmp_path)
    assert len([path for path in after if path.parts[0] == "train"]) == 5
    assert all(after[path] == data for path, data in before.items() if path.parts[0] == "test")


@pytest.mark.parametrize("given", [[], ["--overwrite"]])
def test_a_killed_run_leaves_only_whole_episodes_and_goes_on(tmp_path, given):
    reference, out = tmp_path / "reference", tmp_path / "out"
    options = ["--train", "8", "--test", "0", "--frames", "60"]
    run("--out", reference, *options)
    if given:
        run("--out", out, "--train", 9, "--test", 0, "--frames", 5, "--seed", 9)
    command = [*COMMAND, "--out", out, *options, *given]
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as process:
        while not list(out.glob("train/episode_*/frame_00060.png")) and process.poll() is None:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
    kept = {path: path.stat() for path in out.glob("train/episode_*/*")}
    assert len(kept) % 60 == 0 and 0 < len(kept) < 8 * 60
    assert run("--out", out, *options, *given, "--workers", 1).returncode == 0
    assert contents(out) == contents(reference)
    assert {path: path.stat().st_ino for path in kept} == {p: s.st_ino for p, s in kept.items()}
    assert not list(out.rglob(".*")), "left something aside"


def test_a_run_does_not_take_what_another_has_recorded_for_its_own(tmp_path):
    command = [*COMMAND, "--out", tmp_path, "--train", "99", "--test", "0", "--frames", "60"]
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as process:
        while not list(tmp_path.glob("train/episode_*")) and process.poll() is None:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
    run("--out", tmp_path, *SMALL, "--overwrite")
    before = contents(tmp_path)
    refused = run(*command[2:])
    assert refused.returncode == 2 and "episode_0001 is there already" in refused.stderr
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "end, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_stopped_run_says_what_stays_and_leaves_nothing_aside(tmp_path, end, status):
    command = [*COMMAND, "--out", tmp_path, "--train", "999", "--test", "0", "--frames", "60"]
    listen = partial(signal.signal, signal.SIGHUP, signal.SIG_DFL)  # tests under nohup ignore it
    pipes = {"stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, cwd=ROOT, preexec_fn=listen, **pipes) as process:
        while not list(tmp_path.glob("train/episode_*")) and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(end)
        _, said = process.communicate(timeout=60)
    told = "stopped; the episodes finished so far stay, the same command goes on\n"
    assert (process.returncode, said) == (status, told)
    assert {path.name for path in tmp_path.glob("[!.]*")} == {"train"}
    assert {path.name[:8] for path in tmp_path.glob("train/*")} == {"episode_"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--train many", "argument --train: 'many' is not valid; give a whole number from 0"),
        ("--test -1", "argument --test: '-1' is not valid; give a whole number from 0"),
        ("--frames 1", "argument --frames: '1' is not valid; give a whole number from 2"),
        ("--frame-skip 1", "argument --frame-skip: '1' is not valid; give a whole number from 2"),
        ("--sticky nan", "argument --sticky: 'nan' is not valid; give a number from 0 to 1"),
        ("--train 0 --test 0", "--train and --test are both 0"),
        ("--out pyproject.toml/x", "cannot write to pyproject.toml/x"),
        ("--out=", "argument --out: '' is not valid; give a path on this machine, no URL"),
    ],
)
def test_bad_options_get_one_line(arguments, words):
    result = run(*arguments.split())
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {words}")
    assert result.stderr.count("\n") == 1


def test_a_missing_emulator_is_named_before_anything_is_removed(small, tmp_path):
    (tmp_path / "ale_py.py").write_text("raise ImportError('none here')")
    before = contents(small[0])
    result = run("--out", small[0], *SMALL, "--overwrite", PYTHONPATH=str(tmp_path))
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.endswith("run pip install -r requirements-pacman.txt\n")
    assert contents(small[0]) == before
