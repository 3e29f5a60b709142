"""Arrange moving pictures of cats: the catz data set, animated GIFs.

    python data/cats.py --images catz

takes catz/{train,test}/NAME/cat_0.jpg to cat_4.jpg and cat_result.jpg, the sixth frame, into
data/images/{train,test}/NAME as second names of the same files. Of animated GIFs that lie in the
folder itself one in --test is for testing.
"""

import sys
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where utils is
from utils.collection import SPLITS, add_file, folder_of
from utils.errors import UserError, one_line
from utils.frames import natural, warn
from utils.images import FORMATS
from utils.usage import Parser, whole

PLACES = ("cat_0", "cat_1", "cat_2", "cat_3", "cat_4", "cat_result")


def find_cats(root):
    """{folder below root: its pictures in order}, with warnings for incomplete ones."""
    cats = {}
    for folder in sorted(root.glob("*/"), key=lambda path: natural(path.name)):
        pictures = {p.stem: p for p in folder.iterdir() if p.suffix.lower() in FORMATS}
        if missing := [place for place in PLACES if place not in pictures]:
            warn(folder, f"no picture {', '.join(missing)}")
        else:
            cats[folder] = [pictures[place] for place in PLACES]
    return cats


@one_line
def main():
    parser = Parser(__doc__.splitlines()[0])
    parser.add_argument("--images", type=folder_of, required=True, help="folder of train and test")
    parser.add_argument(
        "--test", type=whole(1), default=10, help="one GIF in so many is for testing"
    )
    parser.add_argument("--out", type=Path, default="data/images", help="folder of train and test")
    options = parser.parse_args()
    cats = {split: find_cats(options.images / split) for split in SPLITS}
    gifs = sorted(options.images.glob("*.gif"), key=lambda path: natural(path.name))
    count = sum(map(len, cats.values())) + len(gifs)
    if not count:
        raise UserError(f"no train/NAME/cat_0.jpg to cat_result.jpg, no GIFs in {options.images}")
    for split, found in cats.items():
        for folder, pictures in tqdm(found.items(), split, disable=None):
            for picture in pictures:
                add_file(picture, options.out / split / folder.name / picture.name)
    for number, gif in enumerate(gifs, 1):
        add_file(gif, options.out / ("train" if number % options.test else "test") / gif.name)
    print(f"{options.out}: {count} videos")


if __name__ == "__main__":
    main()
