"""The pictures that show how a training goes."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import models
from utils.preview import Preview


class Store(list):
    def read(self, numbers):
        return np.stack([self[number] for number in numbers])


@pytest.fixture
def look(tmp_path):
    """Look at what a network predicts in an iteration, in tmp_path."""
    clips = np.random.default_rng(0).integers(0, 256, (6, 3, 3, 8, 8), np.uint8)
    store = Store(clips)
    gen = models.create("last-frame", 2, 1, 3, (8, 8))
    preview = Preview(store, gen)
    return lambda n: preview(SimpleNamespace(out=tmp_path, updater=SimpleNamespace(iteration=n)))


def shots(path):
    with Image.open(path) as animation:
        return animation.n_frames


def test_each_look_is_one_more_shot(look, tmp_path):
    for number in (10, 20, 30):
        look(number)
        assert (tmp_path / "samples" / f"preview_{number:08d}.png").exists()
    assert shots(tmp_path / "samples.gif") == 3


@pytest.mark.parametrize("looks", [1, 2, 3, 4, 5, 8, 9])
def test_the_animation_has_a_limit(look, tmp_path, monkeypatch, looks):
    monkeypatch.setattr("utils.preview.SHOTS", 4)
    for number in range(looks):
        look(number)
    assert shots(tmp_path / "samples.gif") == {5: 3, 8: 4, 9: 4}.get(looks, min(looks, 4))


def test_a_picture_cut_off_by_a_power_cut_costs_itself_only(look, tmp_path):
    look(10)
    look(20)
    first, second = sorted((tmp_path / "samples").glob("*.png"))
    first.write_bytes(first.read_bytes()[:100])
    Image.new("RGB", (5, 5)).save(second)  # of other clips
    os.mkfifo(tmp_path / "samples" / "preview_00000025.png")  # would be waited for
    look(30)
    assert shots(tmp_path / "samples.gif") == 1
