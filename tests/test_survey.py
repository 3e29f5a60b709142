"""How much moves in a folder, from a few of its blocks."""

import dataclasses
import types

import numpy as np
import pytest

from utils.recipe import Recipe
from utils.survey import add_motion, sample, shares, survey
from utils.tasks import Block
from utils.videos import find_videos

RECIPE = Recipe(2, 1, (8, 8), min_movement=1.0, exempt=0.0, seed=0)


def test_the_share_of_a_folder_is_the_mean_over_its_windows():
    motion = {}
    add_motion(motion, {"a": [4, 1.0]})
    add_motion(motion, {"a": [2, 2.0], "b": [0, 0.0], "": [3, 3.0]})
    assert shares(motion) == {"a": 0.5, "b": 0.0}


def test_a_sample_tells_the_share_of_crops_that_move(tmp_path):
    film = np.zeros((6, 8, 16, 3), np.uint8)
    film[::2, :, 15] = 200  # in one crop of nine
    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a" / "b.npy", film)
    (video,) = find_videos(tmp_path)
    seen = sample(Block(0, video, 0, 4), RECIPE)
    assert seen.motion == {"a": [4, pytest.approx(4 / 9)]} and seen.decoded == 6


@pytest.mark.parametrize("blocks", [3, 8, 9, 160])
def test_few_blocks_of_each_folder_are_looked_at_evenly(blocks):
    folders = {name: types.SimpleNamespace(name=f"{name}/x") for name in "ab"}
    every = [Block(n, folders[name], 0, 8) for name in "ab" for n in range(blocks)]
    looked = []
    assert survey(every, RECIPE, lambda function, some: looked.extend(some) or [], None) == {}
    for folder in folders.values():
        numbers = sorted(block.number for block in looked if block.video is folder)
        assert len(numbers) == min(blocks, 8)
        assert set(np.diff(numbers)) <= set(range(1, 2 * -(-blocks // 8)))


def test_another_seed_looks_at_other_blocks():
    video, looked = types.SimpleNamespace(name="a/x"), []
    every = [Block(n, video, 0, 8) for n in range(160)]
    for seed in (0, 0, 1):
        seen = dataclasses.replace(RECIPE, seed=seed)
        survey(every, seen, lambda function, some: looked.append(some) or [], None)
    assert looked[0] == looked[1] != looked[2]
