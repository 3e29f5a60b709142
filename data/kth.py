"""Convert KTH Actions: its films, split by persons, cut into its sequences.

    python data/kth.py --videos KTH --sequences 00sequences.txt

reads KTH/**/person01_boxing_d1_uncomp.avi and writes data/images/{train,test}/boxing/
person01_boxing_d1_1/frame_00001.png, grey. The file of frame ranges belongs to the data set.
Persons 17 to 25 are for testing, as in MCnet, PredRNN and OpenSTL; the split that the data set
comes with is one for recognising actions.
"""

import re
import sys
import textwrap
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where utils is
from utils.collection import Collection, add_out, tell_missing
from utils.errors import MESSAGE, UserError, report_errors
from utils.files import read_lines
from utils.frames import BadFrame, Look, warn_left_out
from utils.usage import Parser, file_path, folder_path, refuse_among
from utils.videos import find_videos

FIRST_TEST_PERSON = 17
FILM = re.compile(r"person(\d\d)_(\w+)_d\d")
RANGE = r"(\d+)\s*-\s*(\d+)"
LINE = re.compile(rf"({FILM.pattern})\s+(?:\*missing\*|frames\s+{RANGE}(?:\s*,\s*{RANGE})*,?)")


def read_ranges(path):
    """{film: [(first, last), ...]}, frames counted from 1, of the data set's 00sequences.txt.

    Films that it calls missing are not there; UserError for a film's line in any other form.
    """
    ranges = {}
    for number, line in enumerate(read_lines(path, "KTH's 00sequences.txt"), 1):
        if not re.match(r"\s*person\d", line):
            continue
        if not (match := LINE.fullmatch(line.strip())):
            text = textwrap.shorten(line, MESSAGE, placeholder="...")
            cure = "write its frames as in person01_boxing_d1 frames 1-95, 96-185"
            raise UserError(f"{path}, line {number}: {text!r} cannot be read; {cure}")
        try:
            pairs = [tuple(map(int, pair)) for pair in re.findall(RANGE, line)]
        except ValueError:  # int() refuses thousands of digits
            raise UserError(f"{path} has a number beyond all measure: give KTH's") from None
        if pairs:
            ranges[match[1]] = pairs
    if not ranges:
        raise UserError(f"{path} names no sequences: give KTH's 00sequences.txt")
    return ranges


@report_errors
def main():
    parser = Parser(__doc__)
    parser.add_argument("--videos", type=folder_path, required=True, help="folder of the films")
    parser.add_argument("--sequences", type=file_path, required=True, help="00sequences.txt")
    add_out(parser)
    options = parser.parse_args()
    refuse_among("--videos", [options.videos], options.out)
    ranges = read_ranges(options.sequences)
    films = find_videos(options.videos, look=Look(gray=True))
    paths = {}
    for film in films:
        name = name_of(film)
        if name in ranges and name in paths:
            raise UserError(f"{paths[name]} and {film.path} are both {name}: keep one of them")
        paths[name] = film.path
    with Collection(options) as collection:
        cut = (cut_film(film, ranges, options, collection) for film in tqdm(films, disable=None))
        count = sum(cut)
    if not count:
        raise UserError(f"no sequence of {options.sequences} is in a film below {options.videos}")
    missing = sorted(ranges.keys() - paths.keys())
    tell_missing(missing, f"films of {options.sequences}", options.videos)
    print(f"{options.out}: {count} sequences")


def cut_film(film, ranges, options, collection):
    """Add the sequences of a film to the collection -> their number."""
    name, count = name_of(film), 0
    if name not in ranges:
        warn_left_out(film.path, f"not in {options.sequences}")
        return 0
    person, action = FILM.match(name).groups()
    split = "test" if int(person) >= FIRST_TEST_PERSON else "train"
    for number, (first, last) in enumerate(ranges[name], 1):
        folder = options.out / split / action / f"{name}_{number}"
        if not 1 <= first <= last <= len(film):
            warn_left_out(
                film.path, f"{len(film)} frames, sequence {first}-{last} is not among them"
            )
            continue
        try:
            if not collection.has(folder):
                frames = [frame[..., 0] for frame in film.read(first - 1, last)]
                collection.add_frames(folder, frames)
        except BadFrame as bad:
            warn_left_out(bad.path, f"sequence {first}-{last}: {bad.reason}")
            continue
        count += 1
    return count


def name_of(film):
    """The name of a film in the list of sequences."""
    return film.path.stem.removesuffix("_uncomp")


if __name__ == "__main__":
    main()
