"""Moving crops of successive frames, cut from videos into a store.

What becomes of each task is noted beside the clips, so an interrupted run goes on where it was.
"""

import dataclasses
import functools
from importlib import metadata

from utils.cutting import cut_task
from utils.errors import UserError
from utils.journal import Journal
from utils.names import printable
from utils.tasks import Visit, count_places, count_rest, deal, pick, places_between, refill

VERSIONS = "numpy", "pillow", "imagecodecs", "av", "tensorstore"  # they decide what clips look like
RULES = 3  # raised whenever the same options come to mean other clips


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
    cure = "--min-movement or --clips" if recipe.min_movement else "--clips"
    raise Shortage(
        f"only {count - short + left} of {count} clips can be cut: no other crop moves by more "
        f"than {recipe.min_movement:g} (the most seen is {most:.4g}); "
        f"lower {cure}, or give more video"
    )
