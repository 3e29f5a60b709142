"""Near copies among the frames of a block, beside one that cannot be read."""

import numpy as np
import pytest

from utils.cutting import Outcome
from utils.frames import BadFrame
from utils.recipe import Recipe
from utils.reel import Reel, is_copy
from utils.tasks import Block

BLACK = np.zeros((100, 100, 3), np.uint8)
RECIPE = Recipe(3, 1, (8, 8), min_movement=1.0, exempt=0.0, seed=0, drop_copies=True)


class Video(list):
    """Frames, or what stands for one that cannot be read."""

    size = BLACK.shape[:2]

    def frames(self, first):
        return iter(self[first:])


def shots(*lengths):
    """A Video of so many equal frames each, shades of grey."""
    return Video(BLACK + 20 * shade for shade, length in enumerate(lengths) for _ in range(length))


def windows(film):
    """The shades of the frames of each window, for RECIPE."""
    shades = film[:, 0, 0, 0] // 20
    return [shades[first : first + 4].tolist() for first in range(len(film) - 3)]


@pytest.mark.parametrize(
    "pixels, levels, copy", [(10000, 10, True), (9, 11, True), (10, 11, False)]
)
def test_a_copy_differs_by_little_or_in_few_pixels(pixels, levels, copy):
    after = BLACK.copy()
    after.reshape(-1, 3)[:pixels, 1] = levels
    assert is_copy(BLACK, after) == is_copy(after, BLACK) == copy


def test_a_frame_that_cannot_be_read_is_no_copy_and_has_none():
    video, outcome = Video([BLACK] * 7), Outcome()
    video[1] = BadFrame("1.png", "cannot be read")
    film, usable, copies = Reel(RECIPE, outcome).load(Block(0, video, 0, 4))
    assert usable.tolist() == [True, False, True] and len(film) == 3
    assert (copies, outcome.skipped) == (1, {"1.png": "cannot be read"})


def test_a_block_of_nothing_but_copies_has_no_window_and_each_counts_once():
    video, outcome = shots(9), Outcome()
    reel = Reel(RECIPE, outcome)
    first, _, copies = reel.load(Block(0, video, 0, 3))
    second, usable, more = reel.load(Block(1, video, 3, 3))
    assert (len(first), len(second), usable.tolist()) == (1, 1, [False])
    assert (outcome.decoded, copies, more) == (9, 2, 3)


@pytest.mark.parametrize("step", [1, 2, 5, 64])
def test_without_copies_blocks_have_all_windows_once_whoever_loads_them(step):
    video, outcome, found = shots(2, 1, 2, 2, 1, 2, 1, 1, 2), Outcome(), []
    reel, starts = Reel(RECIPE, outcome), len(video) - 3
    for first in range(0, starts, step):
        block = Block(0, video, first, min(step, starts - first))
        film, usable, copies = reel.load(block)
        found += windows(film)
        alone, good, same = Reel(RECIPE, Outcome()).load(block)
        assert np.array_equal(alone[good], film[usable])
        assert np.array_equal(good, usable) and copies == same
    assert found == [[n, n + 1, n + 2, n + 3] for n in range(6)]
    assert outcome.decoded == len(video)


def test_a_still_shot_is_not_read_to_its_end():
    outcome = Outcome()
    film, _, copies = Reel(RECIPE, outcome).load(Block(0, shots(1, 1, 1000), 0, 8))
    assert (len(film), copies, outcome.decoded) == (3, 5, 2 * (8 + 3))
