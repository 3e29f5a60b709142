"""Convert microscopy recordings, TIFF stacks or folders of pictures, to grey frames.

    python data/microscopy.py --images recordings

writes data/images/train/NAME/frame_00001.png for each stack or folder. Cameras fill little of
their 12 or 16 bits: the darkest 1 in 1000 pixels of a recording become black, the brightest white.
"""

import math
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where utils is
from utils.animations import Animation
from utils.collection import SPLITS, Collection, add_out
from utils.errors import UserError, report_errors
from utils.folders import Folder
from utils.frames import BadFrame, warn_left_out
from utils.images import (
    count_hidden,
    count_pages,
    grey_levels,
    has_deep_colours,
    is_grey,
    open_image,
)
from utils.libtiff import load
from utils.usage import Parser, folder_path, refuse_among
from utils.videos import find_videos

ENDS = 0.1, 99.9  # percentiles that become black, white
SAMPLE = 2**23  # pixels


def read_grey(path):
    """Yield all pictures of a file as they were recorded, (H, W), of any number type."""
    with open_image(path) as image:
        for number in range(count_pages(image)):
            image.seek(number + count_hidden(image))
            if has_deep_colours(image):
                raise ValueError("16-bit colours or alpha: save it as 16-bit grey")
            load(image)
            levels = grey_levels(image) if is_grey(image) else np.asarray(image.convert("L"))
            if not np.isfinite(levels).all():
                raise ValueError("some of its pixels are not numbers: make them 0")
            yield levels.astype(levels.dtype.newbyteorder("="))


def read(video):
    """Yield all pictures of a recording in order."""
    several = isinstance(video, Folder)
    for path in map(video.place, range(len(video))) if several else [video.path]:
        yield from read_grey(path)


def find_range(video):
    """The levels that become black and white: the ENDS percentiles of a recording.

    They are estimated from up to SAMPLE of its pixels, evenly spaced. BadFrame if pictures differ
    in size or depth.
    """
    height, width = video.shape
    stride = len(video) * height * width // SAMPLE + 1
    while math.gcd(stride, width) > 1:  # else only some columns of each row would be sampled
        stride += 1
    kinds, sample = set(), []
    for picture in read(video):
        kinds.add((picture.shape, picture.dtype))
        sample.append(picture.ravel()[::stride].copy())
    if len({shape for shape, _ in kinds}) > 1:
        raise BadFrame(video.path, "pictures of several sizes")
    if len(kinds) > 1:
        raise BadFrame(video.path, "pictures of several depths, 8 bits and 16")
    return np.percentile(np.concatenate(sample), ENDS)


def stretch(picture, low, high):
    """A picture of any range -> uint8, black at `low`, white at `high`."""
    scaled = (np.asarray(picture, np.float32) - low) * (255 / max(high - low, 1e-6))
    return scaled.clip(0, 255).round().astype(np.uint8)


def convert(video, options, collection):
    """Add a recording to the collection; returns whether it can be used."""
    folder = options.out / options.split / video.name
    if collection.has(folder):
        return True
    if not isinstance(video, Folder | Animation):
        warn_left_out(video.path, "neither pictures nor a stack: process_data.py takes it as it is")
        return False
    try:
        low, high = find_range(video)
        # Read again rather than kept: recordings may be larger than the memory.
        collection.add_frames(folder, (stretch(picture, low, high) for picture in read(video)))
    except BadFrame as bad:
        part = "" if bad.path == video.path else f"{bad.path.name}: "
        warn_left_out(video.path, f"{part}{bad.reason}")
        return False
    return True


@report_errors
def main():
    parser = Parser(__doc__)
    parser.add_argument("--images", type=folder_path, required=True, help="folder of recordings")
    parser.add_argument("--split", choices=SPLITS, default="train", help="what they are for")
    add_out(parser)
    options = parser.parse_args()
    refuse_among("--images", [options.images], options.out)
    videos = find_videos(options.images)
    with Collection(options) as collection:
        count = sum(convert(video, options, collection) for video in tqdm(videos, disable=None))
    if not count:
        raise UserError(f"no recording below {options.images} can be used")
    print(f"{options.out / options.split}: {count} recordings")


if __name__ == "__main__":
    main()
