"""One network tested on all videos: its numbers, its pictures."""

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
from tqdm import tqdm

from utils import cost, gallery, report
from utils.errors import UserError
from utils.evaluation import examine
from utils.files import read_file
from utils.leaderboard import Entry
from utils.names import printable

FILES = RECORD, NUMBERS, SHEET = "metrics.json", "metrics.csv", "contact_sheet.png"


@dataclasses.dataclass
class Trial:
    """What became of the videos.

    scores: {(video, first frame): what `evaluation.score` found}. seconds: what a predicted frame
    took, of each window. shown: examples as `gallery.contact_sheet` takes them. gifs: the files.
    videos: how many were long enough.
    """

    scores: dict = dataclasses.field(default_factory=dict)
    seconds: list = dataclasses.field(default_factory=list)
    shown: list = dataclasses.field(default_factory=list)
    gifs: list = dataclasses.field(default_factory=list)
    videos: int = 0

    @functools.cached_property
    def means(self):
        """Of all windows, as `report.average` has them; to be asked for once these are scored."""
        return report.average(list(self.scores.values()))

    def save(self, out, conditions):
        """Leave the contact sheet and the numbers, which `conditions` explains, in a folder."""
        gallery.contact_sheet(out / SHEET, self.shown)
        report.save_csv(out / NUMBERS, self.scores)
        counts = {"videos": self.videos, "windows": len(self.scores)}
        conditions = {**conditions, **counts, "gifs": [gif.name for gif in self.gifs]}
        report.save_json(out / RECORD, conditions, self.means)

    def entry(self, name, model, size, training):
        """The line of the network called `name` in a leaderboard.

        size: (height, width) of the frames that operations are counted for. training: what
        `rundir.training_cost` knows.
        """
        return Entry(
            name,
            self.means,
            parameters=model.count_params(),
            flops=cost.flops(model, size) // model.horizon,
            seconds=float(np.median(self.seconds)),
            **training,
        )


def clear(out):
    """Make a folder for a test; the GIFs of an earlier one there, which its record names, go.

    UserError for files of other origin that a test would overwrite.
    """
    out.mkdir(parents=True, exist_ok=True)
    try:
        for name in json.loads(read_file(out / RECORD))["conditions"].get("gifs", []):
            if Path(name).name == name and name.endswith(".gif"):
                (out / name).unlink(missing_ok=True)
    except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError):
        for name in FILES:
            if (out / name).exists():
                raise UserError(f"{out / name}: no test left it there; give a new --out") from None


def examine_videos(model, device, videos, out, name, *, history, frames, windows, gifs):
    """The Trial of a network on its device, GIFs of the first `gifs` videos written to `out`.

    history, frames: how many past frames are shown, how many are predicted, at `windows` places of
    each video. `name` is for the progress bar.
    There are no scores where no video is long enough.
    """
    names = [printable(video.name) for video in videos]
    trial, places = Trial(), gallery.places(out, names, taken=out.glob("*.gif"))
    report.save_json(out / RECORD, {"gifs": [place.name for place in places]}, {})
    bar = tqdm(videos, desc=name, unit="video", disable=None, leave=False)
    for video, place in zip(bar, places, strict=True):
        found, example, seconds = examine(model, device, video, history, frames, windows)
        trial.scores |= found
        trial.seconds += seconds
        if not example:
            continue
        trial.videos += 1
        trial.shown = [*trial.shown, example][: gallery.VIDEOS]
        if trial.videos <= gifs:
            gallery.animate(place, *example[1:])
            trial.gifs.append(place)
    return trial
