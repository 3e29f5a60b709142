"""test.py on runs that need pasts of different lengths, on videos seen as their clips were."""

import csv
import errno
import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import models
import test as testing
from tests.processes import refusal_with_little_memory
from utils import memory, pictures, rundir
from utils.lock import claim
from utils.results import UNFINISHED, replacing
from utils.trial import FILES, RECORD
from utils.weights import save_weights

ROOT = Path(__file__).resolve().parents[1]
DATA = {"path": "clips", "fingerprint": "7"}


def make_run(run, history, looks=(), arch="last-frame", weight=None):
    """A run of a network, one that repeats the last frame; `looks` tell how its clips were cut.

    weight: the value of all its weights, if not the initial ones.
    """
    run.mkdir(parents=True)
    form = {"history": history, "horizon": 1, "channels": 3, "size": [16, 16]}
    model = {"arch": arch, **form, "pyramid": None, "width": None}
    network = models.create(**model)
    for param in network.params():
        param.array[...] = param.array if weight is None else weight
    save_weights(run / rundir.MODEL, network)
    rundir.write_record(run, {"options": {}, "model": model, "data": {**DATA, "looks": looks}})


def test_all_runs_predict_the_same_frames_whatever_past_they_need(tmp_path, capsys):
    film = np.zeros((12, 16, 16), np.uint8)
    film[:, :, 9:] = np.random.default_rng(0).integers(0, 256, film[:, :, 9:].shape)
    np.save(tmp_path / "a.npy", film)
    for name, history in (("two", 2), ("four", 4)):
        make_run(tmp_path / "runs" / name, history)
    few = ("-f", 3, "-w", 2, "--by", "mse", "--area", "whole", "-o", tmp_path / "out")
    command = ("--load", tmp_path / "runs", "--images", tmp_path / "a.npy", *few)
    testing.main(list(map(str, command)))

    two, four = ((tmp_path / "out" / name / "metrics.csv").read_text() for name in ("two", "four"))
    assert two == four
    rows = list(csv.DictReader(two.splitlines()))
    assert {row["start"] for row in rows} == {"0", "5"}  # the last places with 4 + 3 frames
    found = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    assert {run["name"] for run in found["runs"]} == {"two", "four", "copy last"}
    means = found["runs"][0]["means"]["model"]
    assert means["whole"]["mse"][0] < 0.8 * means["moving"]["mse"][0]
    told = capsys.readouterr().out.partition("mse, whole, of 3 predicted frames:")[2]
    assert told.count(f" {means['whole']['mse'][0]:#.4g} |") == 3


def test_a_leaderboard_leaves_out_a_network_that_diverges(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.full((5, 16, 16), 200, np.uint8))
    make_run(Path("runs", "wild"), 2, arch="catz", weight=1e30)
    told = "runs/wild: frame 1 is predicted as NaN or infinite; ask for fewer --frames"
    test = ["--images", "a.npy", "-f", "3", "--load"]
    with pytest.raises(SystemExit) as caught:
        testing.main([*test, "runs/wild"])
    assert caught.value.code == 3 and f"error: {told}" in capsys.readouterr().err
    make_run(Path("runs", "calm"), 2)
    testing.main([*test, "runs"])
    assert f"warning: {told}" in capsys.readouterr().err
    (calm, _) = json.loads(Path("leaderboard/leaderboard.json").read_text())["runs"]
    assert calm["name"] == "calm"


def test_videos_can_be_seen_as_the_clips_were(tmp_path):
    numbers = np.arange(2 * 7, dtype=np.uint8).reshape(2, 7)
    films = np.ones((8, 10), np.uint8) * 16 * numbers[..., None, None]  # each frame plain
    np.save(tmp_path / "a.npy", films.transpose(1, 0, 2, 3))
    make_run(tmp_path / "run", 2)
    command = ["--load", tmp_path / "run", "--images", tmp_path / "a.npy", "-f", 2]
    with pytest.raises(SystemExit):
        testing.main(list(map(str, command)))
    command += ["--axes", "TNHW", "--step", 2, "--resize", 16, 20]
    testing.main(list(map(str, command)))

    found = tmp_path / "run" / "test"
    rows = list(csv.DictReader((found / "metrics.csv").read_text().splitlines()))
    assert {row["video"] for row in rows} == {"a.npy/0", "a.npy/1"}
    errors = [float(row["mse"]) for row in rows[:2]]
    assert errors == pytest.approx([(32 / 255) ** 2, (64 / 255) ** 2])
    told = json.loads((found / "metrics.json").read_text())["conditions"]
    assert (told["axes"], told["step"], told["resize"]) == ("TNHW", 2, [16, 20])
    assert (told["best"], told["dtype"]) == (False, None)
    testing.main([*map(str, command), "--forecast"])
    last = Image.open(tmp_path / "run" / "forecast" / "a.npy_1-forecast" / "predicted_0002.png")
    assert last.size == (20, 16) and last.getextrema() == ((16 * 13, 16 * 13),) * 3


def test_a_forecast_goes_on_from_the_last_frame_whatever_the_step(tmp_path):
    frames = np.full((16, 16, 12), np.arange(12, dtype=np.uint8)).transpose(2, 0, 1)
    np.save(tmp_path / "a.npy", frames)
    make_run(tmp_path / "run", 2)
    command = ["--load", f"{tmp_path}/run", "--images", f"{tmp_path}/a.npy", "-f", "2"]
    testing.main([*command, "--forecast", "--step", "4"])
    folder = tmp_path / "run" / "forecast" / "a.npy-forecast"
    assert Image.open(folder / "predicted_0001.png").getextrema() == ((11, 11),) * 3


def test_videos_that_are_damaged_are_not_called_short(tmp_path, capsys):
    for number in range(12):
        place = tmp_path / "film" / f"{number}.png"
        place.parent.mkdir(exist_ok=True)
        Image.new("RGB", (16, 16) if number % 4 else (18, 16)).save(place)
    make_run(tmp_path / "run", 2)
    with pytest.raises(SystemExit):
        testing.main(["--load", f"{tmp_path}/run", "--images", f"{tmp_path}/film", "-f", "4"])
    told = "has the 6 good frames in a row that --frames 4 needs; ask for fewer, or give longer or"
    assert f"{told} undamaged videos\n" in capsys.readouterr().err


def test_videos_are_seen_as_the_clips_learned_from_unless_told_otherwise(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.zeros((12, 16, 16), np.uint8))
    make_run(tmp_path / "run", 2, ["--step 2 --resize 8"])
    command = ["--load", f"{tmp_path}/run", "--images", f"{tmp_path}/a.npy", "-f", "2"]
    for more, step, resize in (
        ([], 2, [8]),
        (["--step", "2", "--resize", "8"], 2, [8]),
        (["--step", "3"], 3, [8]),
        (["--resize"], 2, None),
        (["--step", "1", "--resize"], 1, None),
    ):
        testing.main([*command, *more])
        told = json.loads((tmp_path / "run/test/metrics.json").read_text())["conditions"]
        assert (told["step"], told["resize"]) == (step, resize)
        cut, seen = "--step 2 --resize 8", f"--step {step}" + " --resize 8" * bool(resize)
        told = f"warning: {tmp_path}/run learned from clips cut with {cut}, is tested with {seen}\n"
        assert capsys.readouterr().err == told * (seen != cut)
    testing.main([*command, "--forecast"])
    with Image.open(tmp_path / "run/forecast/a.npy-forecast/predicted_0001.png") as frame:
        assert frame.size == (8, 8)


@pytest.mark.parametrize(
    "looks, refused",
    [
        ([["--step 1"], ["--step 2"]], "step"),
        ([["--step 1"], ["--step 1 --resize 8"]], "resize"),
        ([["--step 1", "--step 2"], []], "step"),  # clips were appended
        ([["--step 1"], []], None),
        ([["every second frame"], []], None),  # of a later version
    ],
)
def test_runs_that_learned_from_clips_cut_otherwise_ask_for_the_look(
    tmp_path, capsys, looks, refused
):
    np.save(tmp_path / "a.npy", np.zeros((12, 16, 16), np.uint8))
    for name, look in zip("ab", looks, strict=True):
        make_run(tmp_path / "runs" / name, 2, look)
    command = ["--load", tmp_path / "runs", "--images", tmp_path / "a.npy", "-f", 2]
    command = [*map(str, command), "-o", f"{tmp_path}/out"]
    if refused:
        with pytest.raises(SystemExit) as caught:
            testing.main(command)
        assert caught.value.code == 2
        cut = ", ".join(flags for look in looks for flags in look)
        told = f"--load: learned from clips cut with {cut}; give the --{refused} to test with"
        assert capsys.readouterr().err == f"error: {told}\n"
        command.append(f"--{refused}")
        command += ["1"] if refused == "step" else []
    testing.main(command)
    found = json.loads((tmp_path / "out" / "leaderboard.json").read_text())["conditions"]
    assert (found["step"], found["resize"]) == (1, None)


def test_a_test_takes_the_place_of_an_earlier_one_and_of_nothing_else(tmp_path, capsys):
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", np.zeros((12, 16, 16), np.uint8))
    make_run(tmp_path / "run", 2)
    (tmp_path / "run" / rundir.BEST).write_bytes((tmp_path / "run" / rundir.MODEL).read_bytes())
    test = ["--load", f"{tmp_path}/run", "-f", "2", "--images"]
    testing.main([*test, f"{tmp_path}/a.npy"])
    (tmp_path / "run/test/mine.gif").touch()
    testing.main([*test, f"{tmp_path}/b.npy"])
    names = {"b.npy.gif", *FILES}
    assert {path.name for path in (tmp_path / "run/test").iterdir()} == names | {"mine.gif"}
    testing.main([*test, f"{tmp_path}/b.npy", "--best", "--arrays"])
    best = {path.name for path in (tmp_path / "run/test-best").iterdir()}
    assert best == names | {"b.npy.npz"}
    (tmp_path / "metrics.csv").write_text("years of work")
    with pytest.raises(SystemExit):
        testing.main([*test, f"{tmp_path}/b.npy", "-o", f"{tmp_path}"])
    told = f"error: {tmp_path}/metrics.csv: no test left it there; give a new --out\n"
    assert capsys.readouterr().err == told


def test_what_no_test_or_forecast_left_is_not_overwritten(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.zeros((12, 16, 16), np.uint8))
    make_run(tmp_path / "run", 2)
    command = ["--load", f"{tmp_path}/run", "-f", "2", "--images", f"{tmp_path}/a.npy"]

    def refused(*more):
        with pytest.raises(SystemExit):
            testing.main([*command, *more])
        return capsys.readouterr().err

    mine = tmp_path / "out" / ".unfinished" / "thesis.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("years of work")
    told = f"error: {mine.parent}: no test left it there; give a new --out\n"
    assert refused("-o", f"{tmp_path}/out") == told
    ahead = tmp_path / "ahead"
    for name in ("a.npy-forecast.gif", "a.npy-forecast/predicted_0009.png"):
        (ahead / name).parent.mkdir(parents=True, exist_ok=True)
        (ahead / name).write_text("years of work")
        told = f"error: {ahead / name.split('/')[0]}: no forecast left it there; give a new --out\n"
        assert refused("--forecast", "-o", f"{ahead}") == told
        assert (ahead / name).read_text() == "years of work"
        shutil.rmtree(ahead)
    assert mine.read_text() == "years of work"
    for _ in range(2):
        testing.main([*command, "--forecast", "-o", f"{ahead}"])
    record = json.loads((ahead / "forecast.json").read_text())["conditions"]
    assert record["files"] == ["a.npy-forecast", "a.npy-forecast.gif"]
    assert record["videos"] == {"a.npy-forecast": "a.npy"}


def test_an_earlier_forecast_stays_until_it_is_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(Path("run"), 2)
    command = ["--load", "run", "--forecast", "-o", "out", "-f", "3", "--images", "a.npy", "b.npy"]

    def forecast(level, length):
        """Predict what follows frames of this level; b.npy has so many."""
        np.save("a.npy", np.full((5, 16, 16), level, np.uint8))
        np.save("b.npy", np.zeros((length, 16, 16), np.uint8))
        testing.main(command)

    def found():
        names = [path.name for path in Path("out").rglob("*")]
        with Image.open("out/a.npy-forecast/predicted_0001.png") as picture:
            return sorted(names), picture.getpixel((0, 0))[0]

    save, saved = pictures.save_picture, []

    def save_one(path, frame):
        if saved:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        saved.append(save(path, frame))

    forecast(7, 5)
    Path("out/b.npy-forecast/mine.txt").touch()
    before = found()
    assert before[1] == 7
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(pictures, "save_picture", save_one)
        forecast(9, 5)
    assert saved and found() == before
    Path("out/a.npy-forecast.partial").mkdir()
    Path("out/a.npy-forecast.partial/predicted_0009.png").touch()  # of one that was killed
    forecast(9, 1)  # b.npy is too short now
    kept = "a.npy-forecast", "a.npy-forecast.gif", "b.npy-forecast", "mine.txt", "forecast.json"
    frames = [f"predicted_000{k}.png" for k in (1, 2, 3)]
    assert found() == (sorted([*kept, *frames]), 9)
    record = json.loads(Path("out/forecast.json").read_text())["conditions"]
    assert record["videos"] == {"a.npy-forecast": "a.npy"}


@pytest.mark.parametrize("more", [(), ("--forecast",)])
def test_results_do_not_go_among_the_videos(tmp_path, capsys, more):
    films = tmp_path / "films"
    films.mkdir()
    np.save(films / "a.npy", np.zeros((12, 16, 16), np.uint8))
    make_run(tmp_path / "run", 2)
    command = ["--load", f"{tmp_path}/run", "-f", "2", *more, "-o", f"{films}/new"]
    with pytest.raises(SystemExit):
        testing.main([*command, "--images", f"{films}"])
    assert f"--out {films}/new lies in --images {films}: " in capsys.readouterr().err
    assert [path.name for path in films.iterdir()] == ["a.npy"]
    testing.main([*command, "--images", f"{films}/a.npy"])


@pytest.mark.parametrize("mistake", ["too many frames", "a damaged video"])
def test_a_test_without_a_score_leaves_an_earlier_one_as_it_is(tmp_path, mistake):
    for number in range(9):
        (tmp_path / "film").mkdir(exist_ok=True)
        Image.new("RGB", (16, 16)).save(tmp_path / "film" / f"{number}.png")
    make_run(tmp_path / "run", 2)
    test = ["--load", f"{tmp_path}/run", "--images", f"{tmp_path}/film", "--arrays", "-f"]
    testing.main([*test, "2"])
    before = {path: path.read_bytes() for path in (tmp_path / "run/test").iterdir()}
    if mistake == "a damaged video":
        for number in range(1, 9):
            (tmp_path / "film" / f"{number}.png").write_text("damaged")
    with pytest.raises(SystemExit) as caught:
        testing.main([*test, "9999" if mistake == "too many frames" else "2"])
    assert caught.value.code == 2
    assert {path: path.read_bytes() for path in (tmp_path / "run/test").iterdir()} == before


def test_a_test_that_is_killed_as_it_makes_way_has_left_all_that_is_there(tmp_path, monkeypatch):
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", np.zeros((12, 16, 16), np.uint8))
    make_run(tmp_path / "run", 2)
    test = ["--load", f"{tmp_path}/run", "-f", "2", "--images"]
    testing.main([*test, f"{tmp_path}/a.npy"])

    unlink = Path.unlink

    def die(path, **options):
        if path.suffix == ".gif":
            raise KeyboardInterrupt
        unlink(path, **options)

    with monkeypatch.context() as context, pytest.raises(SystemExit):
        context.setattr(Path, "unlink", die)
        testing.main([*test, f"{tmp_path}/b.npy"])
    testing.main([*test, f"{tmp_path}/b.npy"])
    assert [path.name for path in (tmp_path / "run/test").glob("*.gif")] == ["b.npy.gif"]


def test_a_full_disk_leaves_no_file_in_part_and_the_same_command_works_once_there_is_room(
    tmp_path, capsys
):
    np.save(tmp_path / "a.npy", np.zeros((5, 16, 16), np.uint8))
    for name in "ab":
        make_run(tmp_path / "runs" / name, 2)
    command = ["--load", tmp_path / "runs", "--images", tmp_path / "a.npy", "-f", 2, "--gifs", 0]
    command = [*map(str, command), "-o", f"{tmp_path}/out"]

    def full(allowed):
        """What the command says where no file may have more bytes."""
        limit = resource.RLIMIT_FSIZE, (allowed, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
        done = subprocess.run(
            [sys.executable, ROOT / "test.py", *command],
            preexec_fn=lambda: resource.setrlimit(*limit),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2
        # What measures the tests' coverage cannot write its file either, and says so.
        return next(line for line in done.stderr.splitlines() if line.startswith("error: "))

    told = "error: cannot write to {}: File too large; make room or give another place"
    assert full(0) == told.format(tmp_path / "out/a/.unfinished/contact_sheet.png")
    assert list((tmp_path / "out/a").iterdir()) == []
    testing.main(command)
    files = {path: path.read_bytes() for path in tmp_path.glob("out/*/*")}
    largest = max(files, key=lambda path: len(files[path]))
    aside = largest.parent / ".unfinished" / largest.name
    assert full(len(files[largest]) - 1) == told.format(aside)
    assert set(tmp_path.glob("out/*/*")) == set(files)
    assert largest.read_bytes() == files[largest]
    testing.main(command)


def test_a_test_that_does_not_end_leaves_an_earlier_one_as_it_is(tmp_path):
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", np.zeros((12, 16, 16), np.uint8))
    make_run(tmp_path / "run", 2)
    test = ["--load", f"{tmp_path}/run", "-f", "2", "--arrays", "--images"]
    testing.main([*test, f"{tmp_path}/a.npy"])
    before = {path: path.read_bytes() for path in (tmp_path / "run/test").iterdir()}
    kill = """import os, sys, test; from utils import report
report.save_json = lambda *_: os.kill(os.getpid(), 9)
test.main(sys.argv[1:])"""
    command = [sys.executable, "-c", kill, *test, f"{tmp_path}/b.npy"]
    assert subprocess.run(command, cwd=ROOT).returncode == -9
    left = {path: path.read_bytes() for path in (tmp_path / "run/test").iterdir() if path.is_file()}
    assert left == before
    testing.main([*test, f"{tmp_path}/b.npy"])
    names = {"b.npy.gif", "b.npy.npz", *FILES}
    assert {path.name for path in (tmp_path / "run/test").iterdir()} == names


@pytest.mark.parametrize("left", [[], [UNFINISHED], [UNFINISHED, "a.gif"]])
def test_a_test_that_is_killed_as_it_begins_or_tidies_up_is_no_hindrance(
    tmp_path, monkeypatch, left
):
    (tmp_path / UNFINISHED).mkdir()
    for name in left:
        (tmp_path / UNFINISHED / name).touch()
    found, remove = [], shutil.rmtree

    def rmtree(folder, **options):
        found.extend(path.name for path in folder.glob("*"))  # should it be killed now
        remove(folder, **options)

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    with replacing(tmp_path, FILES) as (folder, _):
        for name in ("b.gif", RECORD):
            (folder / name).write_text('{"conditions": {}}')
    assert {path.name for path in tmp_path.iterdir()} == {"b.gif", RECORD}
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path, FILES) as (folder, _):
        (folder / "c.gif").touch()
        raise KeyboardInterrupt
    assert {path.name for path in tmp_path.iterdir()} == {"b.gif", RECORD}
    assert set(found) == {UNFINISHED}


def test_a_leaderboard_takes_the_place_of_an_earlier_one_and_of_nothing_else(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.zeros((5, 16, 16), np.uint8))
    for name in "ab":
        make_run(Path("runs", name), 2)
        Path("runs", name, rundir.BEST).write_bytes(Path("runs", name, rundir.MODEL).read_bytes())
    compare = ["--load", "runs", "--images", "a.npy", "-f", "2"]
    for more in ((), ("--best",), ()):
        testing.main([*compare, *more])
    names = {f"leaderboard.{ending}" for ending in ("csv", "json", "md", "png")}
    for folder in Path("leaderboard"), Path("leaderboard-best"):
        assert {path.name for path in folder.iterdir()} == {"a", "b", *names}
    capsys.readouterr()
    for theirs in "mine/leaderboard.md", "mine/b/metrics.csv":
        Path(theirs).parent.mkdir(parents=True)
        Path(theirs).write_text("years of work")
        with pytest.raises(SystemExit):
            testing.main([*compare, "-o", "mine"])
        said = capsys.readouterr()
        assert said.err == f"error: {theirs}: no test left it there; give a new --out\n"
        assert said.out == ""  # nothing was tested in vain
        Path(theirs).unlink()
        Path(theirs).parent.rmdir()


@pytest.mark.parametrize("area, told", [("moving", True), ("whole", False)])
def test_runs_have_no_order_by_what_moves_where_nothing_does(tmp_path, capsys, area, told):
    np.save(tmp_path / "a.npy", np.zeros((5, 16, 16), np.uint8))
    for name in "ab":
        make_run(tmp_path / "runs" / name, 2)
    few = ("-f", "2", "--area", area, "-o", f"{tmp_path}/out")
    testing.main(["--load", f"{tmp_path}/runs", "--images", f"{tmp_path}/a.npy", *few])
    said = capsys.readouterr()
    assert ("nothing moves in the test videos" in said.err) == told
    assert ("| a         |       - |" in said.out) == told


@pytest.mark.parametrize("more, iterations", [((), [40, 40]), (("--best",), [None, None])])
def test_what_the_best_network_has_cost_is_not_what_the_last_one_has(tmp_path, more, iterations):
    np.save(tmp_path / "a.npy", np.zeros((5, 16, 16), np.uint8))
    for run in (tmp_path / "runs" / name for name in "ab"):
        make_run(run, 2)
        (run / rundir.BEST).write_bytes((run / rundir.MODEL).read_bytes())
        (run / rundir.LOG).write_text('[{"iteration": 40, "elapsed_time": 8.5}]')
    command = ["--load", tmp_path / "runs", "--images", tmp_path / "a.npy", "-f", 2]
    testing.main([*map(str, command), *more, "-o", f"{tmp_path}/out"])
    found = json.loads((tmp_path / "out" / "leaderboard.json").read_text())["runs"]
    assert [run["iterations"] for run in found if run["predictor"] == "model"] == iterations


@pytest.mark.parametrize("more", [(), ("--forecast",), ("--export", "network.safetensors")])
def test_a_run_without_a_network_yet_says_when_it_comes(tmp_path, capsys, more):
    make_run(tmp_path / "run", 2)
    (tmp_path / "run" / rundir.MODEL).unlink()
    with pytest.raises(SystemExit) as caught:
        testing.main(["--load", f"{tmp_path}/run", *more])
    assert caught.value.code == 2
    told = f"error: {tmp_path}/run: no network to test yet ({rundir.MODEL} is missing): it comes"
    assert capsys.readouterr().err.startswith(told)


@pytest.mark.parametrize("more", [(), ("--forecast",)])
def test_a_run_that_cannot_be_tested_is_found_before_others_are(tmp_path, capsys, more):
    np.save(tmp_path / "a.npy", np.zeros((12, 16, 16), np.uint8))
    for name in "abc":
        make_run(tmp_path / "runs" / name, 2)
    (tmp_path / "runs" / "c" / rundir.MODEL).write_text("cut off")
    command = ["--load", tmp_path / "runs", "--images", tmp_path / "a.npy", "-o", tmp_path / "out"]
    with pytest.raises(SystemExit):
        testing.main([*map(str, command), *more])
    assert f"{tmp_path}/runs/c/{rundir.MODEL}: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


NO_FOLDER = "Not a directory; give another place"


@pytest.mark.parametrize(
    "more, told",
    [
        (["-o"], "{file}: a file, not a folder; give another --out"),
        (["--forecast", "-o"], f"cannot write to {{place}}: {NO_FOLDER}"),
        (["--export"], f"cannot write to {{place}}: {NO_FOLDER}"),
    ],
)
def test_a_file_in_the_way_is_told_with_the_cure_before_any_test(
    tmp_path, capsys, monkeypatch, more, told
):
    monkeypatch.setattr("utils.trial.examine_videos", lambda *_, **__: pytest.fail("in vain"))
    monkeypatch.setattr("utils.forecast.predict", lambda *_, **__: pytest.fail("in vain"))
    file, place = tmp_path / "a.npy", f"{tmp_path}/a.npy/out.safetensors"
    np.save(file, np.zeros((12, 16, 16), np.uint8))
    make_run(tmp_path / "run", 2)
    videos = () if "--export" in more else ("--images", str(file))
    with pytest.raises(SystemExit) as caught:
        testing.main(["--load", f"{tmp_path}/run", *videos, *more, place])
    assert caught.value.code == 2
    assert capsys.readouterr().err.endswith(f"error: {told.format(file=file, place=place)}\n")


@pytest.mark.parametrize("more", [(), ("--forecast",)])
def test_two_tests_cannot_write_to_one_folder(tmp_path, capsys, more):
    np.save(tmp_path / "a.npy", np.zeros((12, 16, 16), np.uint8))
    make_run(tmp_path / "run", 2)
    command = ["--load", "run", "--images", "a.npy", "-o", "out"]
    command = [word if word.startswith("-") else f"{tmp_path}/{word}" for word in command]
    with claim(tmp_path / "out"), pytest.raises(SystemExit) as caught:
        testing.main([*command, *more])
    assert caught.value.code == 2
    told = f"error: another process is writing to {tmp_path}/out: wait for its end or give another"
    assert capsys.readouterr().err.splitlines()[-1].startswith(told)


@pytest.mark.skipif(not memory.PROC.is_dir(), reason="no Linux")
def test_a_network_beyond_the_free_memory_is_refused(tmp_path):
    model = {"arch": "multiscale", "history": 1000, "horizon": 1, "channels": 3, "size": [32, 32]}
    rundir.write_record(tmp_path, {"options": {}, "model": model, "data": DATA})
    told = refusal_with_little_memory("test.py", "--load", tmp_path)
    assert told.startswith("error: out of memory (") and told.endswith("; give another --load")


@pytest.mark.skipif(not memory.PROC.is_dir(), reason="no Linux")
def test_frames_beyond_the_free_memory_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((5, 2048, 2048), np.uint8))
    make_run(tmp_path / "run", 2)
    asked = ("test.py", "--load", tmp_path / "run", "--images", tmp_path / "a.npy", "-f", 2)
    told = refusal_with_little_memory(*asked)
    assert told.startswith("error: out of memory (") and "give smaller frames" in told


@pytest.mark.parametrize("gifs", [0, 1, 5])
def test_gifs_are_of_the_first_videos(tmp_path, capsys, gifs):
    films = np.random.default_rng(0).integers(0, 256, (3, 5, 8, 8), dtype=np.uint8)
    for name, film in zip("abc", films, strict=True):
        np.save(tmp_path / f"{name}.npy", film)
    make_run(tmp_path / "run", 2)
    command = ["--load", tmp_path / "run", "--images", *tmp_path.glob("*.npy"), "-f", 2]
    testing.main(list(map(str, [*command, "--gifs", gifs])))

    found = tmp_path / "run" / "test"
    assert len(list(found.glob("*.gif"))) == min(gifs, 3)
    assert json.loads((found / "metrics.json").read_text())["conditions"]["videos"] == 3
    assert ("GIFs of the first 1 videos" in capsys.readouterr().out) == (gifs == 1)
