"""Arrange UCF-101 by one of its official splits, a folder for each class.

    python data/ucf101.py --videos UCF-101 --lists ucfTrainTestlist --split 1

links UCF-101/Archery/v_Archery_g01_c01.avi into data/images/{train,test}/Archery (hard links, or
copies where the disk has none).
"""

import itertools
import sys
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where utils is
from utils.collection import SPLITS, Collection, add_out, tell_left_out, tell_missing
from utils.errors import UserError, report_errors
from utils.files import read_lines
from utils.films import ENDINGS
from utils.usage import Parser, folder_path


def read_list(path):
    """The films, Class/film.avi, of a split list; a number after one, its class, is ignored."""
    lines = read_lines(path, "UCF-101's lists")
    names = list(dict.fromkeys(line.split()[0] for line in lines if line.strip()))
    for name in names:
        if name.startswith("/") or len(Path(name).parts) != 2 or ".." in name:
            raise UserError(f"{path}: {name} is not a class with a film: give UCF-101's lists")
    return names


def read_lists(folder, number):
    """{split: films} of one of the official splits; UserError if a film is in both."""
    files = {split: f"{split}list{number:02d}.txt" for split in SPLITS}
    lists = {split: read_list(folder / file) for split, file in files.items()}
    if twins := set.intersection(*map(set, lists.values())):
        problem = f"{min(twins)} is in both {' and '.join(files.values())}"
        raise UserError(f"{problem}: it would be learned, then tested; remove it from one")
    return lists


def find_unlisted(folder, names):
    """The films in a folder, or in the folders of classes in it, that are not among the names."""
    listed = {folder / name for name in names}
    there = {*folder.glob("[!.]*"), *folder.glob("[!.]*/[!.]*")}
    return [path for path in there - listed if path.suffix.lower() in ENDINGS]


@report_errors
def main():
    parser = Parser(__doc__)
    parser.add_argument("--videos", type=folder_path, required=True, help="folder of the classes")
    parser.add_argument(
        "--lists", type=folder_path, required=True, help="folder of the split lists"
    )
    parser.add_argument(
        "--split", type=int, choices=(1, 2, 3), default=1, help="which of the official ones"
    )
    add_out(parser)
    options = parser.parse_args()
    films, missing, lists = {}, [], read_lists(options.lists, options.split)
    for split, names in lists.items():
        films[split] = [name for name in names if (options.videos / name).is_file()]
        missing += sorted(set(names) - set(films[split]))
    if not any(films.values()):
        raise UserError(f"no film of the lists is below {options.videos}: give the classes' folder")
    with Collection(options) as collection:
        for split, names in films.items():
            for name in tqdm(names, split, disable=None):
                collection.add_file(options.videos / name, options.out / split / name)
            print(f"{options.out / split}: {len(names)} films")
    tell_missing(missing, "films of the lists", options.videos)
    unlisted = find_unlisted(options.videos, itertools.chain(*lists.values()))
    tell_left_out(unlisted, "films", "not in the lists; add them there to have them")


if __name__ == "__main__":
    main()
