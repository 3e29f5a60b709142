"""How much moves in each category of videos (a folder of several), from samples."""

import collections
import dataclasses
import functools

import numpy as np

from utils.cutting import Outcome, add_motion, category, find_motion
from utils.errors import UserError
from utils.reel import Reel
from utils.tasks import spread

SAMPLES = 8  # blocks of a category that are looked at, one drawn in each of as many strata


def survey(blocks, recipe, parallel_map, report):
    """Sample the blocks of each category -> {category: share of its crops that move}.

    `parallel_map` and `report` as for make_clips.
    """
    groups = collections.defaultdict(list)
    for block in blocks:
        groups[category(block.video)].append(block)
    rng = np.random.default_rng((recipe.seed, 3))
    samples = [group[i] for group in groups.values() for i in spread(len(group), SAMPLES, rng)]
    motion = {}
    for outcome in parallel_map(functools.partial(sample, recipe=recipe), samples):
        add_motion(motion, outcome.motion)
        report(dataclasses.replace(outcome, motion={}))  # motion is counted when clips are cut
    return shares(motion)


def drop_still(blocks, recipe, still, parallel_map, report):
    """The blocks without those of still categories, which are printed, or that there is none.

    still: the share of moving crops below which a category is still. `parallel_map` and `report`
    as for make_clips. UserError if no blocks are left.
    """
    found = survey(blocks, recipe, parallel_map, report)
    if not found:
        print("--drop-still has no effect: no video is in a folder")
    names = {name for name, moving in found.items() if moving < still}
    for name in sorted(names):
        print(f"dropped: {name}, {found[name]:.2%} of its crops move")
    kept = [block for block in blocks if category(block.video) not in names]
    if not kept:
        raise UserError(f"everything is still: lower --still {still:g} or --min-movement")
    return kept


def sample(block, recipe):
    """Measure what moves in a block, without drawing clips -> Outcome."""
    outcome = Outcome()
    film, usable, _ = Reel(recipe, outcome).load(block)
    motion, _ = find_motion(film, usable, recipe)
    moving = [float(crops.mean()) for crops in motion.maps.values()]
    outcome.motion[category(block.video)] = [len(moving), sum(moving)]
    return outcome


def shares(motion):
    """{category: share of its crops that move}, without videos that are in no category."""
    return {
        name: moving / windows if windows else 0.0
        for name, (windows, moving) in motion.items()
        if name
    }
