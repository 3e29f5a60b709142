"""Convert weather radar composites, one palette picture a time step, to grey frames.

    python data/radar.py --images mch/20150515 --pool 2

writes data/images/train/20150515/frame_00001.png. A pixel's value is its index in the palette: 0 is
dry; 255, out of the radars' range, becomes dry, too. After a picture that cannot be read or, by the
times in the names, is missing, or where the size of pictures changes, a new video begins,
20150515_2.
"""

import itertools
import operator
import statistics
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where utils is
from utils.collection import SPLITS, Collection, add_out, tell_left_out
from utils.errors import UserError, report_errors, warn
from utils.folders import find_twins
from utils.frames import BadFrame, natural, warn_left_out
from utils.images import FORMATS, count_pages, open_image
from utils.times import read_times
from utils.usage import Parser, folder_path, integer
from utils.videos import LITTER

OUTSIDE = 255


def read_levels(path, pool):
    """The palette indices of a picture, uint8 (H, W), the largest of each pool x pool block.

    BadFrame for a picture that cannot be read, is animated, has no palette or is smaller than
    pool x pool.
    """
    if not path.is_file():
        raise BadFrame(path, "not a file")  # reading from a pipe would block
    with open_image(path) as image:
        if count_pages(image) > 1:
            raise ValueError(f"{count_pages(image)} images in one file")
        if image.mode not in {"P", "L"}:
            raise ValueError(f"a picture of mode {image.mode} has no palette")
        levels = np.array(image)
        if min(levels.shape) < pool:
            raise ValueError(f"smaller than --pool {pool}")
    levels[levels == OUTSIDE] = 0
    height, width = (length // pool for length in levels.shape)
    tiles = levels[: height * pool, : width * pool].reshape(height, pool, width, pool)
    return tiles.max(axis=(1, 3))


def find_gaps(names):
    """{number of a picture: how many are missing before it}, by the usual step between times."""
    steps = [after - before for before, after in itertools.pairwise(read_times(names))]
    usual = statistics.median_low([step for step in steps if step > 0] or [1])
    missing = {number: round(step / usual) - 1 for number, step in enumerate(steps, 1)}
    return {number: count for number, count in missing.items() if count > 0}


def usable(paths, pool):
    """Yield (key, levels) of the pictures that can be read; those of one video share their key.

    A key is (number of gaps and unreadable pictures before, size).
    """
    missing = find_gaps([path.stem for path in paths])
    for number, count in missing.items():
        between = f"between {paths[number - 1]} and {paths[number].name}"
        warn(f"{count} pictures are missing {between}: add them, else a new video begins there")
    gaps = 0
    for number, path in enumerate(tqdm(paths, disable=None)):
        gaps += number in missing
        try:
            levels = read_levels(path, pool)
            yield (gaps, levels.shape), levels
        except BadFrame as bad:
            warn_left_out(path, bad.reason)
            gaps += 1


@report_errors
def main():
    parser = Parser(__doc__)
    parser.add_argument("--images", type=folder_path, required=True, help="folder of one sequence")
    parser.add_argument("--split", choices=SPLITS, default="train", help="what they are for")
    pool = "height and width of the blocks of pixels whose maximum becomes one pixel"
    parser.add_argument("--pool", type=integer(1), default=1, help=pool)
    add_out(parser)
    options = parser.parse_args()
    there = [path for path in options.images.glob("[!.]*") if path.name not in LITTER]
    paths = [path for path in there if path.suffix.lower() in FORMATS]
    paths.sort(key=lambda path: natural(path.name))
    if not paths:
        raise UserError(f"no pictures in {options.images}: give the folder of one sequence")
    others = [path for path in there if path.suffix.lower() not in FORMATS]
    tell_left_out(others, "files or folders", "no pictures; unpack those that hold some")
    for one, other in find_twins(path.name for path in paths):
        raise UserError(f"{options.images}: {one} and {other} are of one name; keep one of them")
    folder, part = options.out / options.split / options.images.resolve().name, 0
    with Collection(options) as collection:
        parts = itertools.groupby(usable(paths, options.pool), operator.itemgetter(0))
        for part, (_, pictures) in enumerate(parts, 1):
            place = folder if part == 1 else folder.with_name(f"{folder.name}_{part}")
            count = collection.add_frames(place, (levels for _, levels in pictures))
            print(f"{place}: {count} frames")
    if not part:
        raise UserError(f"no picture in {options.images} can be used: give others")


if __name__ == "__main__":
    main()
