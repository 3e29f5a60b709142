"""Convert microscopy recordings, TIFF stacks or folders of pictures, to grey frames.

    python data/microscopy.py --images recordings

writes data/images/train/NAME/frame_00001.png for each stack or folder. Cameras fill little of
their 12 or 16 bits: the darkest 1 in 1000 pixels of a recording become black, the brightest white.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import ImageSequence
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where utils is
from utils.collection import SPLITS, Collection, add_out, folder_of
from utils.errors import UserError, one_line
from utils.folders import Folder
from utils.frames import BadFrame, warn
from utils.images import grey_levels, open_image
from utils.usage import Parser
from utils.videos import find_videos

ENDS = 0.1, 99.9  # percentiles that become black, white


def read_grey(path):
    """Yield all pictures of a file as they were recorded, (H, W), of any number type."""
    with open_image(path) as image:
        for page in ImageSequence.Iterator(image):
            grey = page.mode in {"L", "F"} or page.mode.startswith("I")
            levels = grey_levels(page) if grey else np.asarray(page.convert("L"))
            if not np.isfinite(levels).all():
                raise ValueError("some of its pixels are not numbers: make them 0")
            yield levels.astype(levels.dtype.newbyteorder("="))


def files(video):
    """The files of a recording in order."""
    if isinstance(video, Folder):
        return [video.place(number) for number in range(len(video))]
    return [video.path]


def stretch(pictures):
    """Pictures of any range -> uint8, from the darkest to the brightest of all."""
    low, high = np.percentile(pictures, ENDS)
    scaled = (np.asarray(pictures, np.float32) - low) * (255 / max(high - low, 1e-6))
    return scaled.clip(0, 255).round().astype(np.uint8)


def convert(video, options, collection):
    """Put a recording into the collection; whether it can be used."""
    name = options.images.resolve().name if video.name == "." else video.name
    folder = options.out / options.split / name
    if collection.has(folder):
        return True
    try:
        pictures = [picture for path in files(video) for picture in read_grey(path)]
    except BadFrame as bad:
        warn(bad.path, bad.reason)
        return False
    if len({picture.shape for picture in pictures}) > 1:
        warn(video.path, "pictures of several sizes")
        return False
    if len({picture.dtype for picture in pictures}) > 1:
        warn(video.path, "pictures of several depths, 8 bits and 16")
        return False
    collection.add_frames(folder, stretch(pictures))
    return True


@one_line
def main():
    parser = Parser(__doc__.splitlines()[0])
    parser.add_argument("--images", type=folder_of, required=True, help="folder of recordings")
    parser.add_argument("--split", choices=SPLITS, default="train", help="what they are for")
    add_out(parser)
    options = parser.parse_args()
    videos = find_videos(options.images)
    with Collection(options) as collection:
        count = sum(convert(video, options, collection) for video in tqdm(videos, disable=None))
    if not count:
        raise UserError(f"no recording below {options.images} can be used")
    print(f"{options.out / options.split}: {count} recordings")


if __name__ == "__main__":
    main()
