"""One network tested on all videos: its numbers, its pictures."""

import dataclasses
import functools
import math

import numpy as np
from tqdm import tqdm

from utils import cost, gallery, report
from utils.evaluation import examine
from utils.files import write_whole
from utils.leaderboard import Entry
from utils.pixels import denormalise

FILES = RECORD, NUMBERS, SHEET = "metrics.json", "metrics.csv", "contact_sheet.png"
ENDINGS = (".gif", ".npz")  # of the other files of a test


@dataclasses.dataclass
class Trial:
    """What became of the videos.

    scores: {(video, first frame): what `evaluation.score` found}. seconds: what a predicted frame
    took, of each window. shown: examples as `gallery.contact_sheet` takes them, the window of a
    video with the most motion. files: the names of GIFs and arrays. videos: how many were long
    enough. size: (height, width) of the largest frames.
    """

    scores: dict = dataclasses.field(default_factory=dict)
    seconds: list = dataclasses.field(default_factory=list)
    shown: list = dataclasses.field(default_factory=list)
    files: list = dataclasses.field(default_factory=list)
    videos: int = 0
    size: tuple[int, int] = 0, 0

    @functools.cached_property
    def means(self):
        """Of all windows, as `report.average` has them; to be asked for once these are scored."""
        return report.average(list(self.scores.values()))

    def save(self, out, conditions):
        """Leave the contact sheet and the numbers, which `conditions` explains, in a folder."""
        gallery.contact_sheet(out / SHEET, self.shown)
        report.save_csv(out / NUMBERS, self.scores)
        counts = {"videos": self.videos, "windows": len(self.scores)}
        conditions = {**conditions, **counts, "files": self.files}
        report.save_json(out / RECORD, conditions, self.means)

    def entry(self, name, model, training):
        """The line of the network called `name` in a leaderboard.

        Operations are those for the largest frames. training: what `rundir.training_cost` knows.
        """
        return Entry(
            name,
            self.means,
            parameters=model.count_params(),
            flops=cost.flops(model, self.size) // model.horizon,
            seconds=float(np.median(self.seconds)),
            **training,
        )


def make_way(out, names):
    """Make a folder for a test; pictures and arrays of an earlier one there go.

    Returns {name: what the files of the video called so are to be called, without endings}.
    UserError as of `report.left_before`.
    """
    out.mkdir(parents=True, exist_ok=True)
    earlier = {name for name in report.left_before(out, FILES) if name.endswith(ENDINGS)}
    taken = (path.stem for path in out.iterdir() if path.name not in earlier)
    stems = dict(zip(names, gallery.stems(names, taken), strict=True))
    planned = {f"{stem}{ending}" for stem in stems.values() for ending in ENDINGS}
    # Before the first of them goes or comes: a test that is killed now has left all of these.
    report.save_json(out / RECORD, {"files": sorted(earlier | planned)}, {})
    for name in earlier:
        (out / name).unlink(missing_ok=True)
    return stems


def examine_videos(model, device, videos, out, name, *, history, frames, windows, gifs, arrays):
    """The Trial of a network on its device, GIFs of the first `gifs` videos written to `out`.

    history, frames: how many past frames are shown, how many are predicted, at `windows` places of
    each video. arrays: whether these are written, too. `name` is for the progress bar.
    There are no scores where no video is long enough; then `out` stays as it is.
    """
    trial, stems = Trial(), {}
    for video in tqdm(videos, desc=name, unit="video", disable=None, leave=False):
        liveliest, kept = None, []
        for window in examine(model, device, video, history, frames, windows):
            trial.scores[video.name, window.start] = window.scores
            trial.seconds.append(window.seconds)
            if liveliest is None or window.motion > liveliest.motion:
                liveliest = window
            if arrays:
                kept.append(window)
        if not liveliest:
            continue
        if not trial.videos:
            stems = make_way(out, [video.name for video in videos])
        stem = stems[video.name]
        trial.videos += 1
        trial.size = max(trial.size, liveliest.clip.shape[2:], key=math.prod)
        shown = liveliest.clip, liveliest.predicted
        if len(trial.shown) < gallery.VIDEOS:
            trial.shown.append((video.name, *shown))
        if trial.videos <= gifs:
            trial.files.append(f"{stem}.gif")
            gallery.animate(out / trial.files[-1], *shown)
        if arrays:
            trial.files.append(f"{stem}.npz")
            save_arrays(out / trial.files[-1], kept)
    return trial


def save_arrays(path, windows):
    """Write the windows of a video, N of them: start (N,), past (N, P, C, H, W), true and predicted
    (N, F, C, H, W), frames uint8."""
    frames = len(windows[0].predicted)
    arrays = {
        "start": np.array([window.start for window in windows]),
        "past": np.stack([window.clip[:-frames] for window in windows]),
        "true": np.stack([window.clip[-frames:] for window in windows]),
        "predicted": np.stack([denormalise(window.predicted) for window in windows]),
    }
    write_whole(path, lambda file: np.savez_compressed(file, **arrays))
