"""Files are in the collection whole or not at all."""

import argparse
import contextlib
import os
import shutil

import numpy as np
import pytest

from utils.collection import Collection
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


@pytest.fixture
def collection(tmp_path):
    with Collection(argparse.Namespace(out=tmp_path / "out")) as collection:
        yield collection


def test_a_file_that_another_run_has_replaced_is_not_taken_for_ones_own(source, tmp_path):
    out = tmp_path / "out"
    first, second = (argparse.Namespace(out=out, seed=seed) for seed in (1, 2))
    places = [out / "train" / name for name in ("a.avi", "b.avi")]
    with pytest.raises(KeyboardInterrupt), Collection(first) as collection:
        for place in places:
            collection.add_file(source, place)
        raise KeyboardInterrupt
    places[0].unlink()
    with Collection(second) as collection:
        collection.add_file(source, places[0])
    with pytest.raises(UserError), Collection(first) as collection:
        assert collection.has(places[1])
        collection.has(places[0])


def test_the_same_words_in_another_folder_are_another_command(tmp_path, monkeypatch):
    options, place = argparse.Namespace(out=tmp_path / "out", images="in"), tmp_path / "out" / "a"
    with pytest.raises(KeyboardInterrupt), Collection(options) as collection:
        collection.add_frames(place, [np.zeros((4, 4), np.uint8)])
        raise KeyboardInterrupt
    with contextlib.suppress(KeyboardInterrupt), Collection(options) as collection:
        assert collection.has(place)
        raise KeyboardInterrupt
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="is there already"), Collection(options) as collection:
        collection.has(place)


@pytest.mark.parametrize("content, refused", [(b"film", True), (b"FILM", False)])
def test_only_the_same_file_cannot_be_in_train_and_in_test(source, collection, content, refused):
    target, twin = (collection.out / split / "a.avi" for split in ("train", "test"))
    twin.parent.mkdir(parents=True)
    twin.write_bytes(content)
    shutil.copystat(source, twin)  # the same time
    told = pytest.raises(UserError, match="is there already, it was to be in train")
    with told if refused else contextlib.nullcontext():
        collection.add_file(source, target)
    assert target.exists() is not refused


def test_frames_of_one_name_cannot_be_in_train_and_in_test(collection):
    frames = [np.zeros((4, 4), np.uint8)]
    assert collection.add_frames(collection.out / "train" / "a", frames) == 1
    with pytest.raises(UserError, match="train/a is there already, it was to be in test"):
        collection.add_frames(collection.out / "test" / "a", frames)
    assert collection.add_frames(collection.out / "test" / "b", frames) == 1


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127])
def test_the_name_of_a_folder_may_be_as_long_as_names_can_be(collection, name):
    folder = collection.out / "train" / name
    assert collection.add_frames(folder, [np.zeros((4, 4), np.uint8)]) == 1
    assert os.listdir(folder.parent) == [name] and os.listdir(folder) == ["frame_00001.png"]


def test_a_file_that_cannot_be_linked_is_copied(source, collection):
    target = collection.out / "train" / "a.avi"
    collection.add_file(source, target)
    assert target.read_bytes() == b"film" and os.listdir(target.parent) == ["a.avi"]


@pytest.mark.parametrize(
    "stop, told", [(KeyboardInterrupt, KeyboardInterrupt), (OSError, UserError)]
)
def test_an_interrupted_copy_leaves_nothing(source, collection, monkeypatch, stop, told):
    target = collection.out / "train" / "a.avi"

    def copy(file, copied):
        copied.write_bytes(file.read_bytes()[:2])
        raise stop

    monkeypatch.setattr(shutil, "copy2", copy)
    with pytest.raises(told):
        collection.add_file(source, target)
    assert list(target.parent.iterdir()) == []


def test_two_runs_cannot_fill_a_collection(collection):
    told = pytest.raises(UserError, match="another process is writing to")
    with told, Collection(argparse.Namespace(out=collection.out)):
        pytest.fail("not reached")
