"""What follows the end of a video: frames that nobody has seen, so there are no numbers."""

import contextlib
import shutil

from tqdm import tqdm

from utils import gallery, pictures, results
from utils.errors import UserError
from utils.files import PARTIAL
from utils.pixels import denormalise
from utils.rollout import predict
from utils.windows import read_clip

RECORD = "forecast.json"  # lists what forecasts have written to a folder


def forecast_ends(model, videos, frames, out):
    """Predict the `frames` frames after the end of each video -> the number of videos.

    They are written as PNG files to out/NAME-forecast; out/NAME-forecast.gif plays the end of the
    video, then them. A video that is too short, or whose last frames cannot be used, is named on
    stderr and left out, without an earlier forecast of it; UserError if all are, or if files of
    that name are there that no forecast wrote.
    """
    names = [video.name for video in videos]
    stems = gallery.stems(f"{name}-forecast" for name in names)
    done = {}
    note(out, dict(zip(stems, names, strict=True)))
    bar = tqdm(videos, desc="forecast", unit="video", disable=None, leave=False)
    for video, stem in zip(bar, stems, strict=True):
        past = read_clip(video, len(video) - model.history, model.history)
        if past is None:
            continue
        future = denormalise(predict(model, past, frames))
        save_frames(out / stem, future)
        gallery.play(out / f"{stem}.gif", past, future)
        done[stem] = video.name
    if not done:
        raise UserError(
            f"no video ends with {model.history} good frames: give longer or undamaged ones"
        )
    for stem in set(stems) - done.keys():
        delete(out, stem)
    note(out, done)
    return len(done)


def note(out, videos):
    """List in the folder's record what is going to be written there.

    videos: {name of the folder and, with .gif, of the GIF: the video's name}. UserError if
    something of that name is there that the record does not list yet.
    """
    earlier = results.left_before(out, [RECORD])
    names = [name for stem in videos for name in (stem, f"{stem}.gif")]
    for name in names:
        if (out / name).exists() and name not in earlier:
            raise UserError(f"{out / name}: no forecast left it there; give a new --out")
    out.mkdir(parents=True, exist_ok=True)
    results.write_record(out / RECORD, [*dict.fromkeys([*earlier, *names])], videos=videos)


def save_frames(folder, frames):
    """Write frames, uint8 (F, C, H, W), as predicted_0001.png, ...; earlier ones give way to them
    once all are written."""
    aside = folder.with_name(folder.name + PARTIAL)
    try:
        shutil.rmtree(aside, ignore_errors=True)  # of a forecast that was killed
        aside.mkdir()
        for number, frame in enumerate(frames, 1):
            pixels = frame[0] if len(frame) == 1 else frame.transpose(1, 2, 0)
            pictures.save_picture(aside / f"predicted_{number:04}.png", pixels)
        folder.mkdir(exist_ok=True)
        delete_frames(folder)
        for path in list(aside.iterdir()):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def delete_frames(folder):
    """Delete the frames that a forecast left in a folder."""
    for path in folder.glob("predicted_[0-9][0-9][0-9][0-9].png"):
        path.unlink()


def delete(out, stem):
    """Delete the forecast of a video, but for files in its folder that are not of a forecast."""
    (out / f"{stem}.gif").unlink(missing_ok=True)
    delete_frames(out / stem)
    with contextlib.suppress(OSError):  # it is not there, or not empty
        (out / stem).rmdir()
