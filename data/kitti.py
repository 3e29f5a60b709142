"""Arrange driving recordings: KITTI raw data, frames of Caltech Pedestrian.

    python data/kitti.py --images KITTI

takes each folder of frames, such as 2011_09_26/2011_09_26_drive_0001_sync/image_02/data or
set06/V000/images, into data/images/{train,test} as second names of the same files. The test
recordings are those of the PredNet paper for KITTI, sets 6 to 10 for Caltech.
"""

import re
import sys
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where utils is
from utils.collection import Collection, add_out, folder_of
from utils.errors import UserError, one_line
from utils.folders import Folder
from utils.usage import Parser
from utils.videos import find_videos

TEST_DRIVES = {"2011_09_26_drive_0104", "2011_09_26_drive_0079", "2011_09_26_drive_0070"}
DRIVE = re.compile(r"(\d{4}_\d\d_\d\d_drive_\d{4})_\w+/image_(\d\d)(?:/data)?$")
SET = re.compile(r"(set(\d\d))/(V\d{3})(?:/images)?$")
FIRST_TEST_SET = 6


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


@one_line
def main():
    parser = Parser(__doc__.splitlines()[0])
    parser.add_argument("--images", type=folder_of, required=True, help="folder of recordings")
    add_out(parser)
    options = parser.parse_args()
    places = {
        video: place(video.path)
        for video in find_videos(options.images)
        if isinstance(video, Folder) and place(video.path)
    }
    if not places:
        raise UserError(f"no recordings of KITTI or Caltech below {options.images}")
    with Collection(options) as collection:
        for video, (split, name) in tqdm(places.items(), disable=None):
            for number in range(len(video)):
                path = video.place(number)
                collection.add_file(path, options.out / split / name / path.name)
    print(f"{options.out}: {len(places)} recordings")


if __name__ == "__main__":
    main()
