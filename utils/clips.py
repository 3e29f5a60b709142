"""Moving crops of successive frames, cut from videos into a store.

What becomes of each task is noted beside the clips, so an interrupted run goes on where it was.
"""

import dataclasses
import functools
from importlib import metadata

import numpy as np

from utils.cutting import cut_task
from utils.errors import UserError
from utils.journal import PLAN, REFUSED, Journal
from utils.tally import Refused
from utils.tasks import (
    Stock,
    count_crops,
    count_rest,
    count_slots,
    deal,
    pick,
    refill,
    slots_between,
)

VERSIONS = "numpy", "pillow", "imagecodecs", "av", "tensorstore"  # packages that shape the clips
RULES = 10  # raised whenever a new version cuts other clips by the same options


def make_clips(blocks, store, record, recipe, parallel_map, report):
    """Cut record["clips"] clips and append them to `store`.

    `parallel_map(function, tasks)` yields results in the order of the tasks, on any number of
    workers; `report(outcome)` is called after each task. Raises Shortage, leaving the store as it
    was, if the videos have too few clips. Whatever else stops it leaves notes of the tasks done, so
    that the next attempt goes on from there.
    """
    try:
        cut_clips(blocks, record["clips"], recipe, store, parallel_map, report)
    except Shortage:
        store.give_up()
        raise
    except Refused:
        Journal(store).note(REFUSED, True)
        raise
    store.commit(len(store) + record["clips"], record)


class Shortage(UserError):
    """The videos have fewer clips than asked for."""


def check_count(count, blocks, recipe):
    """Raise Shortage where the blocks have fewer crops than clips are asked for, moving or not."""
    crops = count_crops(blocks, recipe.size)
    if crops < count:
        raise Shortage(
            f"only {crops} of {count} clips can be cut: the videos have no more crops, whether "
            "they move or not; lower --clips, or give more video"
        )


def describe(videos, count, recipe, still=None):
    """What a store records of one run of process_data.py, as JSON types.

    still: the share of moving crops below which folders were dropped; None if none were.
    """
    return {
        "clips": count,
        "rules": RULES,
        **dataclasses.asdict(recipe),
        "size": list(recipe.size),
        "still": still,
        "look": videos[0].look.flags,
        "sources": [
            {
                "name": video.name,
                "frames": len(video),
                "size": list(video.size),
                "digest": video.digest,
            }
            for video in videos
        ],
        "versions": {name: metadata.version(name) for name in VERSIONS},
    }


def cut_clips(blocks, count, recipe, store, parallel_map, report):
    """Write `count` clips behind the end of `store`, without declaring them finished.

    First round: blocks are drawn from until every slot is filled or every block was visited, more
    blocks each time. Second round: slots still empty are filled from what those blocks have left.
    """
    start, total = len(store), len(store) + count
    run = {"path": store.path, "start": start, "total": total, "plan": Journal(store).recall(PLAN)}
    work = functools.partial(cut_task, recipe=recipe, **run)
    numbered = {block.number: block for block in blocks}
    stocks, movements, damaged, exempt = {}, [], set(), round(recipe.exempt * count)

    def do(tasks):
        """Run the tasks, note what their blocks have left -> the slots they could not fill."""
        nonlocal exempt
        missing = []
        for outcome in parallel_map(work, tasks):
            report(outcome)
            exempt -= outcome.exempt
            for number, *drawn in outcome.drawn:
                stocks[number] = Stock(numbered[number], *drawn)
            movements.append(outcome.most_movement)
            damaged.update(outcome.skipped)
            missing += outcome.missing
        return missing

    missing, fresh = slots_between(start, total, store.shard), blocks
    reach = 1
    while missing and fresh:
        rng = np.random.default_rng((recipe.seed, start, 2, reach))
        chosen, fresh = pick(fresh, count_slots(missing) * reach, rng)
        missing = do(deal(chosen, missing, exempt))
        fresh += [block for block in chosen if block.number not in stocks]  # not looked at yet
        reach *= 2  # more blocks each time: nearly still videos would take many rounds
    while missing:
        short = count_slots(missing)
        for tasks in count_rest(stocks, short, recipe.seed):
            do(tasks)
        tasks = refill(list(stocks.values()), missing, recipe.seed)
        if not tasks:
            found = count - short + sum(stock.left for stock in stocks.values())
            raise Shortage(explain(found, count, recipe, max(movements), damaged))
        missing = do(tasks)


def explain(found, count, recipe, most, damaged):
    """Why only `found` of `count` clips can be cut, and what helps.

    `most`: the largest movement of any crop, negative if no window was usable at all. `damaged`:
    the files named as unusable.
    """
    if most < 0:
        cures = {
            "repair the files named above": damaged,
            "raise --scene-cut": recipe.scene_cut < 1,
            "leave out --drop-copies": recipe.drop_copies,
        }
        cure = " or ".join(cure for cure, helps in cures.items() if helps)
        return f"no {recipe.frames} successive frames are usable: {cure}"
    cure = "--clips or --min-movement" if recipe.min_movement else "--clips"
    return (
        f"only {found} of {count} clips can be cut: no more crops move by more "
        f"than {recipe.min_movement:g} (the most by {most:.6g}); "
        f"lower {cure}, or give more video"
    )
