"""Names for several runs, several folders of videos."""

import os

import numpy as np
import pytest
from PIL import Image

from utils.errors import UserError
from utils.names import name_apart, printable
from utils.videos import find_videos


@pytest.mark.parametrize(
    "paths, names",
    [
        (["a"], ["a"]),
        (["runs/a/", "runs/b"], ["a", "b"]),
        (["a/result", "b/result"], ["a/result", "b/result"]),
        (["x/a/result", "y/a/result"], ["x/a/result", "y/a/result"]),
        (["a", "b/../a", "./a/"], ["a"]),
    ],
)
def test_as_much_of_a_path_as_tells_it_apart(paths, names, tmp_path, monkeypatch):
    home = tmp_path / "y"
    home.mkdir()
    monkeypatch.chdir(home)
    assert list(name_apart(paths).values()) == names


def test_the_current_directory_has_the_name_it_has_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert list(name_apart(["."]).values()) == [tmp_path.name]


@pytest.fixture
def folders(tmp_path, monkeypatch):
    for folder in ("one/v", "two/v"):
        (tmp_path / folder).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / folder / "1.png")
    monkeypatch.chdir(tmp_path)


def test_videos_of_several_folders_have_names_of_their_own(folders):
    assert [video.name for video in find_videos(["one/v", "two/v"])] == ["one/v", "two/v"]
    assert [video.name for video in find_videos(["one", "two"])] == ["one/v", "two/v"]
    assert [video.name for video in find_videos(["one", "two/v"])] == ["one/v", "v"]
    assert [video.name for video in find_videos(["one/v"])] == ["v"]


def test_no_two_videos_have_the_same_name(tmp_path):
    for place in ("v/1", "v/v/1", "v/v-2/1", "v/a/1", os.fsdecode(b"v/\xe9/1"), r"v/\xe9/1"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / f"{place}.png")
    names = [video.name for video in find_videos(tmp_path / "v")]
    assert sorted(names) == [r"\xe9", r"\xe9-2", "a", "v", "v-2", "v-2-2"]


def test_a_video_is_not_taken_twice(folders):
    assert len(find_videos(["one", "one/", "./one"])) == 1
    with pytest.raises(UserError, match="one/v is in one"):
        find_videos(["one", "one/v"])


def test_names_that_are_no_text_can_be_printed():
    assert printable("日本 ü") == "日本 ü"
    assert printable(os.fsdecode(b"lat\xe9in")) == r"lat\xe9in"
