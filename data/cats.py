"""Arrange moving pictures of cats: the catz data set, animated GIFs.

    python data/cats.py --images catz

links catz/{train,test}/NAME/cat_0.jpg to cat_4.jpg and cat_result.jpg, the sixth frame, into
data/images/{train,test}/NAME (hard links, or copies where the disk has none), and animated GIFs
likewise. Of cats that are in neither train nor test one in every --test is for testing.
"""

import sys
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where utils is
from utils.collection import SPLITS, Collection, add_out, tell_left_out
from utils.errors import UserError, report_errors
from utils.folders import find_twins
from utils.frames import natural, warn_left_out
from utils.images import FORMATS
from utils.usage import Parser, folder_path, integer, refuse_among
from utils.videos import READABLE

PLACES = ("cat_0", "cat_1", "cat_2", "cat_3", "cat_4", "cat_result")


def find_cats(root):
    """[files] of each cat in a folder: six pictures or a GIF; a warning for incomplete ones."""
    cats = []
    for path in root.glob("[!.]*"):
        if not path.exists():
            warn_left_out(path, "a link that leads nowhere")
        elif path.suffix.lower() == ".gif" and path.is_file():
            cats.append([path])
    for folder in filter(Path.is_dir, root.glob("[!.]*")):  # Python 3.10 lists files for "*/", too
        found = [p for p in folder.iterdir() if p.stem in PLACES and p.suffix.lower() in FORMATS]
        pictures = {path.stem: path for path in found if path.is_file()}
        missing = [place for place in PLACES if place not in pictures]
        if twins := list(find_twins(sorted(path.name for path in found))):
            warn_left_out(folder, "{} and {} would be two frames of one name".format(*twins[0]))
        elif not missing:
            cats.append([pictures[place] for place in PLACES])
        elif folder.name not in SPLITS:
            warn_left_out(folder, f"no picture {', '.join(missing)}")
    return sorted(cats, key=lambda files: natural(files[0].relative_to(root).as_posix()))


def find_others(root):
    """The files in a folder that are videos or pictures, but no GIFs."""
    there = [path for path in root.glob("[!.]*") if path.is_file()]
    endings = set(READABLE) - {".gif"}
    return [path for path in there if path.suffix.lower() in endings]


@report_errors
def main():
    parser = Parser(__doc__)
    parser.add_argument(
        "--images", type=folder_path, required=True, help="folder of train and test"
    )
    parser.add_argument(
        "--test", type=integer(1), default=10, help="one cat in so many is for testing"
    )
    add_out(parser)
    options = parser.parse_args()
    refuse_among("--images", [options.images], options.out)
    root = options.images
    cats = [(options.out, files) for split in SPLITS for files in find_cats(root / split)]
    for number, files in enumerate(find_cats(root), 1):
        cats.append((options.out / ("train" if number % options.test else "test"), files))
    if not cats:
        raise UserError(f"no folder with cat_0 to cat_result, no GIF in {root}")
    others = [path for split in (*SPLITS, "") for path in find_others(root / split)]
    cure = "neither GIFs nor in a cat's folder; convert them, or give them to process_data.py"
    tell_left_out(others, "files", cure)
    with Collection(options) as collection:
        for folder, files in tqdm(cats, disable=None):
            for file in files:
                collection.add_file(file, folder / file.relative_to(root))
    print(f"{options.out}: {len(cats)} videos")


if __name__ == "__main__":
    main()
