"""Moving crops of successive frames, cut from videos into a store.

The windows of a video (T successive frames) are dealt out in blocks small enough to hold in
memory, blocks in tasks that each fill their own places in the store. A task depends on nothing but
its own arguments, so the clips are the same whoever runs it.
"""

import collections
import dataclasses
import functools
import itertools
import math
from importlib import metadata

import numpy as np

from utils.draws import draw_exempt, draw_moving
from utils.errors import UserError
from utils.frames import BadFrame, Video
from utils.movement import UNIT, count_type, step_movement
from utils.store import ClipStore

BLOCK_WINDOWS = 64
BLOCK_BYTES = 2**26  # larger frames make smaller blocks
WORKING_BYTES = 8  # a pixel of a block: three colours, one movement sum, one flag


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a clip is: past and future frames, (height, width), which crops move enough."""

    history: int
    horizon: int
    size: tuple[int, int]
    min_movement: float
    exempt: float
    seed: int

    @property
    def frames(self):
        return self.history + self.horizon


@dataclasses.dataclass(frozen=True)
class Block:
    """Successive windows of one video; `number` seeds what is drawn from them."""

    number: int
    video: Video
    first: int
    windows: int


@dataclasses.dataclass(frozen=True)
class Visit:
    """A block with the numbers of clips drawn from it so far, and how many more it may give."""

    block: Block
    exempt: int = 0
    moving: int = 0
    more: int | None = None  # None: an even share


@dataclasses.dataclass(frozen=True)
class Task:
    """Clips to cut from some blocks into `places`, (start, stop) ranges of single shards."""

    visits: tuple[Visit, ...]
    places: tuple[tuple[int, int], ...]
    exempt: int

    @property
    def clips(self):
        return count_places(self.places)


@dataclasses.dataclass
class Outcome:
    """What became of a task."""

    clips: int = 0
    exempt: int = 0
    decoded: int = 0
    most_movement: float = -math.inf
    missing: list = dataclasses.field(default_factory=list)  # places left empty
    visits: list = dataclasses.field(default_factory=list)  # as they stand; more: crops left
    skipped: dict = dataclasses.field(default_factory=dict)  # path -> reason


def make_clips(videos, blocks, count, recipe, store, run, report):
    """Cut `count` clips into `store`, after those it has, or leave it as it was.

    `run` maps a function over tasks in order, on as many workers as it likes; `report(outcome)`
    hears of each finished task. UserError if there are not so many clips.
    """
    store.drop_unfinished()
    try:
        cut_clips(blocks, count, recipe, store, run, report)
    except BaseException:
        store.drop_unfinished() if len(store) else store.clear()
        raise
    store.commit(len(store) + count, describe(videos, count, recipe))


def describe(videos, count, recipe):
    """What a store records of one run, as JSON types."""
    return {
        "clips": count,
        **dataclasses.asdict(recipe),
        "sources": [
            {"name": printable(v.name), "frames": len(v), "size": v.size, "digest": v.digest}
            for v in videos
        ],
        "versions": {name: metadata.version(name) for name in ("numpy", "pillow", "tensorstore")},
    }


def printable(name):
    """A file name without bytes that are no text."""
    return name.encode(errors="backslashreplace").decode()


def find_blocks(videos, recipe, skip):
    """All windows of the videos as a list of Block; `skip(path, reason)` names useless videos."""
    blocks = []
    for video in videos:
        windows = len(video) - recipe.frames + 1
        if windows < 1:
            skip(video.folder, f"{len(video)} frames, a clip needs {recipe.frames}")
        elif video.size[0] < recipe.size[0] or video.size[1] < recipe.size[1]:
            sizes = ("x".join(map(str, size)) for size in (video.size, recipe.size))
            skip(video.folder, "frames of {}, smaller than a clip of {}".format(*sizes))
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


def cut_clips(blocks, count, recipe, store, run, report):
    """Write `count` clips behind the end of `store`, without declaring them finished."""
    start, total = len(store), len(store) + count
    work = functools.partial(cut_task, recipe=recipe, path=store.path, start=start, total=total)
    chosen, fresh = pick(blocks, count)
    tasks = deal(chosen, places_between(start, total, store.shard), recipe.exempt)
    visits, most, reach = {}, -math.inf, 1
    while tasks:
        missing = []
        for outcome in run(work, tasks):
            report(outcome)
            visits.update((visit.block.number, visit) for visit in outcome.visits)
            missing += outcome.missing
            most = max(most, outcome.most_movement)
        short = count_places(missing)
        if not short:
            return
        spared = [visit.block for visit in visits.values() if visit.more is None]
        for block in spared:
            del visits[block.number]
        fresh += spared
        if fresh:
            reach *= 2  # look further each time, lest almost still videos take many rounds
            chosen, fresh = pick(fresh, short * reach)
            tasks = deal(chosen, missing, 0)
        else:
            tasks = refill(list(visits.values()), missing, recipe.seed)
    if most < 0:
        raise UserError(
            f"nowhere can {recipe.frames} successive frames be read: mend the files named above"
        )
    left = sum(visit.more for visit in visits.values())
    raise UserError(
        f"only {count - short + left} of {count} clips can be cut: no other crop moves by more "
        f"than {recipe.min_movement:g} (the most seen is {most:.4g}); "
        "lower --min-movement or --clips, or give more video"
    )


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


def refill(visits, missing, seed):
    """Tasks that fill the missing places exactly, from blocks known to have more; [] if short."""
    short = count_places(missing)
    able = [visit for visit in visits if visit.more]
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


def cut_task(task, recipe, path, start, total):
    """Cut the clips of one task into the store at `path`; returns its Outcome."""
    outcome, store = Outcome(), open_once(path)
    crops = draw_crops(task, recipe, start, outcome)
    height, width = recipe.size
    rng = np.random.default_rng((recipe.seed, start, 0, task.places[0][0]))
    for begin, stop in task.places:
        clips = np.empty((stop - begin, *store.shape), np.uint8)
        count = 0
        for window, y, x in itertools.islice(crops, stop - begin):
            for clip_frame, frame in zip(clips[count], window, strict=True):
                clip_frame[:] = frame[y : y + height, x : x + width].transpose(2, 0, 1)
            count += 1
        if count:
            store.write(begin, clips[rng.permutation(count)], total)
        if begin + count < stop:
            outcome.missing.append((begin + count, stop))
        outcome.clips += count
    collections.deque(crops, maxlen=0)  # blocks it could do without report themselves as well
    return outcome


@functools.lru_cache(maxsize=1)
def open_once(path):
    return ClipStore.find(path)


def draw_crops(task, recipe, start, outcome):
    """Yield (window, y, x), window a list of T frames, until the task has its clips."""
    moving, exempt = task.clips - task.exempt, task.exempt
    windows = sum(visit.block.windows for visit in task.visits)
    held = {}
    for visit in task.visits:
        block = visit.block
        # What is still owed is spread over the windows to come: those where too
        # little moves hand their share on.
        wanted = visit.more
        if wanted is None:
            wanted = math.ceil(moving * block.windows / windows)
        free = exempt * block.windows // windows
        windows -= block.windows
        if not wanted + free:
            outcome.visits.append(visit)
            continue
        held = load(block, recipe.frames, held, outcome)
        frames = list(held.values())
        passing = find_moving(frames, recipe, outcome)
        seed = recipe.seed, start, 1, block.number
        free_crops = draw_exempt(passing, visit.exempt + free, seed)
        after, left = draw_moving(passing, visit.moving, wanted, seed)
        outcome.visits.append(Visit(block, len(free_crops), visit.moving + len(after), more=left))
        fresh = free_crops[visit.exempt :]
        outcome.exempt += len(fresh)
        exempt -= len(fresh)
        moving -= len(after)
        for first, y, x in fresh + after:
            yield frames[first : first + recipe.frames], y, x


def load(block, length, held, outcome):
    """Frames the block needs in order, path -> uint8 (H, W, C) or None where unusable.

    `held` are those of the block before: its last frames are this one's first.
    """
    video, frames = block.video, {}
    for index in range(block.first, block.first + block.windows + length - 1):
        path = video.path(index)
        if path in held:
            frames[path] = held[path]
            continue
        outcome.decoded += 1
        try:
            frames[path] = video.read(index)
        except BadFrame as bad:
            outcome.skipped[path] = bad.reason
            frames[path] = None
    return frames


def find_moving(frames, recipe, outcome):
    """For each window of successive frames, which crops move enough.

    Returns a list of bool (H-h+1, W-w+1), None for a window with an unusable frame.
    """
    steps, passing = collections.deque(maxlen=recipe.frames - 1), []
    dtype = None
    for before, after in itertools.pairwise(frames):
        if before is None or after is None:
            steps.append(None)
        else:
            dtype = count_type(recipe.size, before.shape[2], recipe.frames - 1)
            steps.append(step_movement(before, after, recipe.size, dtype))
        if len(steps) < steps.maxlen:
            continue
        if any(step is None for step in steps):
            passing.append(None)
            continue
        movement = functools.reduce(np.add, steps)
        outcome.most_movement = max(outcome.most_movement, float(movement.max()) / UNIT)
        passing.append(movement > recipe.min_movement * UNIT)
    return passing
