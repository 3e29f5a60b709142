"""A file written whole or not at all, read if it is a file."""

import os

import pytest

from utils.errors import UserError, reason
from utils.files import PARTIAL, read_file, read_lines, write_whole


def test_the_new_content_takes_the_place_of_the_old(tmp_path):
    path = tmp_path / "file"
    for content in (b"first", b"second"):
        write_whole(path, lambda file, content=content: file.write(content))
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(28, "disk full"), KeyboardInterrupt()])
def test_the_old_content_stays_where_writing_fails(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(file):
        file.write(b"new")
        raise error

    with pytest.raises(type(error)) as caught:
        write_whole(path, fail)
    if isinstance(error, OSError):
        assert reason(caught.value) == f"{path}: disk full"
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_is_no_hindrance(tmp_path):
    (tmp_path / f"file{PARTIAL}").write_bytes(b"half")
    write_whole(tmp_path / "file", lambda file: file.write(b"whole"))
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_nothing_is_written_through_a_link(tmp_path):
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    for name in ("file", f"file{PARTIAL}"):
        (tmp_path / name).symlink_to(outside)
    write_whole(tmp_path / "file", lambda file: file.write(b"new"))
    assert outside.read_bytes() == b"precious"
    assert (tmp_path / "file").read_bytes() == b"new" and not (tmp_path / "file").is_symlink()


@pytest.mark.parametrize("name", ["log", f"log{PARTIAL}"])
def test_a_folder_in_the_way_is_named(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(OSError) as caught:
        write_whole(tmp_path / "log", lambda file: None)
    assert reason(caught.value) == f"{tmp_path / name}: Is a directory"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_files_alone_are_read(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    assert read_file(tmp_path / "file") == b"content"
    assert read_file(tmp_path / "file", 3) == b"con"
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(OSError) as caught:
            read_file(path)
        assert reason(caught.value) == f"{path}: not a file"


def test_lines_are_text(tmp_path):
    path = tmp_path / "list"
    for content, told in ((None, f"cannot read {path}: "), (b"\xff", f"{path} is not text: ")):
        if content:
            path.write_bytes(content)
        with pytest.raises(UserError) as caught:
            read_lines(path, "a list")
        assert str(caught.value).startswith(told) and str(caught.value).endswith(": give a list")
    path.write_text("a\nb\n")
    assert read_lines(path, "a list") == ["a", "b"]
