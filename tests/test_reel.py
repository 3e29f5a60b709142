"""Near copies among the frames of a block, beside one that cannot be read."""

import numpy as np
import pytest

from utils.cutting import Outcome
from utils.frames import BadFrame
from utils.recipe import Recipe
from utils.reel import Reel, is_copy
from utils.tasks import Block

BLACK = np.zeros((100, 100, 3), np.uint8)


@pytest.mark.parametrize(
    "pixels, levels, copy", [(10000, 10, True), (9, 11, True), (10, 11, False)]
)
def test_a_copy_differs_by_little_or_in_few_pixels(pixels, levels, copy):
    after = BLACK.copy()
    after.reshape(-1, 3)[:pixels, 1] = levels
    assert is_copy(BLACK, after) == is_copy(after, BLACK) == copy


def test_a_frame_that_cannot_be_read_is_no_copy_and_has_none(monkeypatch):
    class Video:
        size = BLACK.shape[:2]

        def frames(self, first):
            return iter([BLACK, BadFrame("1.png", "cannot be read"), BLACK, BLACK][first:])

    monkeypatch.setattr("utils.reel.empty", lambda shape, frame: np.zeros(shape, np.uint8))
    recipe = Recipe(3, 1, (8, 8), min_movement=1.0, exempt=0.0, seed=0, drop_copies=True)
    outcome = Outcome()
    film, usable, copies = Reel(recipe, outcome).load(Block(0, Video(), 0, 1))
    assert usable.tolist() == [True, False, True] and len(film) == 3
    assert (copies, outcome.skipped) == (1, {"1.png": "cannot be read"})


def test_a_copy_in_two_blocks_counts_once():
    class Video:
        size = BLACK.shape[:2]

        def frames(self, first):
            return iter([BLACK] * (9 - first))

    recipe = Recipe(3, 1, (8, 8), min_movement=1.0, exempt=0.0, seed=0, drop_copies=True)
    video, outcome = Video(), Outcome()
    reel = Reel(recipe, outcome)
    copies = 0
    for block in (Block(0, video, 0, 3), Block(1, video, 3, 3)):  # frames 0 to 5, 3 to 8
        film, _, more = reel.load(block)
        copies += more
        assert len(film) == 1
    assert (outcome.decoded, copies) == (9, 8)
