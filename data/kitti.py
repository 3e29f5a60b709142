"""Arrange driving recordings: KITTI raw data, frames of Caltech Pedestrian.

    python data/kitti.py --images KITTI

links each folder of frames, such as 2011_09_26/2011_09_26_drive_0001_sync/image_02/data or
set06/V000/images, into data/images/{train,test} (hard links, or copies where the disk has none).
The test recordings are those of the PredNet paper for KITTI, sets 6 to 10 for Caltech.
"""

import os
import re
import sys
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where utils is
from utils.collection import Collection, add_out, tell_left_out
from utils.errors import UserError, report_errors, warn
from utils.folders import Folder
from utils.frames import warn_left_out
from utils.images import FORMATS
from utils.usage import Parser, folder_path, refuse_among
from utils.videos import find_videos

TEST_DRIVES = {"2011_09_26_drive_0104", "2011_09_26_drive_0079", "2011_09_26_drive_0070"}
DRIVE = re.compile(r"(\d{4}_\d\d_\d\d_drive_\d{4})_\w+/image_(\d\d)(?:/data)?$")
SET = re.compile(r"(set(\d\d))/(V\d{3})(?:/images)?$")
FIRST_TEST_SET = 6
RAW = "_extract/"


def place(folder):
    """(split, name) of the video in a folder; None for a folder of another kind."""
    path = folder.resolve().as_posix()
    if match := DRIVE.search(path):
        drive, camera = match.groups()
        return "test" if drive in TEST_DRIVES else "train", f"{drive}_{camera}"
    if match := SET.search(path):
        name, number, video = match.groups()
        return "test" if int(number) >= FIRST_TEST_SET else "train", f"{name}_{video}"
    return None


def find_recordings(root):
    """The videos below a folder, rectified recordings (_sync) before raw ones (_extract).

    KITTI keeps points and times beside the pictures, 100,000 files that no warning is printed for.
    UserError if there is nothing but films in .seq.
    """
    films = []

    def skip(path, reason):
        ending = Path(path).suffix.lower()
        if ending == ".seq":
            films.append(path)
        elif ending in {"", *FORMATS}:
            warn_left_out(path, reason)

    cure = "write the pictures of each to a folder such as set00/V000 with the data set's own tools"
    try:
        videos = find_videos(root, skip)
    except UserError:
        if films:
            raise UserError(f"only .seq films below {root}: {cure}") from None
        raise
    if films:
        warn(f"{len(films)} .seq films are left out: {cure}")
    return sorted(videos, key=lambda video: RAW in video.path.as_posix())


@report_errors
def main():
    parser = Parser(__doc__)
    parser.add_argument("--images", type=folder_path, required=True, help="folder of recordings")
    add_out(parser)
    options = parser.parse_args()
    refuse_among("--images", [options.images], options.out)
    places, others = {}, []
    for video in find_recordings(options.images):
        if not (found := isinstance(video, Folder) and place(video.path)):
            others.append(video.path)
        elif found in places:
            warn_left_out(video.path, f"the same recording as {places[found].path}")
        else:
            places[found] = video
    if not places:
        raise UserError(f"no recordings of KITTI or Caltech below {options.images}")
    cure = "no recordings of KITTI or Caltech; process_data.py takes them as they are"
    tell_left_out(others, "videos", cure)
    with Collection(options) as collection:
        for (split, name), video in tqdm(places.items(), disable=None):
            for path in map(video.place, range(len(video))):
                if not os.path.lexists(path):  # KITTI lacks some pictures: their numbers stay free
                    continue
                collection.add_file(path, options.out / split / name / path.name)
    print(f"{options.out}: {len(places)} recordings")


if __name__ == "__main__":
    main()
