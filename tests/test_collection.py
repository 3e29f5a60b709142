"""Files are in the collection whole or not at all."""

import os
import shutil

import pytest

from utils.collection import add_file
from utils.errors import UserError


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A file that cannot be linked to."""

    def refuse(*_):
        raise OSError("another disk")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "in.avi"
    path.write_bytes(b"film")
    return path


def test_a_file_that_cannot_be_linked_is_copied(source):
    target = source.with_name("out") / "train" / "a.avi"
    add_file(source, target)
    assert target.read_bytes() == b"film"


@pytest.mark.parametrize(
    "stop, told", [(KeyboardInterrupt, KeyboardInterrupt), (OSError, UserError)]
)
def test_half_a_copy_does_not_stay(source, monkeypatch, stop, told):
    target = source.with_name("out") / "train" / "a.avi"

    def copy(file, copied):
        copied.write(file.read(2))
        raise stop

    monkeypatch.setattr(shutil, "copyfileobj", copy)
    with pytest.raises(told):
        add_file(source, target)
    assert list(target.parent.iterdir()) == []
