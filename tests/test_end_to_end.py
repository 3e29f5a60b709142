"""The commands a user types, one after the other, on real frames.

Each runs once in a process of its own, as does what depends on that; the rest runs in this one,
which has imported everything.
"""

import contextlib
import csv
import importlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap

import imageio.v3 as iio
import numpy as np
import pytest
import safetensors
from PIL import Image

from tests.processes import ROOT, run_python
from utils import rundir
from utils.stack import chainer

README = (ROOT / "README.md").read_text()
OFTEN = ("--report-every", 2, "--validate-every", 2)
SMALL = ("--width", "small")


def in_process(script, *arguments, cwd=ROOT):
    """Run a script of the project as a user does -> (exit status, stdout, stderr)."""
    done = run_python("-W", "default", ROOT / script, *arguments, cwd=cwd)
    return done.returncode, done.stdout, done.stderr


def run(script, *arguments):
    """Run a script of the project in this process -> (exit status, stdout, stderr)."""
    main, status = importlib.import_module(script.removesuffix(".py")).main, 0
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(list(map(str, arguments)))
        except SystemExit as end:
            status = end.code
    return status, out.getvalue(), err.getvalue()


def succeed(*command, run=run):
    status, out, err = run(*command)
    assert status == 0, err
    assert "Warning" not in err, err
    return out + err


def fail(*command, run=run):
    status, _, err = run(*command)
    assert status == 2, err
    return told_in(err)


def told_in(err):
    """The one line that a refusal prints."""
    lines = [line for line in err.splitlines() if not line.startswith("warning:")]
    assert len(lines) == 1 and lines[0].startswith("error: "), err
    return lines[0]


def pictures_in(path):
    with Image.open(path) as animation:
        return animation.n_frames


def weights(run_dir):
    with np.load(run_dir / "TRAINED_ADVERSARIAL.model") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A directory with images, clips and a short run, made by the real commands."""
    pytest.importorskip("ale_py")
    place = tmp_path_factory.mktemp("work")
    images = place / "images"
    episodes = ("--train", 2, "--test", 1, "--frames", 40, "--out", images)
    succeed("data/record_ms_pacman.py", *episodes, run=in_process)
    for split, count in (("train", 200), ("test", 20)):
        clips = ("--images", images / split, "-o", place / f"{split}clips")
        out = succeed("process_data.py", "-n", count, "--split", split, *clips, run=in_process)
        assert f"{count} clips" in out
    short = ("--history", 3, "--images", images / "test", "-o", place / "short")
    succeed("process_data.py", "-n", 5, *short)
    succeed("train.py", *training(place), "-n", 6, "--snapshot-every", 4, run=in_process)
    return place


def training(place, out="result", width=SMALL):
    data = ("-d", place / "trainclips", "--test-data", place / "testclips")
    return (*data, "-o", place / out, *OFTEN, *width)


def test_training_leaves_what_it_promises(work):
    result = work / "result"
    names = {path.name for path in result.iterdir()}
    assert {"options.json", "log", "TRAINED_ADVERSARIAL.model", "loss.png", "samples.gif"} <= names
    assert {"snapshot_iter_4", "snapshot_iter_6"} <= names
    entries = json.loads((result / "log").read_text())
    assert [entry["iteration"] for entry in entries] == [2, 4, 6]
    for name in ("gen/l2", "gen/gdl", "gen/adversarial", "dis/loss", "val/psnr", "copy/psnr"):
        assert np.isfinite(entries[-1][name]), name
    assert pictures_in(result / "samples.gif") == 3


def test_resuming_goes_on_from_the_newest_good_snapshot_with_the_options_of_the_run(work):
    run_dir = shutil.copytree(work / "result", work / "resumed")
    newest = run_dir / "snapshot_iter_6"
    newest.write_bytes(newest.read_bytes()[:-1000])
    said = succeed("train.py", "-r", "-o", run_dir, "-n", 8)
    assert "skipped" in said and "snapshot_iter_6: damaged" in said
    assert "resumed from" in said and "snapshot_iter_4" in said
    entries = json.loads((run_dir / "log").read_text())
    assert [entry["iteration"] for entry in entries] == [2, 4, 6, 8]
    assert re.search(r"^iteration 8, \d+ s: .*gen/l2 \d.*val/psnr \d", said, re.MULTILINE)


def test_a_run_is_resumed_from_any_directory(work):
    given = ("-d", "trainclips", "--test-data", "testclips", "-n", 1, "--width", "small")
    assert in_process("train.py", *given, "-l", "result", "-o", "placed", cwd=work)[0] == 0
    saved = rundir.read_record(work / "placed")["options"]
    assert [saved[name] for name in ("data", "test_data", "load")] == [
        str(work / name) for name in ("trainclips", "testclips", "result")
    ]
    (work / "elsewhere").mkdir()
    resume = ("train.py", "-r", "-o", "../placed", "-n", 2)
    status, _, err = in_process(*resume, cwd=work / "elsewhere")
    assert status == 0 and "warning" not in err


def test_resuming_where_nothing_is_starts_afresh_and_says_so(work):
    said = succeed("train.py", "-r", *training(work, "fresh"), "-n", 1, "--no-adversarial")
    assert "no snapshot to resume from" in said
    assert "dis/loss" not in (work / "fresh" / "log").read_text()


def test_a_run_ends_when_its_minutes_are_over_and_can_be_tested(work):
    seldom = ("--report-every", 10**6, "--validate-every", 10**6)
    brief = (*training(work, "brief"), *seldom, "-n", 10**6, "--minutes", 0.05)
    said = succeed("train.py", *brief)
    (entry,) = json.loads((work / "brief" / "log").read_text())
    assert f"trained to iteration {entry['iteration']};" in said
    assert np.isfinite([entry["gen/l2"], entry["val/psnr"]]).all()
    for name in ("loss.png", "psnr.png", "samples.gif", f"snapshot_iter_{entry['iteration']}"):
        assert (work / "brief" / name).exists()
    assert (work / "brief" / "TRAINED_ADVERSARIAL.model").exists()
    (work / "brief" / "BEST.model").unlink()  # as of a run without test clips
    told = fail("test.py", "--load", work / "brief", "--best", "--images", work / "images/test")
    assert "has no BEST.model, it was never validated" in told


def test_a_training_that_runs_wild_or_cannot_be_is_told_in_one_line(work):
    wild = training(work, "wild")
    status, _, err = run("train.py", *wild, "-n", 9, "--lr-gen", 1e30)
    assert status == 3 and told_in(err).startswith("error: iteration 2 diverged")
    flow = training(work, "wild-flow", ("--arch", "voxel-flow", *SMALL))
    status, _, err = run("train.py", *flow, "-n", 9, "--lr-gen", 1e38, "--rollbacks", 1)
    assert status == 3 and "trying again" in err
    assert "diverged" in err.splitlines()[-1]
    assert "--no-adversarial" in fail("train.py", *wild, "--pyramid", "2-8-32")


def test_any_architecture_trains_with_the_same_command_and_all_are_compared(work):
    one = ("--arch", "hourglass", "--model-options", "maps=2,noise=0.1", "--loss", "l1=1,ssim=0.1")
    other = ("--arch", "last-frame")
    third = ("--arch", "conv2d", "--width", "small")
    for number, options in enumerate((one, other)):
        succeed("train.py", *training(work, f"board/{number}", ()), *options, "-n", 2)
    assert "conv2d has one width, no dis" in fail("train.py", *training(work, "board/x"), *third)
    out = succeed(
        *("test.py", "--load", work / "board", work / "result", work / "board/0"),
        *("--images", work / "images/test"),
        *("-f", 3, "-w", 1, "--by", "ssim", "-o", work / "compared"),
    )
    table = out[out.index("| run") :].splitlines()
    assert {line.split("|")[1].strip() for line in table[2:6]} == {"0", "1", "result", "copy last"}
    assert out.count("means over") == 3  # those that were trained, each once
    assert (work / "compared" / "leaderboard.png").exists()
    assert (work / "compared" / "result" / "contact_sheet.png").exists()
    assert "choose from psnr" in fail("test.py", "--load", work / "board", "--by", "beauty")


def test_a_log_on_a_full_disk_stops_no_training(work):
    command = [sys.executable, ROOT / "train.py", *training(work, "unheard"), *OFTEN, "-n", 4]
    with open("/dev/full", "w") as full:
        done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=full)
    assert done.returncode == 0 and b"trained to iteration 4" in done.stdout
    assert (work / "unheard" / rundir.MODEL).exists()


def test_the_generator_of_another_run_is_a_start(work):
    for source in ("", "snapshot_iter_4"):
        out = f"from_{source}"
        given = ("-l", work / "result" / source, "-n", 1, "--lr-gen", 0)
        succeed("train.py", *training(work, out), *given)
    start, end = weights(work / "result"), weights(work / "from_")
    assert np.array_equal(start["refiners/3/0/W"], end["refiners/3/0/W"])
    said = succeed("train.py", "-r", "-o", work / "from_", "-n", 2, "-l", "elsewhere")
    assert "--load elsewhere is for a fresh run: this one goes on" in said
    options = rundir.read_record(work / "from_")["options"]
    assert options["load"] == str(work / "result")
    (work / "from_" / rundir.MODEL).unlink()
    for snapshot in rundir.snapshots(work / "from_"):
        snapshot.unlink()
    said = succeed("train.py", "-r", "-o", work / "from_", "-n", 1, "--schedule", "cosine")
    assert "no snapshot to resume from, starting from scratch" in said
    assert np.array_equal(start["refiners/3/0/W"], weights(work / "from_")["refiners/3/0/W"])
    succeed("train.py", "-r", "-o", work / "from_", "-n", 2, "--schedule", "constant")
    entries = json.loads((work / "from_" / rundir.LOG).read_text())
    assert ["lr/gen" in entry for entry in entries] == [True, False]


def test_a_network_goes_out_as_safetensors_and_comes_back(work):
    out = work / "network.safetensors"
    succeed("test.py", "--load", work / "result", "--export", out, "--best")
    told = fail("test.py", "--load", work / "result", "--export", out)
    assert "is there already; remove it or give another" in told
    succeed("train.py", *training(work, "returned"), "-l", out, "-n", 1, "--lr-gen", 0)
    with np.load(work / "result" / "BEST.model") as best:
        for name, array in weights(work / "returned").items():
            assert np.array_equal(array, best[name]), name
    with safetensors.safe_open(out, "np") as file:
        model = json.loads(file.metadata()["model"])
    assert (model["arch"], model["history"], model["width"]) == ("multiscale", 4, "small")


def test_testing_writes_numbers_and_pictures(work):
    command = ("--load", work / "result", "--images", work / "images/test", "-f", 10)
    out = succeed("test.py", *command, run=in_process)
    report = work / "result" / "test"
    names = {path.name for path in report.iterdir()}
    files = "metrics.csv", "metrics.json", "report.html", "contact_sheet.png", "curves.png"
    assert names == {*files, "episode_0001.gif"}
    assert pictures_in(report / "episode_0001.gif") == 4 + 10
    with open(report / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 2 * 2 * 10  # windows, predictors, areas, frames
    found = json.loads((report / "metrics.json").read_text())
    psnr = found["mean"]["model"]["whole"]["psnr"]
    assert len(psnr) == 10
    of_model = [r for r in rows if (r["predictor"], r["area"]) == ("model", "whole")]
    first = [float(row["psnr"]) for row in of_model if row["frame"] == "1"]
    assert psnr[0] == pytest.approx(np.mean(first))
    assert f"{psnr[0]:.2f}" in out
    assert "copy last" in out and "difference" in out


def test_what_follows_the_end_of_a_video_is_what_the_readme_predicts(work, monkeypatch):
    command = ("test.py", "--load", work / "result", "--forecast", "-o", work / "ahead")
    for frames in 5, 3:  # the frames of an earlier forecast do not stay among them
        succeed(*command, "--images", work / "images/test", "-f", frames)
    ahead = work / "ahead" / "episode_0001-forecast"
    found = sorted(os.listdir(ahead))
    assert found == [f"predicted_000{n}.png" for n in (1, 2, 3)]
    assert pictures_in(ahead.with_suffix(".gif")) == 4 + 3

    past = sorted((work / "images/test/episode_0001").iterdir())[-4:]
    seen = np.stack([iio.imread(path) for path in past]).transpose(0, 3, 1, 2)
    monkeypatch.chdir(work)  # where its "result" is
    told = re.search(r"^### From Python$(.+?)^###", README, re.MULTILINE | re.DOTALL)[1]
    names = {"frames": seen}
    exec(textwrap.dedent("".join(re.findall(r"^    .+\n", told, re.MULTILINE))), names)
    assert names["future"].shape == (8, 3, 210, 160)
    for name, frame in zip(found, names["future"], strict=False):
        assert np.array_equal(iio.imread(ahead / name), frame.transpose(1, 2, 0))

    for path in past[:3]:
        (work / "brief").mkdir(exist_ok=True)
        shutil.copy(path, work / "brief")
    told = fail(*command, "--images", work / "brief")
    assert "no video ends with 4 good frames" in told


def test_grey_clips_make_a_grey_network_that_predicts_grey_frames(work):
    clips = {}
    for split in ("train", "test"):
        clips[split] = work / f"grey_{split}clips"
        images = ("--images", work / "images" / split, "-o", clips[split])
        succeed("process_data.py", "-n", 40, "--split", split, "--gray", *images)
    data = ("-d", clips["train"], "--test-data", clips["test"], "-o", work / "grey")
    succeed("train.py", *data, *OFTEN, *SMALL, "-n", 2)
    told = fail("train.py", "-r", "-o", work / "grey", "-d", work / "trainclips", "-n", 4)
    assert "4 past frames of 1 channels, the training clips have 4 of 3; cut both alike" in told
    succeed("test.py", "--load", work / "grey", "--images", work / "images/test", "-f", 3, "-w", 1)
    found = json.loads((work / "grey" / "test" / "metrics.json").read_text())
    assert np.isfinite(found["mean"]["model"]["whole"]["psnr"]).all()
    with Image.open(work / "grey" / "test" / "episode_0001.gif") as animation:
        colours = np.asarray(animation.convert("RGB")).astype(int)
    assert np.ptp(colours, axis=2).max() <= 1 and colours.std() > 5
    options = ("--load", work / "grey", work / "result", "--images", work / "images/test")
    assert "test them apart" in fail("test.py", *options)


def test_clips_need_not_be_square(work):
    for split in "train", "test":
        clips = ("--images", work / "images" / split, "-o", work / f"wide_{split}clips")
        succeed("process_data.py", "-n", 16, "--split", split, "--size", 32, 48, *clips)
    data = ("-d", work / "wide_trainclips", "--test-data", work / "wide_testclips")
    succeed("train.py", *data, "-o", work / "wide", *OFTEN, *SMALL, "-n", 2)
    entries = json.loads((work / "wide" / "log").read_text())
    assert np.isfinite([entries[-1][name] for name in ("dis/loss", "val/psnr")]).all()
    succeed("test.py", "--load", work / "wide", "--images", work / "images/test", "-f", 2, "-w", 1)


@pytest.mark.parametrize(
    "command, told",
    [
        (("train.py", "-d", "nowhere"), "nowhere"),
        (("train.py", "--arch", "convlsd"), "choose from"),
        (("train.py", "--pyramid", "4-8"), "--pyramid 4-8"),
        (("train.py", "--batch-size", "0"), "'0' is not valid; give a whole number from 1 up"),
        (("train.py", "--alpha", "0.5"), "'0.5' is not valid; give a number from 1 up"),
        (("train.py", "--minutes", "-1"), "--minutes: '-1' is not valid"),
        (("train.py", "--loss", "l3=1"), "no loss is called 'l3'"),
        (("train.py", "--loss", "l1=1", "--adversarial"), "needs a weight"),
        (("train.py", "--loss", "adversarial=1", "--no-adversarial"), "nothing to learn from"),
        (("train.py", "--loss", "l2=0"), "nothing to learn from"),
        (("train.py", "--model-options", "depth=3"), "has no 'depth'"),
        (("train.py", "--arch", "convlstm-s", "--model-options", "patch=0"), "patch=0: must be"),
        (
            ("train.py", "--arch", "predrnn", "--model-options", "patch=4096"),
            "patch=4096: clips are 32x32; give a divisor of both sides",
        ),
        (("train.py", "--model-options", "width=small"), "give width as --width small"),
        (("train.py", "--model-options", ""), "has no ''"),
        (("train.py", "--pyramid", ""), "list sizes from 2 up"),
        (("train.py", "--arch", "ensemble", "--width", "small"), "has one width, no discrim"),
        (("train.py", "-o", ""), "--out: '' is not valid"),
        (("train.py", "-o", "s3://bucket/run"), "give a path on this machine, no URL"),
        (("train.py", "-b", "100000000"), "--batch-size 100000000: more than the "),
        (("train.py", "--no-adversarial", "--unconditional-dis"), "no discriminators"),
        (("train.py", "--arch", "convlstm-s", "--lr-dis", "0.1"), "--lr-dis 0.1: no dis"),
        (("train.py", "-g", "-2"), "--gpu: '-2' is not valid"),
        (("train.py", "--test-data", "result"), "result is not a store"),
        (("train.py", "--lr-gen", "nan"), "--lr-gen: 'nan' is not valid"),
        (("train.py", "-l", "nothing.model"), "nothing.model"),
        (("train.py", "-l", __file__), "no checksum"),
        (("train.py", "--test-data", "short"), "3 past frames"),
        (
            ("train.py", "--test-data", "testclip"),
            "--test-data testclip: no clips there",
        ),
        (("train.py", "--dtype", "float16"), "use float32 or tf32 or bfloat16"),
        (("train.py", "-o", "result"), "already holds a run"),
        (("train.py", "-r", "-o", "result", "--width", "paper"), "snapshot_iter_6"),
        (
            ("train.py", "-r", "-o", "result", "--arch", "conv2d"),
            "result trains multiscale; give another --out",
        ),
        (("test.py", "--load", "nowhere"), "nowhere"),
        (("test.py", "--load", "result", "--images", "nowhere"), "nowhere"),
        (("test.py", "--load", "result", "-o", "http://a/b"), "give a path on this machine"),
        (("test.py", "--forecast", "--export", "a.safetensors"), "not allowed with argument"),
        (("test.py", "--forecast", "--by", "ssim"), "--by has no effect with --forecast"),
        (("test.py", "--export", "a.safetensors", "--arrays"), "--arrays has no effect with"),
        (("test.py", "--export", "a.safetensors", "-g", "5"), "--gpu has no effect with --export"),
        (("test.py", "--load", "result", "--export", "a.npz"), ".safetensors"),
        (("test.py", "--load", "result", "--export", "no/a.safetensors"), "no/a.safetensors"),
        (("test.py", "--load", "result", "-o", __file__), f"{__file__}: a file, not a folder"),
        (("test.py", "--load", "result", "-f", "0"), "--frames: '0' is not valid"),
        (("test.py", "--load", "result", "--dtype", "float16"), "float16 is for a GPU"),
        (("test.py", "--load", "result", "-f", "40"), "has the 44 good frames in a row"),
    ],
)
def test_a_mistake_is_told_in_one_line(work, command, told):
    script, *arguments = command
    if script == "train.py" and "-d" not in arguments:
        arguments += ["-d", work / "trainclips"]
    if script == "test.py" and not {"--images", "--export"} & set(arguments):
        arguments += ["--images", work / "images/test"]
    if script == "train.py" and "-o" not in arguments:
        arguments = ["-o", work / "mistakes", *OFTEN, *SMALL, *arguments]
    arguments = [work / a if a in ("result", "nowhere", "short") else a for a in arguments]
    assert told in fail(script, *arguments)


@pytest.mark.skipif(chainer.backends.cuda.available, reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_told_in_one_line(work):
    assert "-g 0" in fail("train.py", *training(work, "mistakes"), "-g", 0)


@pytest.mark.parametrize("script, option", [("train.py", "-d"), ("test.py", "--load")])
def test_a_mistake_ends_the_process(script, option):
    assert "nowhere" in fail(script, option, "nowhere", run=in_process)
