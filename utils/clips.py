"""Moving crops of successive frames, cut from videos into a store.

The windows of a video (T successive frames) are dealt out in blocks small enough to hold in
memory, blocks in tasks that each fill their own places in the store. A task depends on nothing but
its own arguments, so the clips are the same whoever runs it; what became of it is noted beside the
clips, so an interrupted run goes on where it was.
"""

import collections
import dataclasses
import functools
import itertools
import math
from importlib import metadata

import numpy as np

from utils.draws import count_moving, draw_exempt, draw_moving
from utils.errors import UserError
from utils.frames import BadFrame, Video, describe_size
from utils.journal import Journal, identity
from utils.movement import UNIT, Motion, difference, find_cuts, mean_changes
from utils.store import ClipStore

BLOCK_WINDOWS = 64
BLOCK_BYTES = 2**27  # larger frames make smaller blocks
WORKING_BYTES = 4  # a pixel of a block: three colours, one flag
VERSIONS = (
    "numpy",
    "pillow",
    "imagecodecs",
    "av",
    "tensorstore",
)  # that decide what clips look like
RULES = 2  # raised whenever the same options come to mean other clips
UNCOUNTED = -1  # more clips in a block than were asked of it
COPY_LEVELS, COPY_SHARE = 10, 0.001  # a near copy: fewer pixels than this change by more levels


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a clip is: past and future frames, (height, width), which crops move enough.

    `scene_cut`: mean change of a frame, as a share of full scale, from which on a step is none of
    motion; `drop_copies`: leave out frames that are near copies of the one before.
    """

    history: int
    horizon: int
    size: tuple[int, int]
    min_movement: float
    exempt: float
    seed: int
    gray: bool = False
    scene_cut: float = 1.0
    drop_copies: bool = False

    @property
    def frames(self):
        return self.history + self.horizon

    @property
    def channels(self):
        return 1 if self.gray else 3

    @property
    def clips(self):
        """What ClipStore.create wants to know."""
        return self.history, self.horizon, self.size, self.channels


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


@dataclasses.dataclass
class Outcome:
    """What became of a task, in types that JSON can write."""

    clips: int = 0
    exempt: int = 0
    decoded: int = 0
    copies: int = 0  # frames left out as near copies
    cut_windows: int = 0  # windows left out for a scene cut
    most_movement: float = -1.0
    missing: list = dataclasses.field(default_factory=list)  # places left empty
    # number of a block -> clips drawn so far (exempt, moving), crops left, as in a Visit
    drawn: dict = dataclasses.field(default_factory=dict)
    skipped: dict = dataclasses.field(default_factory=dict)  # path -> reason
    # category -> [windows, sum of the shares of their crops that move], of a sample
    motion: dict = dataclasses.field(default_factory=dict)


def make_clips(blocks, store, record, recipe, run, report):
    """Cut the clips that `record` counts into `store`, after those it has.

    `run` maps a function over tasks in order, on as many workers as it likes; `report(outcome)`
    hears of each finished task. UserError if there are not so many clips; the store then is as it
    was. Whatever else ends it early leaves notes of what is done, for the next attempt.
    """
    try:
        cut_clips(blocks, record["clips"], recipe, store, run, report)
    except Shortage:
        store.drop_unfinished() if len(store) else store.clear()
        raise
    store.commit(len(store) + record["clips"], record)
    Journal(store).discard()


class Shortage(UserError):
    """The videos have fewer clips than asked for."""


def describe(videos, count, recipe):
    """What a store records of one run, as JSON types."""
    return {
        "clips": count,
        "rules": RULES,
        **dataclasses.asdict(recipe),
        "size": list(recipe.size),
        "sources": [
            {
                "name": printable(video.name),
                "frames": len(video),
                "size": list(video.size),
                "step": video.look.step,
                "digest": video.digest,
            }
            for video in videos
        ],
        "versions": {name: metadata.version(name) for name in VERSIONS},
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


def cut_clips(blocks, count, recipe, store, run, report):
    """Write `count` clips behind the end of `store`, without declaring them finished."""
    start, total = len(store), len(store) + count
    work = functools.partial(cut_task, recipe=recipe, path=store.path, start=start, total=total)
    chosen, fresh = pick(blocks, count)
    tasks = deal(chosen, places_between(start, total, store.shard), recipe.exempt)
    numbered = {block.number: block for block in blocks}
    visits, most, reach = {}, -1.0, 1

    def do(tasks):
        """Run the tasks; returns the places that they could not fill."""
        nonlocal most
        missing = []
        for outcome in run(work, tasks):
            report(outcome)
            for number, drawn in outcome.drawn.items():
                visits[int(number)] = Visit(numbered[int(number)], *drawn)
            missing += outcome.missing
            most = max(most, outcome.most_movement)
        return missing

    while tasks:
        missing = do(tasks)
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
            for tasks in count_rest(visits, short, recipe.seed):
                do(tasks)
            tasks = refill(list(visits.values()), missing, recipe.seed)
    if most < 0:
        raise Shortage(
            f"nowhere can {recipe.frames} successive frames be read: mend the files named above"
        )
    left = sum(visit.more for visit in visits.values())
    raise Shortage(
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


def cut_task(task, recipe, path, start, total):
    """Cut the clips of one task into the store at `path`; returns its Outcome.

    A task that an earlier run has done is not done again.
    """
    store = open_once(path)
    if store is None:
        raise UserError(f"a worker sees nothing at {path}: give a place that all of them share")
    journal, name = Journal(store), describe_task(task, recipe, start, total)
    done = journal.recall(name)
    if done is None:
        done = dataclasses.asdict(cut(task, recipe, store, start, total))
        journal.note(name, done)
    return Outcome(**done)


def describe_task(task, recipe, start, total):
    """A name that two tasks share only if they make the same clips."""
    visits = [
        (v.block.number, v.block.video.digest, v.block.first, v.exempt, v.moving, v.more)
        for v in task.visits
    ]
    recipe = dataclasses.asdict(recipe)
    return identity([visits, task.places, task.exempt, recipe, start, total])


def cut(task, recipe, store, start, total):
    outcome = Outcome()
    crops = draw_crops(task, recipe, start, outcome)
    height, width = recipe.size
    for begin, stop in task.places:
        # In the order in which the store compresses them: whole rows of pixels are copied.
        clips = np.empty((stop - begin, height, recipe.frames, width, recipe.channels), np.uint8)
        rng = np.random.default_rng((recipe.seed, start, 0, begin))
        order, count = rng.permutation(stop - begin), 0
        for window, y, x in itertools.islice(crops, stop - begin):
            clips[order[count]] = window[:, y : y + height, x : x + width].swapaxes(0, 1)
            count += 1
        if count:
            filled = clips if count == len(clips) else clips[np.sort(order[:count])]
            store.write(begin, filled.transpose(0, 2, 4, 1, 3), total)
        if begin + count < stop:
            outcome.missing.append((begin + count, stop))
        outcome.clips += count
    collections.deque(crops, maxlen=0)  # blocks it could do without report themselves as well
    if task.visits[0].more is not None:  # told at an earlier visit
        outcome.copies = outcome.cut_windows = 0
    return outcome


@functools.lru_cache(maxsize=1)
def open_once(path):
    return ClipStore.find(path)


def draw_crops(task, recipe, start, outcome):
    """Yield (window, y, x), window uint8 (T, H, W, C), until the task has its clips."""
    moving, exempt = task.clips - task.exempt, task.exempt
    windows = sum(visit.block.windows for visit in task.visits)
    reel = Reel(recipe, outcome)
    for visit in task.visits:
        block = visit.block
        # What is still owed is spread over the windows to come: those where too
        # little moves hand their share on.
        wanted = visit.more
        if wanted is None:
            wanted = math.ceil(moving * block.windows / windows)
        free = exempt * block.windows // windows
        windows -= block.windows
        if task.places and not wanted + free:
            outcome.drawn[block.number] = visit.exempt, visit.moving, visit.more
            continue
        film, usable = reel.load(block)
        motion = watch(film, usable, recipe, outcome)
        seed = recipe.seed, start, 1, block.number
        free_crops = draw_exempt(motion, visit.exempt + free, seed)
        if task.places:
            sample = outcome.motion.setdefault(category(block.video), [0, 0.0])
            limits = visit.moving, wanted, seed, sample
            after, left = draw_moving(motion, free_crops, *limits)
        else:
            after, left = [], count_moving(motion, free_crops) - visit.moving
        more = UNCOUNTED if left is None else left
        outcome.drawn[block.number] = len(free_crops), visit.moving + len(after), more
        outcome.most_movement = max(outcome.most_movement, motion.most / UNIT)
        fresh = free_crops[visit.exempt :]
        outcome.exempt += len(fresh)
        exempt -= len(fresh)
        moving -= len(after)
        for first, y, x in fresh + after:
            yield film[first : first + recipe.frames], y, x


class Reel:
    """The frames of one block after the other, each decoded once where blocks follow closely."""

    def __init__(self, recipe, outcome):
        self.recipe, self.outcome = recipe, outcome
        self.video, self.first, self.stop, self.frames = None, 0, 0, iter(())
        self.film, self.usable = None, None

    def load(self, block):
        """All frames of a block, uint8 (T, H, W, C), and which of them are usable, bool (T,)."""
        first, stop = block.first, block.first + block.windows + self.recipe.frames - 1
        if block.video != self.video or not self.first <= first <= self.stop:
            self.video, self.stop = block.video, first
            self.frames = block.video.frames(first)
        kept = self.stop - first
        film = np.empty((stop - first, *block.video.size, self.recipe.channels), np.uint8)
        usable = np.zeros(stop - first, bool)
        if kept:
            film[:kept], usable[:kept] = self.film[-kept:], self.usable[-kept:]
        for place in range(kept, stop - first):
            frame = self._decode()
            if frame is not None:
                film[place], usable[place] = frame, True
        self.first, self.stop, self.film, self.usable = first, stop, film, usable
        return self._drop_copies() if self.recipe.drop_copies else (film, usable)

    def _decode(self):
        frame = next(self.frames, None)
        if isinstance(frame, BadFrame):
            self.outcome.skipped.setdefault(str(frame.path), frame.reason)
            return None
        self.outcome.decoded += frame is not None
        return frame

    def _drop_copies(self):
        kept = [0]
        for place in range(1, len(self.film)):
            pair = [kept[-1], place]
            if self.usable[pair].all() and is_copy(*self.film[pair]):
                self.outcome.copies += 1
            else:
                kept.append(place)
        return self.film[kept], self.usable[kept]


def is_copy(before, after):
    """Whether a frame is all but the same as the one before."""
    changed = (difference(before, after) > COPY_LEVELS).any(axis=2)
    return np.count_nonzero(changed) < COPY_SHARE * changed.size


def category(video):
    """The folder that a video lies in, as data sets of actions have one for each."""
    return printable(video.name).rpartition("/")[0]


def watch(film, usable, recipe, outcome):
    """The Motion of a film's windows without an unusable frame or a scene cut.

    film: uint8 (T, H, W, C), usable: bool (T,).
    """
    steps = usable[:-1] & usable[1:]
    cuts = find_cuts(np.where(steps, mean_changes(film), 0), recipe.scene_cut)
    windows = []
    for first in range(len(film) - recipe.frames + 1):
        if not usable[first : first + recipe.frames].all():
            continue
        if cuts[first : first + recipe.frames - 1].any():
            outcome.cut_windows += 1
        else:
            windows.append(first)
    limit = math.floor(recipe.min_movement * UNIT)
    return Motion(film, windows, recipe.size, recipe.frames, limit)
