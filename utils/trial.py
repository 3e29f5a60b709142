"""One network tested on all videos: its numbers, its pictures."""

import contextlib
import dataclasses
import functools
import math
import shutil

import numpy as np
from tqdm import tqdm

from utils import cost, gallery, report
from utils.evaluation import examine
from utils.files import write_whole
from utils.leaderboard import Entry
from utils.pixels import denormalise

FILES = RECORD, NUMBERS, SHEET = "metrics.json", "metrics.csv", "contact_sheet.png"
ENDINGS = (".gif", ".npz")  # of the other files of a test
UNFINISHED = ".unfinished"  # the folder of those that are being written


@dataclasses.dataclass
class Trial:
    """The results of a network on all videos.

    scores: {(video, first frame): what `evaluation.score` returns} of each window. seconds: per
    predicted frame, of each window. shown: examples for `gallery.contact_sheet`, from each video
    the window with the most motion. files: names of the GIFs and arrays written. videos: how many
    were long enough. size: (height, width) of the largest frames.
    """

    scores: dict = dataclasses.field(default_factory=dict)
    seconds: list = dataclasses.field(default_factory=list)
    shown: list = dataclasses.field(default_factory=list)
    files: list = dataclasses.field(default_factory=list)
    videos: int = 0
    size: tuple[int, int] = 0, 0

    @functools.cached_property
    def means(self):
        """Means over all windows, as `report.average` returns them; cached at the first access."""
        return report.average(list(self.scores.values()))

    def save(self, out, conditions):
        """Write the contact sheet and the numbers to a folder; conditions: how they came about."""
        gallery.contact_sheet(out / SHEET, self.shown)
        report.save_csv(out / NUMBERS, self.scores)
        counts = {"videos": self.videos, "windows": len(self.scores)}
        conditions = {**conditions, **counts, "files": self.files}
        report.save_json(out / RECORD, conditions, self.means)

    def entry(self, name, model, training):
        """The leaderboard.Entry of the network, called `name`.

        Its operations are those for the largest frames. training: of `rundir.training_cost`.
        """
        return Entry(
            name,
            self.means,
            parameters=model.count_params(),
            flops=cost.flops(model, self.size) // model.horizon,
            seconds=float(np.median(self.seconds)),
            **training,
        )


@contextlib.contextmanager
def replacing(out):
    """Context of (folder, taken): what is in the folder at its end takes the place of an earlier
    test's files in `out`, which until then are left as they are.

    taken: names without endings that the test's pictures and arrays must not have, those of others'
    files. Raises UserError as `report.left_before` does.
    """
    earlier = {name for name in report.left_before(out, FILES) if name.endswith(ENDINGS)}
    folder = out / UNFINISHED
    try:
        shutil.rmtree(folder, ignore_errors=True)  # of a test that was killed
        folder.mkdir(parents=True)
        yield folder, [path.stem for path in out.iterdir() if path.name not in earlier]
        replace(out, earlier, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def replace(out, earlier, folder):
    """Move the folder's files to `out`; of `earlier`, names, delete those without a successor."""
    names = {path.name for path in folder.iterdir()}
    # If this test is killed meanwhile, the next one finds all of them in the record.
    report.save_json(out / RECORD, {"files": sorted(earlier | names - set(FILES))}, {})
    for name in earlier - names:
        (out / name).unlink(missing_ok=True)
    for name in (*sorted(names - {RECORD}), RECORD):
        (folder / name).replace(out / name)


def examine_videos(
    model, device, videos, out, name, *, history, frames, windows, gifs, arrays, taken=()
):
    """Test a network on all videos -> Trial; pictures are written to the folder `out`.

    At `windows` places of each video the network sees `history` frames and predicts `frames` more.
    gifs: of how many videos GIFs are written. arrays: whether past, truth and prediction are
    written as .npz files. taken: as of `replacing`. name: for the progress bar. If no video is long
    enough, the Trial has no scores.
    """
    names = [video.name for video in videos]
    trial, stems = Trial(), dict(zip(names, gallery.stems(names, taken), strict=True))
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
