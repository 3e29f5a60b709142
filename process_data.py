"""Cut training or test clips out of folders of video frames."""

import argparse
import math
import sys
from collections import Counter

import constants
from utils.errors import one_line
from utils.workers import cores, workers


def whole(least):
    """An argument type: an integer of at least `least`."""

    def integer(text):
        if int(text) < least:
            raise ValueError
        return int(text)

    integer.__name__ = f"whole number from {least} up"  # argparse puts it into its message
    return integer


def number(text):
    """An argument type: a finite number from 0 up."""
    if not 0 <= float(text) < float("inf"):
        raise ValueError
    return float(text)


def parse(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("-n", "--clips", type=whole(1), default=constants.CLIPS, help="how many to make")
    add("--split", choices=["train", "test"], default="train", help="sets --images and --out")
    add("--images", help=f"folder of videos ({constants.TRAIN_DIR} or {constants.TEST_DIR})")
    add("-o", "--out", help=f"({constants.TRAIN_CLIPS_DIR} or {constants.TEST_CLIPS_DIR})")
    add("--history", type=whole(1), default=constants.HISTORY, help="past frames of a clip")
    add("--horizon", type=whole(1), default=constants.HORIZON, help="future frames of a clip")
    add(
        "--size",
        type=whole(1),
        nargs="+",
        default=[constants.PATCH],
        metavar="PIXELS",
        help="height and width of a clip, or one number for both",
    )
    movement = "sum of squared differences between successive frames in [-1, 1] to exceed"
    add("--min-movement", type=number, default=constants.MIN_MOVEMENT, help=movement)
    add("--exempt", type=number, default=constants.EXEMPT, help="share that need not move")
    add("--seed", type=whole(0), default=constants.SEED, help="same seed, same clips")
    add("--workers", type=whole(1), default=cores(), help="processes")
    existing = parser.add_mutually_exclusive_group()
    for choice, does in (("append", "add to"), ("overwrite", "replace")):
        flag = {"action": "store_const", "const": choice, "dest": "existing"}
        existing.add_argument(f"--{choice}", **flag, help=f"{does} the clips at --out")
    args = parser.parse_args(argv)
    if len(args.size) > 2:
        parser.error(f"argument --size: {len(args.size)} numbers; give one, or height and width")
    if args.exempt > 1:
        parser.error(f"argument --exempt: {args.exempt:g} is not a share from 0 to 1")
    train = args.split == "train"
    args.images = args.images or (constants.TRAIN_DIR if train else constants.TEST_DIR)
    args.out = args.out or (constants.TRAIN_CLIPS_DIR if train else constants.TEST_CLIPS_DIR)
    args.size = args.size[0], args.size[-1]
    return args


def run(args):
    from tqdm import tqdm

    from utils.clips import Recipe, find_blocks, make_clips
    from utils.frames import find_videos
    from utils.store import ClipStore

    skipped, decoded, exempt = {}, 0, 0

    def skip(path, reason):
        if path not in skipped:
            skipped[path] = reason
            tqdm.write(f"warning: {path}: {reason}; left out", file=sys.stderr)

    def report(outcome):
        nonlocal decoded, exempt
        for path, reason in outcome.skipped.items():
            skip(path, reason)
        decoded += outcome.decoded
        exempt += outcome.exempt
        bar.update(outcome.clips)

    length, (height, width) = args.history + args.horizon, args.size
    recipe = Recipe(
        args.history, args.horizon, args.size, args.min_movement, args.exempt, args.seed
    )
    videos = find_videos(args.images, skip)
    blocks = find_blocks(videos, recipe, skip)
    store = ClipStore.prepare(args.out, args.existing, args.history, args.horizon, args.size)
    hands = min(args.workers, math.ceil(args.clips / store.shard))  # each fills a shard at a time
    with tqdm(total=args.clips, unit=" clips", disable=None) as bar, workers(hands) as spread:
        make_clips(videos, blocks, args.clips, recipe, store, spread, report)

    store = ClipStore.open(args.out)
    size = store.bytes_on_disk()
    print(f"{args.clips} clips of {length} frames, {height}x{width} pixels")
    print(f"from {len(videos)} videos, {decoded} frames decoded; {exempt} exempt from moving")
    for reason, count in Counter(skipped.values()).most_common():
        print(f"left out: {count} x {reason}")
    each = size / len(store)
    print(f"{args.out}: {len(store)} clips, {size / 2**20:.1f} MiB, {each:.0f} bytes a clip")


@one_line
def main(argv=None):
    args = parse(argv)
    try:
        run(args)
    except KeyboardInterrupt:
        print(f"stopped: no clips were added to {args.out}", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
