"""Cut training or test clips out of videos: films, folders of frames, arrays."""

import math
import os
import sys

import constants
from utils.errors import report_errors, when_out_of_memory
from utils.names import is_url
from utils.recipe import MOST_FRAMES, Recipe, clips_per_shard
from utils.signals import exit_status, signals_as_ctrl_c, signals_deferred
from utils.usage import (
    PIXELS,
    Parser,
    add_look,
    address,
    integer,
    local_path,
    number,
    path_or_url,
)
from utils.workers import cores, environment, workers

NO_BLAS_THREADS = {"OPENBLAS_NUM_THREADS": "1"}  # else each worker starts some, for nothing
FOLDERS = {  # {--split: (videos, clips)}
    "train": (constants.TRAIN_DIR, constants.TRAIN_CLIPS_DIR),
    "test": (constants.TEST_DIR, constants.TEST_CLIPS_DIR),
}


SHARE = {"type": number(0, 1), "metavar": "SHARE"}


def make_parser():
    parser = Parser(__doc__)
    images, clips = (" or ".join(folders) for folders in zip(*FOLDERS.values(), strict=True))
    add_video_options(parser.add_argument_group("videos").add_argument, images)
    add_clip_options(parser.add_argument_group("clips"), clips)
    add_filter_options(parser.add_argument_group("filters").add_argument)
    add = parser.add_argument_group("run").add_argument
    add("--resume", action="store_true", help="continue an interrupted run of the same command")
    text = f"worker processes (default: {cores()})"
    add("--workers", type=integer(1, 999), metavar="N", help=text)
    text = "Dask scheduler whose workers, started with --nthreads 1, to use instead"
    add("--scheduler", type=address, metavar="ADDRESS", help=text)
    return parser


def add_video_options(add, default):
    several = {"type": local_path, "nargs": "+", "action": "extend", "metavar": "PATH"}
    add("--images", **several, help=f"videos, or folders of them (default: {default})")
    add_look(add)
    add("--gray", action="store_true", help="make clips of one channel")


def add_clip_options(group, default):
    add = group.add_argument
    add("-n", "--clips", type=integer(1, 10**9), default=constants.CLIPS, help="how many to cut")
    add("--split", choices=list(FOLDERS), default="train", help="which default folders to use")
    text = f"where to write them (default: {default})"
    add("-o", "--out", type=path_or_url, metavar="PATH", help=text)
    frames = {"type": integer(1, MOST_FRAMES), "metavar": "N"}
    add("--history", default=constants.HISTORY, **frames, help="past frames per clip")
    add("--horizon", default=constants.HORIZON, **frames, help="future frames per clip")
    text = "height and width of a clip, or one number for both"
    add("--size", **PIXELS, default=[constants.PATCH], help=text)
    text = "same seed, same clips"
    add("--seed", type=integer(0, 2**32 - 1), default=constants.SEED, help=text)
    existing = group.add_mutually_exclusive_group()
    for choice, does in (("append", "add to"), ("overwrite", "replace")):
        flag = {"action": "store_const", "const": choice, "dest": "existing"}
        existing.add_argument(f"--{choice}", **flag, help=f"{does} the clips at --out")


def add_filter_options(add):
    text = "squared differences between a clip's frames, in [-1, 1], must sum to more than this"
    movement = {"type": number(0, 1e12), "default": constants.MIN_MOVEMENT, "metavar": "SUM"}
    add("--min-movement", **movement, help=text)
    add("--exempt", default=constants.EXEMPT, **SHARE, help="share of clips that need not move")
    text = "how much more a frame must change than its neighbours, as a share of full scale, to be "
    text += "a scene cut; 1 for none"
    add("--scene-cut", default=constants.SCENE_CUT, **SHARE, help=text)
    add("--drop-copies", action="store_true", help="drop frames that nearly repeat the one before")
    text = "a folder of videos counts as still if a smaller share of its crops moves"
    add("--still", default=constants.STILL, **SHARE, help=text)
    add("--drop-still", action="store_true", help="drop still folders")
    add("--strict", action="store_true", help="stop at the first file that cannot be used")


def parse(argv=None):
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.scheduler and args.workers:
        parser.error("--workers: a --scheduler has workers of its own; leave out one of these")
    args.workers = args.workers or cores()
    images, clips = FOLDERS[args.split]
    args.images, args.out = args.images or [images], args.out or clips
    if args.scheduler:  # its workers may run in another directory
        args.images = [os.path.abspath(path) for path in args.images]
        args.out = args.out if is_url(args.out) else os.path.abspath(args.out)
    args.size = args.size[0], args.size[-1]
    return args


def make_recipe(args):
    """The Recipe of the clips asked for."""
    return Recipe(
        history=args.history,
        horizon=args.horizon,
        size=args.size,
        min_movement=args.min_movement,
        exempt=args.exempt,
        seed=args.seed,
        gray=args.gray,
        scene_cut=args.scene_cut,
        drop_copies=args.drop_copies,
    )


def open_workers(args, recipe):
    """Context that gives a `map` over worker processes: --scheduler's, or --workers of our own,
    but no more than there is work for."""
    if args.scheduler:
        from utils.cluster import cluster

        return cluster(args.scheduler)
    shards = math.ceil(args.clips / clips_per_shard(recipe.shape))  # each is one worker's task
    count = args.workers if args.drop_still else min(args.workers, shards)
    return workers(count, "utils.cutting")


def run(args, recipe, parallel_map):
    """Cut the clips, with `parallel_map`, a `map` over worker processes, doing the tasks."""
    # Imported late, so that --help and mistakes on the command line are answered at once, and
    # workers start meanwhile.
    with signals_deferred():
        from tqdm import tqdm

        from utils.clips import check_count, describe, make_clips
        from utils.frames import Look
        from utils.journal import open_store
        from utils.lock import claim
        from utils.survey import drop_still
        from utils.tally import Tally
        from utils.tasks import find_blocks
        from utils.videos import find_videos

    tally = Tally(args.strict)
    look = Look(args.step, args.gray, args.resize)
    videos = find_videos(args.images, tally.skip, look, args.axes)
    blocks = find_blocks(videos, recipe, tally.skip)
    check_count(args.clips, blocks, recipe)
    if args.drop_still:
        blocks = drop_still(blocks, recipe, args.still, parallel_map, tally.add)
    record = describe(videos, args.clips, recipe, args.still if args.drop_still else None)
    with claim(args.out):
        store, finished = open_store(args.out, record, recipe.kind, args.existing, args.resume)
        if finished:
            print(f"{args.out}: {len(store)} clips, finished before")
            return
        with tqdm(total=args.clips, unit=" clips", disable=None) as bar:

            def report(outcome):
                tally.add(outcome)
                bar.update(outcome.clips)

            make_clips(blocks, store, record, recipe, parallel_map, report)
    used = {block.video for block in blocks if block.number in tally.drawn}
    report_totals(args, recipe, used, tally)


def report_totals(args, recipe, used, tally):
    """Print what was made, the videos used for it and how large it is."""
    from utils.store import ClipStore

    counts, store = tally.counts, ClipStore.open(args.out)
    height, width = args.size
    print(f"{args.clips} clips of {recipe.frames} frames, {height}x{width} pixels")
    print(
        f"from {len(used)} videos, {counts['decoded']} frames decoded; "
        f"{counts['exempt']} exempt from moving"
    )
    for line in tally.left_out(args.still):
        print(line)
    size = store.bytes_on_disk()
    room = f", {size / 2**20:.1f} MiB, {size / len(store):.0f} bytes a clip" if size else ""
    print(f"{args.out}: {len(store)} clips{room}")


@report_errors
def main(argv=None):
    args = parse(argv)
    recipe = make_recipe(args)
    try:
        with (
            signals_as_ctrl_c(),
            when_out_of_memory("lower --size, --resize or --workers"),
            environment(NO_BLAS_THREADS),
            open_workers(args, recipe) as parallel_map,
        ):
            run(args, recipe, parallel_map)
    except KeyboardInterrupt as interrupt:
        print(f"stopped: the same command with --resume goes on, at {args.out}", file=sys.stderr)
        sys.exit(exit_status(interrupt))


if __name__ == "__main__":
    main()
