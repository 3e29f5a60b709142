"""Who cuts which clips: blocks of videos, shared out in tasks that each fill their own slots.

A window is T successive frames of a video. Windows are grouped into blocks small enough to hold in
memory, and blocks are dealt to tasks. A task depends on nothing but its own arguments, so the clips
are the same whichever worker runs it.
"""

import collections
import dataclasses
import itertools
import math

import numpy as np

from utils.errors import UserError
from utils.frames import Video, describe_size
from utils.journal import identity

BLOCK_WINDOWS = 64
BLOCK_BYTES = 2**27  # larger frames make smaller blocks
MOST_BYTES = 2**30  # of a block with as many windows as a clip has frames, if that has more
FEWEST_BLOCKS = 64  # that clips are drawn from, if there are as many: few clips shall be varied
WORKING_BYTES = 4  # a pixel of a block: three colours, one flag


@dataclasses.dataclass(frozen=True)
class Block:
    """Successive windows of one video, from frame `first` on; `number` seeds what is drawn."""

    number: int
    video: Video
    first: int
    windows: int


@dataclasses.dataclass(frozen=True)
class Visit:
    """A block that a task draws clips from.

    `exempt`, `moving`: how many were drawn at earlier visits. `more`: how many moving ones to draw
    now; None, at the first visit, for an even share of what the task needs.
    """

    block: Block
    exempt: int = 0
    moving: int = 0
    more: int | None = None


@dataclasses.dataclass(frozen=True)
class Stock:
    """What is known of a block that was drawn from.

    `exempt`, `moving`: how many clips have been drawn. `left`: how many moving ones remain, None if
    they have not been counted.
    """

    block: Block
    exempt: int
    moving: int
    left: int | None

    def visit(self, more):
        """A Visit that draws so many more moving clips."""
        return Visit(self.block, self.exempt, self.moving, more)


@dataclasses.dataclass(frozen=True)
class Task:
    """Clips to cut from some blocks into `slots`, (start, stop) ranges within single shards.

    `exempt`: how many of them need not move.
    """

    visits: tuple[Visit, ...]
    slots: tuple[tuple[int, int], ...]
    exempt: int

    @property
    def clips(self):
        """How many are to be cut."""
        return count_slots(self.slots)

    @property
    def key(self):
        """What the clips depend on, as JSON types."""
        visits = [
            (v.block.number, v.block.video.digest, v.block.first, v.exempt, v.moving, v.more)
            for v in self.visits
        ]
        return visits, self.slots, self.exempt


@dataclasses.dataclass(frozen=True)
class Count:
    """The task of counting the moving crops that a block has left, for a Stock that lacks that."""

    stock: Stock

    @property
    def key(self):
        """What the count depends on, as JSON types."""
        block = self.stock.block
        return block.number, block.video.digest, block.first, self.stock.exempt, self.stock.moving


def find_blocks(videos, recipe, skip):
    """All windows of the videos as a list of Block; `skip(path, reason)` is called for videos too
    short or too small; UserError if all are."""
    blocks = []
    for video in videos:
        windows = len(video) - recipe.frames + 1
        if windows < 1:
            skip(video.path, f"{len(video)} frames, a clip needs {recipe.frames}")
        elif video.size[0] < recipe.size[0] or video.size[1] < recipe.size[1]:
            found, wanted = map(describe_size, (video.size, recipe.size))
            skip(video.path, f"frames of {found}, smaller than a clip of {wanted}")
        else:
            # In a block of fewer windows than a clip has frames, most of the work is on frames that
            # the next block has, too.
            frame = WORKING_BYTES * math.prod(video.size)
            fit, most = (size // frame - recipe.frames + 1 for size in (BLOCK_BYTES, MOST_BYTES))
            step = min(BLOCK_WINDOWS, max(1, fit, min(recipe.frames, most)))
            for first in range(0, windows, step):
                block = Block(len(blocks), video, first, min(step, windows - first))
                blocks.append(block)
    if not blocks:
        raise UserError(
            f"no video has {recipe.frames} frames of at least "
            f"{recipe.size[0]}x{recipe.size[1]} pixels: give longer or larger videos, "
            "or lower --history, --horizon, --size or --step"
        )
    return blocks


def count_crops(blocks, size):
    """How many crops of `size` (height, width) all windows have, whether they move or not."""
    rooms = ([a - b + 1 for a, b in zip(block.video.size, size, strict=True)] for block in blocks)
    return sum(block.windows * math.prod(room) for block, room in zip(blocks, rooms, strict=True))


def slots_between(start, total, shard):
    """The clips from `start` to `total` as (start, stop) ranges of single shards."""
    bounds = [start, *range((start // shard + 1) * shard, total, shard), total]
    return list(zip(bounds[:-1], bounds[1:], strict=True))


def pick(blocks, clips, rng):
    """Split blocks into (random ones, evenly spread, with as many windows as `clips`; the rest).

    There are at least FEWEST_BLOCKS of them, but no more than clips.
    """
    windows = sum(block.windows for block in blocks)
    count = max(len(blocks) * clips // windows, min(clips, FEWEST_BLOCKS))
    chosen = set(spread(len(blocks), count, rng))
    rest = [block for i, block in enumerate(blocks) if i not in chosen]
    return [blocks[i] for i in sorted(chosen)], rest


def spread(length, count, rng):
    """Up to `count` random indices of range(length), ascending, one in each of as many strata."""
    count = min(length, count)
    edges = [length * i // count for i in range(count + 1)]
    return rng.integers(edges[:-1], edges[1:]).tolist()


def deal(blocks, slots, exempt):
    """Tasks that share out the slots; each gets neighbouring blocks in proportion to its slots.

    exempt: how many of the clips need not move.
    """
    count = min(len(slots), len(blocks))
    cuts = [len(slots) * i // count for i in range(count + 1)]
    groups = [tuple(slots[a:b]) for a, b in itertools.pairwise(cuts)]
    total, dealt, free, first, tasks = count_slots(slots), 0, 0, 0, []
    for number, group in enumerate(groups, 1):
        dealt += count_slots(group)
        # Rounded for all tasks so far, not for each: a task of few clips would never have one.
        free, before = round(exempt * dealt / total), free
        spare = len(blocks) - (len(groups) - number)  # each later task needs a block, too
        last = min(max(len(blocks) * dealt // total, first + 1), spare)
        visits = tuple(Visit(block) for block in blocks[first:last])
        tasks.append(Task(visits, group, free - before))
        first = last
    return tasks


def count_slots(slots):
    """How many clips ranges (start, stop) hold."""
    return sum(stop - start for start, stop in slots)


def count_rest(stocks, short, seed):
    """Yield lists of Count until `short` clips are known to be left in blocks.

    stocks: {number of the block: Stock}, which the caller updates by running each list's tasks.
    """
    unknown = [number for number in sorted(stocks) if stocks[number].left is None]
    unknown = np.random.default_rng(seed).permutation(unknown).tolist()
    known, several = [stock for stock in stocks.values() if stock.left], 1
    while unknown and sum(min(stock.left, BLOCK_WINDOWS) for stock in known) < short:
        some, unknown = sorted(unknown[:several]), unknown[several:]
        yield [Count(stocks[number]) for number in some]
        known += [stocks[number] for number in some]
        several *= 2


def refill(stocks, missing, seed):
    """Tasks that fill the missing slots exactly, from blocks known to have more; [] if short."""
    short = count_slots(missing)
    able = [stock for stock in stocks if stock.left]
    if sum(stock.left for stock in able) < short:
        return []
    level = BLOCK_WINDOWS  # much from few blocks, since each has to be decoded a second time
    while sum(min(stock.left, level) for stock in able) < short:
        level *= 2
    queue = collections.deque(
        (able[i], min(able[i].left, level))
        for i in np.random.default_rng(seed).permutation(len(able))
    )
    tasks = []
    for start, stop in missing:
        mine, need = [], stop - start
        while need:
            stock, more = queue.popleft()
            take = min(need, more)
            mine.append(stock.visit(take))
            need -= take
            if take < more:
                rest = dataclasses.replace(stock, moving=stock.moving + take)
                queue.appendleft((rest, more - take))
        mine.sort(key=lambda visit: visit.block.number)  # some films can only be read onwards
        tasks.append(Task(tuple(mine), ((start, stop),), 0))
    return tasks


def describe_task(task, recipe, start, total):
    """A name that two tasks, each a Task or a Count, share only if their outcomes are the same."""
    return identity([*task.key, dataclasses.asdict(recipe), start, total])
