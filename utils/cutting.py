"""What a worker does for one task: draw moving crops from blocks into the store, or count them."""

import dataclasses
import itertools
import math

import numpy as np

from utils.changes import find_changes, find_cuts
from utils.draws import count_moving, draw_exempt, draw_moving
from utils.errors import UserError
from utils.journal import Journal
from utils.movement import UNIT, Motion
from utils.reel import Reel
from utils.store import ClipStore
from utils.tasks import Count, describe_task


@dataclasses.dataclass
class Outcome:
    """What became of a task, in types that JSON can write."""

    clips: int = 0
    exempt: int = 0
    decoded: int = 0
    copies: int = 0  # windows left out because they begin with a near copy
    cut_windows: int = 0  # windows left out for a scene cut
    most_movement: float = -1.0  # of any crop measured, frames in [-1, 1]; negative for none
    missing: list = dataclasses.field(default_factory=list)  # (start, stop) of slots left empty
    # (number, exempt, moving, left) of each block that was drawn from: the fields of its Stock now
    drawn: list = dataclasses.field(default_factory=list)
    skipped: dict = dataclasses.field(default_factory=dict)  # {path: reason}
    # {category: [windows, sum of the shares of their crops that move]}, from samples
    motion: dict = dataclasses.field(default_factory=dict)


def cut_task(task, recipe, path, start, total, plan):
    """Do one task, a Task or a Count, for the store at `path` -> Outcome.

    start, total: numbers of clips in the store before and after this run. plan: its Journal's;
    UserError once that is another. The Outcome is noted beside the clips; a task that an
    interrupted run has noted is not done again.
    """
    store = ClipStore.find(path)
    if store is None:
        raise UserError(f"a worker finds no clips at {path}: give an --out that all workers share")
    store = store.target()
    journal, name = Journal(store), describe_task(task, recipe, start, total)
    done = journal.recall(name)
    if done is None:
        if isinstance(task, Count):
            outcome = count(task.stock, recipe, start)
        else:
            outcome = cut(task, recipe, store, start, total, plan)
        done = dataclasses.asdict(outcome)
        journal.check_plan(plan)
        journal.note(name, done)
    return Outcome(**done)


def cut(task, recipe, store, start, total, plan):
    """Draw the clips of a task, write them in random order to its slots -> Outcome.

    Arguments as for cut_task.
    """
    outcome = Outcome()
    crops = draw_crops(task, recipe, start, outcome)
    height, width = recipe.size
    for begin, stop in task.slots:
        # The store compresses clips with their axes in this order (layout.ORDER); here whole rows
        # of pixels are copied.
        clips = np.empty((stop - begin, height, recipe.frames, width, recipe.channels), np.uint8)
        rng = np.random.default_rng((recipe.seed, start, 0, begin))
        order, drawn = rng.permutation(stop - begin), 0
        for window, y, x in itertools.islice(crops, stop - begin):
            clips[order[drawn]] = window[:, y : y + height, x : x + width].swapaxes(0, 1)
            drawn += 1
        if drawn:
            filled = clips if drawn == len(clips) else clips[np.sort(order[:drawn])]
            Journal(store).check_plan(plan)
            store.write(begin, filled.transpose(0, 2, 4, 1, 3), total)
        if begin + drawn < stop:
            outcome.missing.append((begin + drawn, stop))
        outcome.clips += drawn
    return outcome


def count(stock, recipe, start):
    """Count the moving crops that a Stock has left -> Outcome."""
    outcome, block = Outcome(), stock.block
    film, usable, _ = Reel(recipe, outcome).load(block)
    motion, _ = find_motion(film, usable, recipe)
    exempt = draw_exempt(motion, stock.exempt, (recipe.seed, start, 1, block.number))
    left = count_moving(motion, exempt) - stock.moving
    outcome.drawn.append((block.number, stock.exempt, stock.moving, left))
    outcome.most_movement = motion.most / UNIT
    return outcome


def draw_crops(task, recipe, start, outcome):
    """Yield (window, y, x), window uint8 (T, H, W, C), until the task has its clips.

    The window's memory may be overwritten when the next block is loaded.
    """
    moving, exempt = task.clips - task.exempt, task.exempt
    windows = sum(visit.block.windows for visit in task.visits)
    reel = Reel(recipe, outcome)
    rng = np.random.default_rng((recipe.seed, start, 5, task.slots[0][0]))
    for visit in task.visits:
        block = visit.block
        # The clips still to be drawn are spread over the windows to come, so that blocks in which
        # too little moves leave their share to later ones.
        wanted = visit.more
        if wanted is None:
            wanted = math.ceil(moving * block.windows / windows)
        # Rounded at random: few exempt clips would all be from the last blocks.
        free = (exempt * block.windows + rng.integers(windows)) // windows
        windows -= block.windows
        if not wanted + free:
            continue
        film, usable, copies = reel.load(block)
        motion, cut_windows = find_motion(film, usable, recipe)
        seed = recipe.seed, start, 1, block.number
        free_crops = draw_exempt(motion, visit.exempt + free, seed)
        after, left, sample = draw_moving(motion, free_crops, visit.moving, wanted, seed)
        if visit.more is None:  # else these were counted at the block's first visit
            outcome.copies += copies
            outcome.cut_windows += cut_windows
            add_motion(outcome.motion, {category(block.video): sample})
        drawn = block.number, len(free_crops), visit.moving + len(after), left
        outcome.drawn.append(drawn)
        outcome.most_movement = max(outcome.most_movement, motion.most / UNIT)
        fresh = free_crops[visit.exempt :]
        outcome.exempt += len(fresh)
        exempt -= len(fresh)
        moving -= len(after)
        for first, y, x in fresh + after:
            yield film[first : first + recipe.frames], y, x


def find_motion(film, usable, recipe):
    """(the Motion of a film's windows without an unusable frame or a scene cut, number of windows
    left out for a scene cut).

    film: uint8 (T, H, W, C), usable: bool (T,).
    """
    steps, changes = usable[:-1] & usable[1:], find_changes(film)
    cuts = np.zeros(len(steps), bool)
    bounds = np.flatnonzero(np.diff(steps, prepend=False, append=False))
    for first, stop in zip(bounds[::2], bounds[1::2], strict=True):  # between unusable frames
        cuts[first:stop] = find_cuts(changes.means[first:stop], recipe.scene_cut)
    windows, cut_windows = [], 0
    for first in range(len(film) - recipe.frames + 1):
        if not usable[first : first + recipe.frames].all():
            continue
        if cuts[first : first + recipe.frames - 1].any():
            cut_windows += 1
        else:
            windows.append(first)
    limit = math.floor(recipe.min_movement * UNIT)
    motion = Motion(film, changes.strips, windows, recipe.size, recipe.frames, limit)
    return motion, cut_windows


def add_motion(motion, more):
    """Add {category: (windows, sum of their shares that move)} to an Outcome's `motion`."""
    for name, counts in more.items():
        motion[name] = [a + b for a, b in zip(motion.get(name, (0, 0)), counts, strict=True)]


def category(video):
    """The folder that a video lies in, "" for none; action data sets have one for each action."""
    return video.name.rpartition("/")[0]
