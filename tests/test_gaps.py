"""Pictures missing between others are told and bridged by nothing; other numbers are no gaps."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.pictures import paint
from tests.shared import SHARED, needs_shared
from utils.cutting import Outcome
from utils.frames import BadFrame
from utils.gaps import fill_gaps
from utils.images import read_image
from utils.recipe import Recipe
from utils.reel import Reel
from utils.tasks import Block
from utils.videos import find_videos
from utils.windows import windows


def test_what_lies_around_a_gap_is_not_successive(tmp_path, capsys):
    for number in [*range(1, 20), *range(46, 69)]:
        paint(tmp_path / f"frame{number:04d}.png", value=number)
    (video,) = find_videos(tmp_path)
    frames = list(video.frames(0))
    bad = {n: frame for n, frame in enumerate(frames, 1) if isinstance(frame, BadFrame)}
    assert len(video) == 68 and list(bad) == list(range(20, 46))
    place = tmp_path / "frame0020.png to frame0045.png"
    assert {(frame.path, frame.reason) for frame in bad.values()} == {(place, "missing")}
    assert np.array_equal(frames[45], read_image(tmp_path / "frame0046.png"))
    outcome = Outcome()
    recipe = Recipe(4, 1, (8, 8), min_movement=0, exempt=0, seed=0)
    _, usable, _ = Reel(recipe, outcome).load(Block(0, video, 0, 64))
    assert np.flatnonzero(~usable).tolist() == list(range(19, 45))
    assert outcome.skipped == {str(place): "missing"}  # one line
    assert all(start < 15 or start > 44 for start, _ in windows(video, 5, 64))
    assert capsys.readouterr().err == f"warning: {place}: missing; left out\n"


def test_a_pipe_among_pictures_is_not_waited_for(tmp_path, capsys):
    for number in (1, 2, 4, 5, 6, 7):
        paint(tmp_path / f"{number}.png", value=number)
    os.mkfifo(tmp_path / "3.png")
    (video,) = find_videos(tmp_path)
    reader = ThreadPoolExecutor(1)
    frames = reader.submit(list, video.frames(0)).result(timeout=60)
    assert [n for n, frame in enumerate(frames, 1) if isinstance(frame, BadFrame)] == [3]
    assert "3.png: not a file; left out" in capsys.readouterr().err


@needs_shared
def test_a_gap_in_real_frames(tmp_path):
    folder = tmp_path / "v"
    shutil.copytree(SHARED / "pacman" / "Video 1", folder)
    (folder / "frame0033.png").unlink()
    (video,) = find_videos(folder)
    assert len(video) == 68
    with pytest.raises(BadFrame, match="frame0033.png: missing"):
        video.read(30, 35)
    assert len(video.read(33, 68)) == 35  # the end is there to forecast from


def numbered(*numbers, form="{}.png"):
    return tuple(map(form.format, numbers))


@pytest.mark.parametrize(
    "form", ["{}.png", "a{:03}.png", "2x v{:02}-b.png", "{:06}_x.jpg", "é{}", "f{}_640x480.v2"]
)
@pytest.mark.parametrize("step", [1, 5])
def test_gaps_are_filled_whatever_the_names(form, step):
    whole = [form.format(number) for number in range(step, 130 * step, step)]
    found = fill_gaps((*whole[:7], *whole[8:90], *whole[92:]))
    assert found == (*whole[:90], *2 * [f"{whole[90]} to {whole[91]}"], *whole[92:])


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("a.png",),
        ("1.png",),
        ("a.png", "b.png"),
        numbered(1, 2, 4),
        numbered(*(n**2 for n in range(30))),
        numbered(*(1699999999000 + n * 33 + n % 3 for n in range(30))),
        numbered(*range(20), *range(51, 61)),  # more missing than there
        numbered(*range(0, 40, 2), 41, *range(42, 60, 2)),
        (*numbered(*range(20), 22), "cover.png"),
        (*numbered(*range(20)), "22.jpg"),
        ("1.png", *numbered(*range(1, 20), 22, form="{:02}.png")),  # two of one number
    ],
)
def test_other_names_are_left_as_they_are(names):
    assert fill_gaps(names) is names


@pytest.mark.parametrize("form", ["{0:02}{1:02}.png", "cam1_20150515_{0:02}{1:02}00.jpg"])
def test_even_times_have_no_gap_at_the_full_hour(form):
    names = tuple(form.format(hour, minute) for hour in (14, 15) for minute in range(0, 60, 5))
    assert fill_gaps(names) is names
    assert len(fill_gaps((*names[:5], *names[6:]))) > len(names)


def test_of_few_pictures_one_gap_is_filled():
    assert fill_gaps(numbered(1, 2, 3, 5, 6, 7)) == numbered(*range(1, 8))
    for others in ((1, 2, 3, 5, 6), (1, 2, 4, 5, 7, 8)):  # too few to tell; two gaps
        assert fill_gaps(numbered(*others)) == numbered(*others)
