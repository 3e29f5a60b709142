"""One network tested on all videos: its numbers, its pictures."""

import dataclasses
import functools

import numpy as np
from tqdm import tqdm

from utils import cost, gallery, report
from utils.evaluation import examine
from utils.leaderboard import Entry


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
        gallery.contact_sheet(out / "contact_sheet.png", self.shown)
        report.save_csv(out / "metrics.csv", self.scores)
        conditions = {**conditions, "videos": self.videos, "windows": len(self.scores)}
        report.save_json(out / "metrics.json", conditions, self.means)

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


def examine_videos(model, device, videos, out, name, *, history, frames, windows, gifs):
    """The Trial of a network on its device, GIFs of the first `gifs` videos written to `out`.

    history, frames: how many past frames are shown, how many are predicted, at `windows` places of
    each video. `name` is for the progress bar.
    There are no scores where no video is long enough.
    """
    trial = Trial()
    for video in tqdm(videos, desc=name, unit="video", disable=None, leave=False):
        found, example, seconds = examine(model, device, video, history, frames, windows)
        trial.scores |= found
        trial.seconds += seconds
        if not example:
            continue
        trial.videos += 1
        trial.shown = [*trial.shown, example][: gallery.VIDEOS]
        if trial.videos <= gifs:
            trial.gifs.append(gallery.place(out, example[0], trial.gifs))
            gallery.animate(trial.gifs[-1], *example[1:])
    return trial
