"""Cut training or test clips out of videos: films, folders of frames, arrays."""

import math
import os
import sys

import constants
from utils.errors import UserError, memory_for, one_line
from utils.signals import leaving_at_once
from utils.usage import Parser, number, place, whole
from utils.workers import cores, environment, workers

AXES = ("THW", "NTHW", "THWC", "NTHWC")
NO_BLAS_THREADS = {"OPENBLAS_NUM_THREADS": "1"}  # none are needed, each process would start some
DIRS = {  # by --split: videos, clips
    "train": (constants.TRAIN_DIR, constants.TRAIN_CLIPS_DIR),
    "test": (constants.TEST_DIR, constants.TEST_CLIPS_DIR),
}


def axes(text):
    """An argument type: letters that name the axes of an array."""
    if sorted(text.upper()) not in map(sorted, AXES):
        raise ValueError
    return text.upper()


axes.__name__ = f"order of {', '.join(AXES[1:])}"


def parse(argv=None):
    parser = Parser(__doc__)
    add, count, share = parser.add_argument, whole(1), number(0, 1)
    pixels = {"type": whole(2, 2**14), "nargs": "+", "metavar": "PIXELS"}
    images, clips = (" or ".join(dirs) for dirs in zip(*DIRS.values(), strict=True))
    add("-n", "--clips", type=whole(1, 10**9), default=constants.CLIPS, help="how many to make")
    add("--split", choices=list(DIRS), default="train", help="what the clips are for")
    several = {"type": place, "nargs": "+", "metavar": "PATH"}
    add("--images", **several, help=f"videos or folders of them, else {images}")
    add("-o", "--out", type=place, metavar="PATH", help=f"where the clips go, else {clips}")
    add("--history", type=count, default=constants.HISTORY, help="past frames of a clip")
    add("--horizon", type=count, default=constants.HORIZON, help="future frames of a clip")
    size = "height and width of a clip, or one number for both; that of the frames: whole frames"
    add("--size", **pixels, default=[constants.PATCH], help=size)
    resize = "scale frames to this height and width, or the shorter side to one number"
    add("--resize", **pixels, help=resize)
    add("--gray", action="store_true", help="make clips of one channel")
    add("--step", type=count, default=1, metavar="K", help="take every K-th frame")
    unclear = "of arrays of 4 or 5 axes, where they are unclear"
    add("--axes", type=axes, metavar="TNHW", help=unclear)
    moves = "sum of squared differences between successive frames in [-1, 1] to exceed"
    add("--min-movement", type=number(0), default=constants.MIN_MOVEMENT, help=moves)
    add("--exempt", type=share, default=constants.EXEMPT, help="share that need not move")
    cut = "change of the mean pixel, from 0 to 1, that is a cut, not a motion; 1 keeps all"
    add("--scene-cut", type=share, default=constants.SCENE_CUT, help=cut)
    add("--drop-copies", action="store_true", help="leave out frames like the one before")
    still = "a folder of videos is still if a smaller share of its crops moves"
    add("--still", type=share, default=constants.STILL, help=still)
    add("--drop-still", action="store_true", help="leave out the folders that are still")
    add("--strict", action="store_true", help="stop at the first file that cannot be used")
    seed = whole(0, 2**32 - 1)
    add("--seed", type=seed, default=constants.SEED, help="same seed, same clips")
    add("--workers", type=count, default=cores(), help="processes")
    add("--scheduler", metavar="ADDRESS", help="of a Dask cluster that does the work instead")
    existing = parser.add_mutually_exclusive_group()
    for choice, does in (("append", "add to"), ("overwrite", "replace")):
        flag = {"action": "store_const", "const": choice, "dest": "existing"}
        existing.add_argument(f"--{choice}", **flag, help=f"{does} the clips at --out")
    add("--resume", action="store_true", help="go on with the same command, interrupted before")
    args = parser.parse_args(argv)
    for name, sizes in (("size", args.size), ("resize", args.resize or [])):
        if len(sizes) > 2:
            parser.error(f"argument --{name}: {len(sizes)} numbers; give one, or height and width")
    images, clips = DIRS[args.split]
    args.images, args.out = args.images or [images], args.out or clips
    if args.scheduler:  # its workers are elsewhere
        args.images = [os.path.abspath(path) for path in args.images]
        args.out = args.out if "://" in args.out else os.path.abspath(args.out)
    args.size = args.size[0], args.size[-1]
    args.resize = args.resize and tuple(args.resize)
    return args


def spread_over(args, tasks):
    """Context of a `map` over the processes that the options ask for, no more than have work."""
    if args.scheduler:
        from utils.cluster import cluster

        return cluster(args.scheduler)
    return workers(min(args.workers, tasks))


def drop_still(blocks, recipe, args, tally):
    """The blocks of those folders in which enough moves."""
    from utils.clips import category
    from utils.survey import survey

    with spread_over(args, len(blocks)) as spread:
        found = survey(blocks, recipe, spread, tally.add)
    still = sorted(name for name, moving in found.items() if moving < args.still)
    for name in still:
        print(f"dropped: {name}, {found[name]:.2%} of its crops move")
    tally.motion.clear()  # samples
    kept = [block for block in blocks if category(block.video) not in still]
    if not kept:
        raise UserError(f"everything is still: lower --still {args.still:g} or --min-movement")
    return kept


def run(args):
    with leaving_at_once():
        from tqdm import tqdm

        from utils.clips import Recipe, describe, find_blocks, make_clips
        from utils.frames import Look
        from utils.journal import open_store
        from utils.lock import claim
        from utils.tally import Tally
        from utils.videos import find_videos

    tally = Tally(args.strict)
    movement = args.min_movement, args.exempt
    frames = args.gray, args.scene_cut, args.drop_copies
    recipe = Recipe(args.history, args.horizon, args.size, *movement, args.seed, *frames)
    look = Look(args.step, args.gray, args.resize)
    videos = find_videos(args.images, tally.skip, look, args.axes)
    blocks = find_blocks(videos, recipe, tally.skip)
    if args.drop_still:
        blocks = drop_still(blocks, recipe, args, tally)
    record = describe(videos, args.clips, recipe)
    with claim(args.out):
        store, finished = open_store(args.out, record, recipe.clips, args.existing, args.resume)
        if finished:
            print(f"{args.out}: {len(store)} clips, finished before")
            return
        tasks = math.ceil(args.clips / store.shard)  # each worker fills a shard at a time
        with (
            tqdm(total=args.clips, unit=" clips", disable=None) as bar,
            spread_over(args, tasks) as spread,
        ):

            def report(outcome):
                tally.add(outcome)
                bar.update(outcome.clips)

            make_clips(blocks, store, record, recipe, spread, report)
    tell(args, recipe, len({block.video for block in blocks}), tally)


def tell(args, recipe, videos, tally):
    """Print what was made, from what, how large it is."""
    from utils.store import ClipStore

    counts, store = tally.counts, ClipStore.open(args.out)
    height, width = args.size
    print(f"{args.clips} clips of {recipe.frames} frames, {height}x{width} pixels")
    print(
        f"from {videos} videos, {counts['decoded']} frames decoded; "
        f"{counts['exempt']} exempt from moving"
    )
    for line in tally.left_out(args.still):
        print(line)
    size = store.bytes_on_disk()
    room = f", {size / 2**20:.1f} MiB, {size / len(store):.0f} bytes a clip" if size else ""
    print(f"{args.out}: {len(store)} clips{room}")


@one_line
def main(argv=None):
    args = parse(argv)
    try:
        with memory_for("lower --size, --resize or --workers"), environment(NO_BLAS_THREADS):
            run(args)
    except KeyboardInterrupt:
        print(f"stopped: the same command with --resume goes on, at {args.out}", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
