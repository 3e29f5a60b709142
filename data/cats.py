"""Convert pictures of cats kept by place in the clip: folders cat_0 to cat_4, cat_result.

    python data/cats.py --images cats

takes the pictures of one name in cats/cat_0, ..., cats/cat_4, cats/cat_result for successive
frames of one video, data/images/train/NAME/frame_00001.png to frame_00006.png. Animated GIFs found
beside those folders are cut into their frames. One video in --test goes to data/images/test.
"""

import sys
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where utils is
from utils.collection import add_frames, add_out, folder_of
from utils.errors import UserError, one_line
from utils.frames import BadFrame, natural, warn
from utils.images import FORMATS, read_image
from utils.usage import Parser, whole
from utils.videos import find_videos

PLACES = ("cat_0", "cat_1", "cat_2", "cat_3", "cat_4", "cat_result")


def find_clips(root):
    """{name: its pictures in order} of the names in all folders, with warnings for the others."""
    named = {place: {} for place in PLACES}
    for place in PLACES:
        for path in sorted((root / place).glob("*")):
            if path.suffix.lower() in FORMATS:
                named[place][path.stem] = path
    everywhere = set.intersection(*(set(paths) for paths in named.values()))
    for paths in named.values():
        for name in paths.keys() - everywhere:
            warn(paths[name], f"not in all of {', '.join(PLACES)}")
    return {
        name: [named[place][name] for place in PLACES] for name in sorted(everywhere, key=natural)
    }


def find_animations(root):
    """{name: Video} of the animated GIFs in a folder."""
    paths = sorted(root.glob("*.gif"), key=lambda path: natural(path.name))
    return {video.path.stem: video for video in (find_videos(paths) if paths else [])}


@one_line
def main():
    parser = Parser(__doc__.splitlines()[0])
    parser.add_argument("--images", type=folder_of, required=True, help="folder with cat_0, ...")
    parser.add_argument(
        "--test", type=whole(1), default=10, help="one video in so many is for testing"
    )
    add_out(parser)
    options = parser.parse_args()
    clips = {name: map(read_image, paths) for name, paths in find_clips(options.images).items()}
    clips |= find_animations(options.images)
    if not clips:
        raise UserError(f"no {', '.join(PLACES)}, no GIFs in {options.images}")
    count = 0
    for number, (name, frames) in enumerate(tqdm(clips.items(), disable=None), 1):
        split = "train" if number % options.test else "test"
        try:
            add_frames(options.out / split / name, frames)
            count += 1
        except BadFrame as bad:
            warn(bad.path, bad.reason)
    print(f"{options.out}: {count} videos")


if __name__ == "__main__":
    main()
