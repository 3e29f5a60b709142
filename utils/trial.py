"""One network tested on all videos: its numbers, its pictures."""

import dataclasses
import functools
import math

import numpy as np
from tqdm import tqdm

from utils import cost, curves, gallery, page, report
from utils.evaluation import examine
from utils.files import write_whole
from utils.leaderboard import Entry, with_copy
from utils.pixels import denormalise

RECORD, NUMBERS, PAGE = "metrics.json", "metrics.csv", "report.html"
SHEET, CURVES = "contact_sheet.png", "curves.png"
FILES = RECORD, NUMBERS, PAGE, SHEET, CURVES
DRAWN = "psnr", "ssim", "sharpness"  # metrics whose curves are drawn


@dataclasses.dataclass
class Trial:
    """The results of a network on all videos.

    name: of the run. scores: {(video, first frame): what `evaluation.score` returns} of each
    window. seconds: per predicted frame, of each window. shown: examples for
    `gallery.contact_sheet`, from each video the window with the most motion. gifs: {video: file
    name}. arrays: names of .npz files. videos: how many were long enough. size: (height, width) of
    the largest frames.
    """

    name: str
    scores: dict = dataclasses.field(default_factory=dict)
    seconds: list = dataclasses.field(default_factory=list)
    shown: list = dataclasses.field(default_factory=list)
    gifs: dict = dataclasses.field(default_factory=dict)
    arrays: list = dataclasses.field(default_factory=list)
    videos: int = 0
    size: tuple[int, int] = 0, 0

    @functools.cached_property
    def means(self):
        """Means over all windows, as `report.average` returns them; cached at the first access."""
        return report.average(list(self.scores.values()))

    def save(self, out, conditions):
        """Write numbers, pictures and a page of both; conditions: how the numbers came about."""
        gallery.contact_sheet(out / SHEET, self.shown)
        curves.save(out / CURVES, with_copy([Entry(self.name, self.means)]), DRAWN)
        report.save_csv(out / NUMBERS, self.scores)
        files = {"numbers": NUMBERS, "record": RECORD, "curves": CURVES, "sheet": SHEET}
        page.save(out / PAGE, self.name, self.scores, self.gifs, conditions, **files)
        counts = {"videos": self.videos, "windows": len(self.scores)}
        written = [*self.gifs.values(), *self.arrays]
        report.save_json(out / RECORD, {**conditions, **counts, "files": written}, self.means)

    def entry(self, model, training):
        """The leaderboard.Entry of the network.

        Its operations are those for the largest frames. training: of `rundir.training_cost`.
        """
        return Entry(
            self.name,
            self.means,
            parameters=model.count_params(),
            flops=cost.flops(model, self.size) // model.horizon,
            seconds=float(np.median(self.seconds)),
            **training,
        )


def examine_videos(model, videos, out, name, *, history, frames, windows, gifs, arrays, taken=()):
    """Test a network on all videos -> Trial; pictures are written to the folder `out`.

    At `windows` places of each video the network sees `history` frames and predicts `frames` more.
    gifs: of how many videos GIFs are written. arrays: whether past, truth and prediction are
    written as .npz files. taken: as of `results.replacing`. name: of the run. If no video is long
    enough, the Trial has no scores.
    """
    names = [video.name for video in videos]
    trial, stems = Trial(name), dict(zip(names, gallery.stems(names, taken), strict=True))
    for video in tqdm(videos, desc=name, unit="video", disable=None, leave=False):
        liveliest, kept = None, []
        for window in examine(model, video, history, frames, windows):
            trial.scores[video.name, window.start] = window.scores
            trial.seconds.append(window.seconds)
            if liveliest is None or window.motion > liveliest.motion:
                liveliest = window
            if arrays:
                kept.append(window)
        if not liveliest:
            continue
        stem = stems[video.name]
        trial.videos += 1
        trial.size = max(trial.size, liveliest.clip.shape[2:], key=math.prod)
        shown = liveliest.clip, liveliest.predicted
        if len(trial.shown) < gallery.VIDEOS:
            trial.shown.append((video.name, *shown))
        if trial.videos <= gifs:
            trial.gifs[video.name] = f"{stem}.gif"
            gallery.animate(out / trial.gifs[video.name], *shown)
        if arrays:
            trial.arrays.append(f"{stem}.npz")
            save_arrays(out / trial.arrays[-1], kept)
    return trial


def save_arrays(path, windows):
    """Write the N windows of a video as a compressed .npz.

    start: (N,); past: (N, P, C, H, W); true, predicted: (N, F, C, H, W); frames are uint8.
    """
    frames = len(windows[0].predicted)
    arrays = {
        "start": np.array([window.start for window in windows]),
        "past": np.stack([window.clip[:-frames] for window in windows]),
        "true": np.stack([window.clip[-frames:] for window in windows]),
        "predicted": np.stack([denormalise(window.predicted) for window in windows]),
    }
    write_whole(path, lambda file: np.savez_compressed(file, **arrays))
