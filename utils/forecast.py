"""What follows the end of a video: frames that nobody has seen, so there are no numbers."""

from tqdm import tqdm

from utils import gallery, pictures, results
from utils.errors import UserError
from utils.pixels import denormalise
from utils.rollout import predict
from utils.windows import read_clip

RECORD = "forecast.json"  # lists what forecasts have written to a folder


def forecast_ends(model, device, videos, frames, out):
    """Predict the `frames` frames after the end of each video -> the number of videos.

    They are written as PNG files to out/NAME-forecast; out/NAME-forecast.gif plays the end of the
    video, then them. A video that is too short, or whose last frames cannot be used, is named on
    stderr and left out; UserError if all are, or if files of that name are there that no forecast
    wrote.
    """
    names = [video.name for video in videos]
    count, stems = 0, gallery.stems(f"{name}-forecast" for name in names)
    note(out, dict(zip(stems, names, strict=True)))
    bar = tqdm(videos, desc="forecast", unit="video", disable=None, leave=False)
    for video, stem in zip(bar, stems, strict=True):
        past = read_clip(video, len(video) - model.history, model.history)
        if past is None:
            continue
        future = denormalise(predict(model, device, past, frames))
        gallery.play(out / f"{stem}.gif", past, future)
        save_frames(out / stem, future)
        count += 1
    if not count:
        raise UserError(
            f"no video ends with {model.history} good frames: give longer or undamaged ones"
        )
    return count


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
    """Write frames, uint8 (F, C, H, W), as predicted_0001.png, ...; delete earlier ones first."""
    folder.mkdir(exist_ok=True)
    for earlier in folder.glob("predicted_[0-9][0-9][0-9][0-9].png"):
        earlier.unlink()
    for number, frame in enumerate(frames, 1):
        pixels = frame[0] if len(frame) == 1 else frame.transpose(1, 2, 0)
        pictures.save_picture(folder / f"predicted_{number:04}.png", pixels)
