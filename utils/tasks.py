"""Who cuts which clips: blocks of videos, shared out in tasks that each fill their own places.

The windows of a video (T successive frames) are dealt out in blocks small enough to hold in
memory, blocks in tasks. A task depends on nothing but its own arguments, so the clips are the same
whoever runs it.
"""

import collections
import dataclasses
import itertools

import numpy as np

from utils.errors import UserError
from utils.frames import Video, describe_size
from utils.journal import identity

BLOCK_WINDOWS = 64
BLOCK_BYTES = 2**27  # larger frames make smaller blocks
WORKING_BYTES = 4  # a pixel of a block: three colours, one flag
UNCOUNTED = -1  # more clips in a block than were asked of it


@dataclasses.dataclass(frozen=True)
class Block:
    """Successive windows of one video; `number` seeds what is drawn from them."""

    number: int
    video: Video
    first: int
    windows: int


@dataclasses.dataclass(frozen=True)
class Visit:
    """A block with the numbers of clips drawn from it so far, and how many more it may give.

    `more`: None for an even share. As a result it is the number left, or UNCOUNTED.
    """

    block: Block
    exempt: int = 0
    moving: int = 0
    more: int | None = None


@dataclasses.dataclass(frozen=True)
class Task:
    """Clips to cut from some blocks into `places`, (start, stop) ranges of single shards.

    Without places, the crops that are left in the blocks are counted.
    """

    visits: tuple[Visit, ...]
    places: tuple[tuple[int, int], ...]
    exempt: int

    @property
    def clips(self):
        return count_places(self.places)


def find_blocks(videos, recipe, skip):
    """All windows of the videos as a list of Block; `skip(path, reason)` names useless videos."""
    blocks = []
    for video in videos:
        windows = len(video) - recipe.frames + 1
        if windows < 1:
            skip(video.path, f"{len(video)} frames, a clip needs {recipe.frames}")
        elif video.size[0] < recipe.size[0] or video.size[1] < recipe.size[1]:
            found, wanted = map(describe_size, (video.size, recipe.size))
            skip(video.path, f"frames of {found}, smaller than a clip of {wanted}")
        else:
            fit = BLOCK_BYTES // (WORKING_BYTES * video.size[0] * video.size[1])
            step = min(BLOCK_WINDOWS, max(1, fit - recipe.frames + 1))
            for first in range(0, windows, step):
                block = Block(len(blocks), video, first, min(step, windows - first))
                blocks.append(block)
    if not blocks:
        raise UserError(
            f"no video has {recipe.frames} frames of at least "
            f"{recipe.size[0]}x{recipe.size[1]} pixels: give longer or larger videos, "
            "or lower --history, --horizon or --size"
        )
    return blocks


def places_between(start, total, shard):
    """The clips from `start` to `total` as (start, stop) ranges of single shards."""
    bounds = [start, *range((start // shard + 1) * shard, total, shard), total]
    return list(zip(bounds[:-1], bounds[1:], strict=True))


def pick(blocks, clips):
    """Split blocks: enough, evenly spaced, that each window gives a clip or so; the rest."""
    windows = sum(block.windows for block in blocks)
    count = max(1, min(len(blocks), len(blocks) * clips // windows))
    chosen = {i * len(blocks) // count for i in range(count)}
    rest = [block for i, block in enumerate(blocks) if i not in chosen]
    return [blocks[i] for i in sorted(chosen)], rest


def deal(blocks, places, exempt):
    """Tasks that share out the places, with neighbouring blocks for each in proportion."""
    count = min(len(places), len(blocks))
    cuts = [len(places) * i // count for i in range(count + 1)]
    groups = [tuple(places[a:b]) for a, b in itertools.pairwise(cuts)]
    total, dealt, first, tasks = count_places(places), 0, 0, []
    for number, group in enumerate(groups, 1):
        dealt += count_places(group)
        spare = len(blocks) - (len(groups) - number)  # each later task needs a block, too
        last = min(max(len(blocks) * dealt // total, first + 1), spare)
        visits = tuple(Visit(block) for block in blocks[first:last])
        tasks.append(Task(visits, group, round(exempt * count_places(group))))
        first = last
    return tasks


def count_places(places):
    return sum(stop - start for start, stop in places)


def count_rest(visits, short, seed):
    """Yield tasks that count what is left in blocks, until so many clips are known to be there."""
    unknown = [number for number in sorted(visits) if visits[number].more == UNCOUNTED]
    unknown = np.random.default_rng(seed).permutation(unknown).tolist()
    known, several = [visit for visit in visits.values() if visit.more > 0], 1
    while unknown and sum(min(visit.more, BLOCK_WINDOWS) for visit in known) < short:
        some, unknown = sorted(unknown[:several]), unknown[several:]
        yield [Task((visits[number],), (), 0) for number in some]
        known += [visits[number] for number in some]
        several *= 2


def refill(visits, missing, seed):
    """Tasks that fill the missing places exactly, from blocks known to have more; [] if short."""
    short = count_places(missing)
    able = [visit for visit in visits if visit.more > 0]
    if sum(visit.more for visit in able) < short:
        return []
    level = BLOCK_WINDOWS  # few blocks giving much: each is decoded a second time
    while sum(min(visit.more, level) for visit in able) < short:
        level *= 2
    queue = collections.deque(
        (able[i], min(able[i].more, level))
        for i in np.random.default_rng(seed).permutation(len(able))
    )
    tasks = []
    for start, stop in missing:
        mine, need = [], stop - start
        while need:
            visit, more = queue.popleft()
            take = min(need, more)
            mine.append(dataclasses.replace(visit, more=take))
            need -= take
            if take < more:
                rest = dataclasses.replace(visit, moving=visit.moving + take)
                queue.appendleft((rest, more - take))
        tasks.append(Task(tuple(mine), ((start, stop),), 0))
    return tasks


def describe_task(task, recipe, start, total):
    """A name that two tasks share only if they make the same clips."""
    visits = [
        (v.block.number, v.block.video.digest, v.block.first, v.exempt, v.moving, v.more)
        for v in task.visits
    ]
    recipe = dataclasses.asdict(recipe)
    return identity([visits, task.places, task.exempt, recipe, start, total])
