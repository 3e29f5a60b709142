"""Cut training or test clips out of folders of video frames."""

import argparse
import sys
from collections import Counter

import constants
from utils.errors import UserError, one_line
from utils.workers import cores, workers


def whole(least):
    """An argument type: an integer of at least `least`."""

    def integer(text):
        if int(text) < least:
            raise ValueError
        return int(text)

    integer.__name__ = f"whole number from {least} up"  # argparse puts it into its message
    return integer


def parse(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("-n", "--clips", type=whole(1), default=constants.CLIPS)
    parser.add_argument(
        "--split", choices=["train", "test"], default="train", help="sets --images and --out"
    )
    parser.add_argument(
        "--images", default=argparse.SUPPRESS, help="folder with a folder of frames per video"
    )
    parser.add_argument("-o", "--out", default=argparse.SUPPRESS, help="where the clips go")
    parser.add_argument(
        "--history", type=whole(1), default=constants.HISTORY, help="past frames of a clip"
    )
    parser.add_argument(
        "--horizon", type=whole(1), default=constants.HORIZON, help="future frames of a clip"
    )
    parser.add_argument(
        "--size",
        type=whole(1),
        nargs="+",
        default=[constants.PATCH],
        metavar="PIXELS",
        help="height and width of a clip, or one number for both",
    )
    parser.add_argument(
        "--min-movement",
        type=float,
        default=constants.MIN_MOVEMENT,
        help="sum of squared differences between successive frames in [-1, 1] to exceed",
    )
    parser.add_argument(
        "--exempt", type=float, default=constants.EXEMPT, help="share that need not move"
    )
    parser.add_argument("--seed", type=whole(0), default=constants.SEED)
    parser.add_argument("--workers", type=whole(1), default=cores(), help="processes")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--append", action="store_true", help="add to the clips at --out")
    existing.add_argument("--overwrite", action="store_true", help="replace the clips at --out")
    args = parser.parse_args(argv)
    train = args.split == "train"
    args.images = getattr(args, "images", constants.TRAIN_DIR if train else constants.TEST_DIR)
    args.out = getattr(
        args, "out", constants.TRAIN_CLIPS_DIR if train else constants.TEST_CLIPS_DIR
    )
    if len(args.size) > 2:
        parser.error("argument --size: give one number, or height and width")
    args.size = args.size[0], args.size[-1]
    if not 0 <= args.exempt <= 1:
        parser.error(f"argument --exempt: {args.exempt} is not a share between 0 and 1")
    if not 0 <= args.min_movement < float("inf"):
        parser.error(f"argument --min-movement: {args.min_movement} is not a number from 0 up")
    return args


@one_line
def main(argv=None):
    args = parse(argv)
    from tqdm import tqdm

    from utils.clips import Recipe, find_blocks, make_clips
    from utils.frames import find_videos
    from utils.store import ClipStore

    skipped, frames, exempt = {}, 0, 0

    def skip(path, reason):
        if path not in skipped:
            skipped[path] = reason
            tqdm.write(f"warning: {path}: {reason}; left out", file=sys.stderr)

    def report(outcome):
        nonlocal frames, exempt
        for path, reason in outcome.skipped.items():
            skip(path, reason)
        frames += outcome.decoded
        exempt += outcome.exempt
        bar.update(outcome.clips)

    store = ClipStore.find(args.out)
    if store is not None and not args.append and not args.overwrite:
        raise UserError(
            f"{args.out} holds {len(store)} clips: give --append, --overwrite or another --out"
        )
    recipe = Recipe(
        args.history, args.horizon, args.size, args.min_movement, args.exempt, args.seed
    )
    videos = find_videos(args.images, skip)
    blocks = find_blocks(videos, recipe, skip)
    if store is not None and args.overwrite:
        store.clear()
        store = None
    if store is None:
        store = ClipStore.create(args.out, args.history, args.horizon, args.size)
    elif (store.history, store.horizon, store.shape[3:]) != (
        args.history,
        args.horizon,
        args.size,
    ):
        raise UserError(
            f"{args.out} holds clips of {store.history}+{store.horizon} frames of "
            f"{store.shape[3]}x{store.shape[4]}: give --history, --horizon and --size to match"
        )
    try:
        with (
            tqdm(total=args.clips, unit=" clips", disable=None) as bar,
            workers(args.workers) as run,
        ):
            make_clips(videos, blocks, args.clips, recipe, store, run, report)
    except KeyboardInterrupt:
        print(f"stopped: {args.out} is as it was", file=sys.stderr)
        sys.exit(130)
    summarise(args, len(videos), frames, exempt, skipped)


def summarise(args, videos, frames, exempt, skipped):
    from utils.store import ClipStore

    store = ClipStore.open(args.out)
    length, (_, _, height, width) = store.history + store.horizon, store.shape
    print(f"{args.clips} clips of {length} frames of {height}x{width} pixels in {args.out}")
    print(f"from {videos} videos, {frames} frames decoded; {exempt} clips exempt from moving")
    for reason, count in Counter(skipped.values()).most_common():
        print(f"{count} left out: {reason}")
    size = store.bytes_on_disk()
    print(
        f"{len(store)} clips, {size / 2**20:.1f} MiB, {size / len(store):.0f} bytes a clip on disk"
    )


if __name__ == "__main__":
    main()
