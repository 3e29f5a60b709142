"""A folder has one writer at a time and is free again after it."""

import fcntl

import pytest

from utils.errors import UserError
from utils.lock import claim


@pytest.mark.parametrize("names", [[], ["kept"]])
def test_a_folder_is_claimed_by_one_then_free_again(tmp_path, names):
    folder = tmp_path / "a" / "b"
    for _ in range(2):
        with claim(folder):
            for name in names:
                (folder / name).touch()
            for _ in range(2):
                with pytest.raises(UserError, match="another process is writing to"), claim(folder):
                    pass
        assert folder.exists() == bool(names)  # an empty one goes


def test_an_empty_folder_that_was_there_stays(tmp_path):
    with claim(tmp_path):
        pass
    assert tmp_path.exists()


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    told = "cannot write to .*file/b: Not a directory; give another place"
    with pytest.raises(UserError, match=told), claim(tmp_path / "file" / "b"):
        pass


def test_a_url_is_not_claimed_on_this_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with claim("s3://bucket/clips"), claim("s3://bucket/clips"):
        assert list(tmp_path.iterdir()) == []


def test_a_folder_that_its_last_owner_removes_is_made_anew(tmp_path, monkeypatch):
    folder, flock = tmp_path / "a", fcntl.flock

    def late(*args):
        monkeypatch.undo()
        folder.rmdir()
        flock(*args)

    monkeypatch.setattr(fcntl, "flock", late)
    with claim(folder):
        assert folder.is_dir()
        with pytest.raises(UserError, match="another process is writing to"), claim(folder):
            pass
