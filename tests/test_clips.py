"""Clips cut from videos of known frames: which, how many, in what state the store is left."""

import dataclasses
import functools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from tests.shared import PACMAN, needs_shared
from utils import cutting
from utils.clips import cut_clips, describe, make_clips
from utils.cutting import Outcome, add_motion
from utils.errors import UserError
from utils.frames import Look
from utils.journal import open_store
from utils.pixels import normalise
from utils.places import vacant
from utils.recipe import Recipe
from utils.store import ClipStore
from utils.tasks import (
    Block,
    Stock,
    deal,
    find_blocks,
    pick,
    refill,
    slots_between,
)
from utils.videos import find_videos

SIDE = 16  # of the generated frames


def recipe(**changes):
    usual = Recipe(history=2, horizon=1, size=(8, 8), min_movement=1.0, exempt=0.0, seed=0)
    return dataclasses.replace(usual, **changes)


def film(folder, frames, moving=range(1000), seed=0, side=SIDE):
    """Frames of noise where `moving`, repeated elsewhere; pixel [0, 0] holds the number."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    frame = np.zeros((side, side, 3), np.uint8)
    for number in range(frames):
        if number in moving:
            frame = rng.integers(0, 256, frame.shape, dtype=np.uint8)
        Image.fromarray(frame).save(folder / f"frame{number}.png")


class Made:
    """Clips made from `images` under `out`, with what was reported."""

    def __init__(self, images, out, count, recipe, existing=None, look=None):
        self.skipped, self.outcomes = {}, []
        videos = find_videos(images, self.skip, look or Look(gray=recipe.gray))
        blocks = find_blocks(videos, recipe, self.skip)
        record = describe(videos, count, recipe)
        store, finished = open_store(out, record, recipe.kind, existing, False)
        assert not finished
        make_clips(blocks, store, record, recipe, map, self.report)
        self.store = ClipStore.open(out)
        self.clips = self.store.read(np.arange(len(self.store)))

    def skip(self, path, reason):
        self.skipped[Path(path)] = reason

    def report(self, outcome):
        self.outcomes.append(outcome)
        for path, reason in outcome.skipped.items():
            self.skip(path, reason)

    def total(self, name):
        return sum(getattr(outcome, name) for outcome in self.outcomes)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Shards of 64 clips and blocks of 8 windows, so that few frames make many of each."""
    monkeypatch.setattr("utils.recipe.SHARD_BYTES", 64 * 3 * 3 * 8 * 8)
    monkeypatch.setattr("utils.tasks.BLOCK_WINDOWS", 8)


def movement(clips):
    return (np.diff(normalise(clips).astype(np.float64), axis=1) ** 2).sum((1, 2, 3, 4))


@needs_shared
def test_real_clips_are_successive_moving_crops(tmp_path):
    wanted = recipe(history=4, size=(32, 32), min_movement=100.0, exempt=0.05)
    made = Made(PACMAN, tmp_path / "clips", 300, wanted)
    assert made.clips.shape == (300, 5, 3, 32, 32)
    still = int((movement(made.clips) <= 100).sum())
    exempt = made.total("exempt")
    assert exempt == 15 and 0 < still <= exempt
    assert len(np.unique(made.clips.reshape(300, -1), axis=0)) > 290
    videos = [np.stack(list(video)).transpose(0, 3, 1, 2) for video in find_videos(PACMAN)]
    for clip in made.clips[:9]:
        assert any(is_within(clip, video) for video in videos)


def is_within(clip, video):
    """Whether `clip` is a crop of successive frames of `video`, both (T, C, H, W)."""
    starts, rows, columns = (video.shape[axis] - clip.shape[axis] + 1 for axis in (0, 2, 3))
    found = np.ones((starts, rows, columns), bool)
    for t, c, y, x in np.random.default_rng(0).integers(0, clip.shape, (60, 4)):
        found &= video[t : t + starts, c, y : y + rows, x : x + columns] == clip[t, c, y, x]
    length, _, height, width = clip.shape
    return any(
        np.array_equal(video[t : t + length, :, y : y + height, x : x + width], clip)
        for t, y, x in np.argwhere(found)
    )


def test_every_clip_once_when_all_are_asked_for(tmp_path):
    film(tmp_path / "in" / "a", 6)
    every = 4 * 9 * 9
    made = Made(tmp_path / "in", tmp_path / "out", every, recipe())
    assert len(np.unique(made.clips.reshape(every, -1), axis=0)) == every
    with pytest.raises(UserError, match=f"only {every} of {every + 1} clips can be cut"):
        Made(tmp_path / "in", tmp_path / "more", every + 1, recipe())
    assert vacant(tmp_path / "more")


@pytest.mark.parametrize("moving", [range(3), range(40, 60), range(0, 60, 20)])
def test_still_windows_hand_their_share_on(tmp_path, moving):
    film(tmp_path / "in" / "a", 60, moving)
    made = Made(tmp_path / "in", tmp_path / "out", 150, recipe())
    assert (movement(made.clips) > 1).all()
    assert len(np.unique(made.clips.reshape(150, -1), axis=0)) >= 140


def test_few_clips_from_much_video_where_little_moves(tmp_path):
    film(tmp_path / "in" / "a", 200, range(150, 156))
    made = Made(tmp_path / "in", tmp_path / "out", 5, recipe())
    assert (movement(made.clips) > 1).all()
    assert made.total("decoded") <= 202 + 25 * 2 + 20  # the good block thrice: cut, counted, cut


def test_nothing_moves(tmp_path):
    film(tmp_path / "in" / "a", 30, range(1))
    with pytest.raises(UserError, match=r"only 5 of 100 .* by 0\); lower --clips or --min-"):
        Made(tmp_path / "in", tmp_path / "out", 100, recipe(exempt=0.05))
    with pytest.raises(UserError, match=r"than 0 \(the most by 0\); lower --clips, or"):
        Made(tmp_path / "in", tmp_path / "out", 100, recipe(exempt=0.05, min_movement=0))
    assert vacant(tmp_path / "out")


def test_each_needed_frame_is_decoded_once(tmp_path, monkeypatch):
    for name in "abc":
        film(tmp_path / "in" / name, 40, seed=ord(name))
    made = Made(tmp_path / "in", tmp_path / "out", 1000, recipe())
    seams = (len(made.outcomes) - 1) * 2  # a window that spans two tasks
    assert len(made.outcomes) == 15 and made.total("decoded") <= 3 * 40 + seams
    few = Made(tmp_path / "in", tmp_path / "few", 8, recipe())
    assert [len(outcome.drawn) for outcome in few.outcomes] == [7]  # the first one gives two
    assert few.total("decoded") <= 8 * (8 + 2)


def test_the_blocks_of_a_task_have_even_shares_and_share_frames(tmp_path):
    film(tmp_path / "in" / "a", 8 * 8 + 2)
    made = Made(tmp_path / "in", tmp_path / "out", 64, recipe(exempt=0.1))
    (outcome,) = made.outcomes
    _, exempt, moving, _ = zip(*outcome.drawn, strict=True)
    assert (len(moving), sum(exempt), sum(moving)) == (8, 6, 58)
    assert max(exempt) - min(exempt) == max(moving) - min(moving) == 1
    assert outcome.decoded == 8 * 8 + 2


def test_bad_frames_are_named_once_and_never_bridged(tmp_path):
    film(tmp_path / "in" / "a", 30)
    folder = tmp_path / "in" / "a"
    whole = (folder / "frame9.png").read_bytes()
    (folder / "frame9.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (SIDE, SIDE + 1)).save(folder / "frame20.png")
    (folder / "frame15.txt").write_text("no gap")
    made = Made(tmp_path / "in", tmp_path / "out", 900, recipe(exempt=0.1))
    assert {path.name for path in made.skipped} == {"frame9.png", "frame20.png", "frame15.txt"}
    good = [i for i in range(30) if i not in {9, 20}]
    video = find_videos(tmp_path / "in")[0]
    frames = {i: video.read(i, i + 1)[0] for i in good}
    heads = {
        frames[i][y : y + 8, x : x + 8].transpose(2, 0, 1).tobytes(): (i, y, x)
        for i in good
        for y in range(9)
        for x in range(9)
    }
    firsts = set()
    for clip in made.clips:
        places = [heads[frame.tobytes()] for frame in clip]
        first, y, x = places[0]
        assert places == [(first + t, y, x) for t in range(3)]
        firsts.add(first)
    assert firsts == set(range(28)) - {7, 8, 9, 18, 19, 20}


def test_movement_beside_a_bad_frame_is_no_scene_cut(tmp_path):
    film(tmp_path / "in" / "a", 12)
    (tmp_path / "in" / "a" / "frame6.png").write_bytes(b"")
    made = Made(tmp_path / "in", tmp_path / "out", 500, recipe(scene_cut=0.1))
    assert [outcome.cut_windows for outcome in made.outcomes] == [0] * len(made.outcomes)


def test_same_seed_same_bytes(tmp_path):
    film(tmp_path / "in" / "a", 40)
    stores = [
        Made(tmp_path / "in", tmp_path / str(i), 200, recipe(seed=seed)).clips
        for i, seed in enumerate((3, 3, 4))
    ]
    assert np.array_equal(stores[0], stores[1]) and not np.array_equal(stores[0], stores[2])


def test_append_keeps_the_prefix_and_draws_anew(tmp_path):
    film(tmp_path / "in" / "a", 40)
    first = Made(tmp_path / "in", tmp_path / "out", 100, recipe())
    both = Made(tmp_path / "in", tmp_path / "out", 100, recipe(), "append")
    assert len(both.clips) == 200 and np.array_equal(both.clips[:100], first.clips)
    assert len(np.unique(both.clips.reshape(200, -1), axis=0)) > 180
    assert [run["clips"] for run in both.store.attributes["runs"]] == [100, 100]


def test_a_failed_append_leaves_the_store_as_it_was(tmp_path):
    film(tmp_path / "in" / "a", 6)
    first = Made(tmp_path / "in", tmp_path / "out", 100, recipe())
    with pytest.raises(UserError, match="only 324 of 500 clips"):
        Made(tmp_path / "in", tmp_path / "out", 500, recipe(), "append")
    store = ClipStore.open(tmp_path / "out")
    assert store.fingerprint == first.store.fingerprint
    assert np.array_equal(store.read(np.arange(100)), first.clips)


def test_a_task_that_outlives_its_run_writes_nothing_over_the_next_one(tmp_path, monkeypatch):
    film(tmp_path / "in" / "a", 30)
    images, out, wanted, left = tmp_path / "in", tmp_path / "out", recipe(), []

    def cancel(work, tasks):
        left.extend(functools.partial(work, task) for task in tasks)
        raise KeyboardInterrupt

    def overtake(*arguments):
        monkeypatch.setattr(cutting, "draw_crops", draw_crops)
        Made(images, out, 150, recipe(seed=1), "overwrite")
        return draw_crops(*arguments)

    videos, draw_crops = find_videos(images), cutting.draw_crops
    record = describe(videos, 150, wanted)
    store, _ = open_store(out, record, wanted.kind, None, False)
    with pytest.raises(KeyboardInterrupt):
        make_clips(find_blocks(videos, wanted, None), store, record, wanted, cancel, None)
    monkeypatch.setattr(cutting, "draw_crops", overtake)  # once the first of them is at work
    with pytest.raises(UserError, match="another run has taken the place of this one"):
        left[0]()
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert len(left) > 1 and ClipStore.open(out).runs[0]["seed"] == 1
    for work in left:
        with pytest.raises(UserError, match="another run has taken the place of this one"):
            work()
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert np.array_equal(Made(images, tmp_path / "b", 150, recipe(seed=1)).clips, read_all(out))


def read_all(path):
    store = ClipStore.open(path)
    return store.read(np.arange(len(store)))


def busy_then_calm(seed):
    """66 frames of SIDE pixels, for 8 blocks of 8 windows: five in which every crop moves, three in
    which none does. Block 1 has a scene cut, before frame 12, block 2 a copy, frame 20."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 100, (66, SIDE, SIDE, 3), dtype=np.uint8)
    frames[12:] += 150
    frames[20] = frames[19]
    frames[41:] = frames[40]
    frames[41::2, 8, 8] -= 50  # in every crop: too little to move, too much for a copy
    return frames


def find_windows(clips, films):
    """Where in the films, without their copies, clips lie, as (film, first frame, y, x),
    None for those from calm blocks."""
    heads = {
        crop.tobytes(): (number, first, y, x)
        for number, frames in enumerate(films)
        for first in range(39)
        for y, row in enumerate(sliding_window_view(frames[first], (8, 8, 3))[:, :, 0])
        for x, crop in enumerate(row)
    }
    for clip in clips.transpose(0, 1, 3, 4, 2):
        place = heads.get(clip[0].tobytes())
        if place:
            number, first, y, x = place
            there = films[number][first : first + len(clip), y : y + 8, x : x + 8]
            assert np.array_equal(clip, there)
        yield place


def block_of(film, first):
    """The number of the block whose window begins at a frame of a film without its copy."""
    return 8 * film + (first + (first >= 20)) // 8


def test_a_second_round_takes_what_blocks_have_left_and_counts_nothing_twice(tmp_path):
    films = busy_then_calm(0), busy_then_calm(1)
    for folder, frames in zip("AB", films, strict=True):
        (tmp_path / "in" / folder).mkdir(parents=True)
        np.save(tmp_path / "in" / folder / "a.npy", frames)
    wanted = recipe(exempt=0.2, scene_cut=0.2, drop_copies=True, seed=4)
    made = Made(tmp_path / "in", tmp_path / "out", 128, wanted)

    first, second = made.outcomes[:2], made.outcomes[-2:]
    assert [[n for n, *_ in outcome.drawn] for outcome in first] == [[*range(8)], [*range(8, 16)]]
    assert [[n for n, *_ in outcome.drawn] for outcome in second] == [[0, 1, 2], [0, 10, 11]]
    assert [outcome.decoded for outcome in second] == [10 + 8 + 8, 10 + (1 + 10) + 8]

    names = "clips", "exempt", "copies", "cut_windows"
    assert [made.total(name) for name in names] == [128, 2 * round(0.2 * 64), 2, 4]
    motion = {}
    for outcome in made.outcomes:
        add_motion(motion, outcome.motion)
    assert motion == {"A": [61, 37.0], "B": [61, 37.0]}  # a cut took 2 windows, a copy 1

    drawn = {n: drawn for outcome in made.outcomes for n, *drawn in outcome.drawn}
    for exempt, moving, left in drawn.values():
        assert not left or (exempt + moving + left) % 9**2 == 0  # all crops of busy blocks move
    places = list(find_windows(made.clips, [np.delete(frames, 20, axis=0) for frames in films]))
    busy = [place for place in places if place]
    assert len(set(busy)) == len(busy) == 128 - (movement(made.clips) <= 1).sum()
    found = Counter(block_of(*place[:2]) for place in busy)
    assert found == {n: sum(drawn[n][:2]) for n in drawn if n % 8 < 5}
    blocks = [block_of(*place[:2]) for place in places[:40] if place]
    assert blocks != sorted(blocks)  # clips are not in the order in which they were drawn


def test_useless_videos_are_named(tmp_path):
    film(tmp_path / "in" / "single", 1)
    film(tmp_path / "in" / "tiny", 9, side=7)
    with pytest.raises(UserError, match="no video has 3 frames of at least 8x8 pixels"):
        Made(tmp_path / "in", tmp_path / "out", 10, recipe())
    film(tmp_path / "in" / "good", 9)
    made = Made(tmp_path / "in", tmp_path / "out", 10, recipe())
    assert {path.name: reason for path, reason in made.skipped.items()} == {
        "single": "1 frames, a clip needs 3",
        "tiny": "frames of 7x7, smaller than a clip of 8x8",
    }


def test_the_store_describes_itself(tmp_path):
    film(tmp_path / "in" / "a", 9)
    made = Made(tmp_path / "in", tmp_path / "out", 10, recipe(seed=5))
    (run,) = made.store.attributes["runs"]
    assert (run["seed"], run["size"], run["min_movement"]) == (5, [8, 8], 1.0)
    assert [(s["name"], s["frames"], s["size"]) for s in run["sources"]] == [("a", 9, [16, 16])]
    assert set(run["versions"]) == {"numpy", "pillow", "imagecodecs", "av", "tensorstore"}


@pytest.mark.parametrize("side, most", [(1500, 8), (2500, 3), (4000, 3), (7500, 2), (2**14, 1)])
def test_blocks_of_large_frames_have_fewer_but_if_there_is_room_as_many_as_a_clip(side, most):
    class Large(list):
        size = side, side

    blocks = find_blocks([Large(range(40))], recipe(), None)
    assert [w for b in blocks for w in range(b.first, b.first + b.windows)] == list(range(38))
    assert max(block.windows for block in blocks) == most


@pytest.mark.parametrize("start, total", [(0, 1), (0, 64), (0, 65), (60, 64), (60, 200), (64, 65)])
def test_slots(start, total):
    places = slots_between(start, total, 64)
    assert [i for a, b in places for i in range(a, b)] == list(range(start, total))
    assert all(a // 64 == (b - 1) // 64 for a, b in places)


def test_pick_takes_no_more_than_needed(monkeypatch):
    monkeypatch.setattr("utils.tasks.FEWEST_BLOCKS", 20)
    blocks, rng = [Block(i, None, 0, 8) for i in range(100)], np.random.default_rng(0)
    for clips, count in ((1, 1), (8, 8), (80, 20), (240, 30), (799, 99), (800, 100), (10**6, 100)):
        chosen, rest = pick(blocks, clips, rng)
        assert len(chosen) == count and sorted(b.number for b in chosen + rest) == list(range(100))


def test_each_block_is_picked_sooner_or_later_and_one_in_each_stratum():
    blocks, found = [Block(i, None, 0, 64) for i in range(256)], set()
    for seed in range(20):
        numbers = [block.number for block in pick(blocks, 64, np.random.default_rng(seed))[0]]
        assert [number // 4 for number in numbers] == list(range(64))
        found.update(numbers)
    assert len(found) > 250


@pytest.mark.parametrize("again", [("c", 1, None), ("b", 0, "append")])
def test_few_clips_are_of_other_blocks_with_another_seed_and_when_appended(tmp_path, again):
    film(tmp_path / "in" / "a", 8 * 40 + 2)
    blocks = []
    for out, seed, existing in (("a", 0, None), ("b", 0, None), again):
        made = Made(tmp_path / "in", tmp_path / out, 10, recipe(seed=seed), existing)
        blocks.append([n for outcome in made.outcomes for n, *_ in outcome.drawn])
    assert blocks[0] == blocks[1] != blocks[2] and len(blocks[0]) == 10


@pytest.mark.parametrize("lengths", [(64,), (60, 2, 2), (1, 64, 64, 64), (64, 64, 64, 3)])
@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_each_task_has_a_block_and_each_block_a_task(lengths, count):
    blocks = [Block(i, None, 0, 8) for i in range(count)]
    places = [(100 * i, 100 * i + length) for i, length in enumerate(lengths)]
    tasks = deal(blocks, places, 16)
    assert len(tasks) == min(len(places), count) and all(task.visits for task in tasks)
    assert [visit.block for task in tasks for visit in task.visits] == blocks
    assert [place for task in tasks for place in task.slots] == places
    assert sum(task.exempt for task in tasks) == 16
    assert all(abs(task.exempt - 16 / sum(lengths) * task.clips) <= 1 for task in tasks)


def test_tasks_of_few_clips_have_exempt_ones_too():
    blocks = [Block(i, None, 0, 8) for i in range(64)]
    tasks = deal(blocks, [(i, i + 9) for i in range(0, 360, 9)], 18)  # one in twenty
    shares = [task.exempt for task in tasks]
    assert sum(shares) == sum(shares[:20]) * 2 == 18 and max(shares) == 1


def test_few_exempt_clips_are_not_all_from_the_last_blocks(tmp_path):
    film(tmp_path / "in" / "a", 8 * 8 + 2)
    blocks = set()
    for seed in range(5):
        made = Made(tmp_path / "in", tmp_path / str(seed), 64, recipe(exempt=0.04, seed=seed))
        (outcome,) = made.outcomes
        exempt = [number for number, exempt, *_ in outcome.drawn if exempt]
        assert len(exempt) == outcome.exempt == 3
        blocks.update(exempt)
    assert len(blocks) > 5


def test_exempt_clips_that_the_first_blocks_lack_are_of_later_ones(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.tasks.FEWEST_BLOCKS", 1)
    film(tmp_path / "in" / "a", 80, range(1))
    for number in range(70):
        (tmp_path / "in" / "a" / f"frame{number}.png").write_bytes(b"")
    made = Made(tmp_path / "in", tmp_path / "out", 8, recipe(exempt=1.0, seed=1))
    assert len(made.outcomes) > 1 and made.total("exempt") == len(made.clips) == 8


def test_blocks_that_a_task_did_not_look_at_are_dealt_again(tmp_path):
    looked = []

    def find_nothing(work, tasks):
        for task in tasks:
            looked.append(task.visits[0].block.number)
            yield Outcome(drawn=[(looked[-1], 0, 0, 0)], missing=task.slots)

    wanted, blocks = recipe(exempt=0.25), [Block(i, None, 0, 8) for i in range(40)]
    store = ClipStore.create(tmp_path, *wanted.kind)
    with pytest.raises(UserError, match="no 3 successive frames are usable"):
        cut_clips(blocks, 128, wanted, store, find_nothing, lambda outcome: None)
    assert sorted(looked) == list(range(40))


def test_missing_clips_are_taken_from_what_blocks_have_to_the_last():
    left = {0: 3, 1: 0, 2: 2, 3: None}
    stocks = [Stock(Block(i, None, 0, 8), 0, 10, n) for i, n in left.items()]
    tasks = refill(stocks, [(0, 4), (7, 8)], seed=0)
    drawn = [
        (visit.block.number, number)
        for task in tasks
        for visit in task.visits
        for number in range(visit.moving, visit.moving + visit.more)
    ]
    assert sorted(drawn) == [(0, 10), (0, 11), (0, 12), (2, 10), (2, 11)]
    assert [sum(visit.more for visit in task.visits) for task in tasks] == [4, 1]
    assert refill(stocks, [(0, 4), (7, 9)], seed=0) == []


def test_a_video_is_read_on_not_back_when_clips_are_missing():
    stocks = [Stock(Block(i, None, 8 * i, 8), 0, 10, 5) for i in range(40)]
    for task in refill(stocks, [(0, 64), (64, 128)], seed=0):
        numbers = [visit.block.number for visit in task.visits]
        assert len(numbers) > 10 and numbers == sorted(set(numbers))


def test_nothing_can_be_read(tmp_path):
    film(tmp_path / "in" / "a", 4)
    for path in (tmp_path / "in" / "a").iterdir():
        path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match="no 3 .* are usable: repair the files named above$"):
        Made(tmp_path / "in", tmp_path / "out", 10, recipe())


@pytest.mark.parametrize("side", [SIDE, 6 * SIDE])  # crops are looked at one by one in large ones
def test_cuts_everywhere_are_not_told_as_too_little_movement(tmp_path, side):
    film(tmp_path / "in" / "a", 6, moving=range(0, 6, 2), side=side)
    with pytest.raises(UserError, match="no 3 successive frames are usable: raise --scene-cut$"):
        Made(tmp_path / "in", tmp_path / "out", 10, recipe(scene_cut=0.1))
