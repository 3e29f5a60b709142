"""The predictions of a test to look at: an animation of each video, one sheet of them all."""

import numpy as np

from utils import pictures
from utils.names import number_apart
from utils.pixels import denormalise
from utils.spacing import evenly

COLUMNS = 8  # predicted frames of a video on the contact sheet, spread over all
VIDEOS = 8  # videos on the contact sheet
NAME_BYTES = 200  # of the end of a long name; with all that is appended, disks take 255


def stems(names, taken=()):
    """File names without endings for videos of these names, all different and none `taken`."""
    flat = (name.replace("/", "_").encode()[-NAME_BYTES:] for name in names)
    return number_apart((stem.decode(errors="ignore") for stem in flat), taken)


def animate(path, clip, predicted):
    """Write a GIF that plays past, truth, prediction and error side by side.

    clip: uint8 (T, C, H, W), its last F frames the truth of predicted, float (F, C, H, W) in
    [-1, 1]. While the past plays, all panels show it; then the first keeps its last frame.
    """
    history = len(clip) - len(predicted)
    guesses = np.concatenate([clip[:history], denormalise(predicted)])
    shots = []
    for t, (true, guess) in enumerate(zip(clip, guesses, strict=True)):
        ahead = t - history + 1
        captions = ("past", f"truth +{ahead}", f"predicted +{ahead}", "error")
        if ahead <= 0:
            captions = (f"past {ahead}",) * 3 + ("error",)
        frames = (clip[min(t, history - 1)], true, guess, pictures.error(guess, true))
        shots.append(
            pictures.row([pictures.panel(f, c) for f, c in zip(frames, captions, strict=True)])
        )
    pictures.save_animation(path, shots)


def play(path, past, future):
    """Write a GIF that plays past, then future, both uint8 (T, C, H, W)."""
    shots = [pictures.panel(frame, f"past {t - len(past) + 1}") for t, frame in enumerate(past)]
    shots += [pictures.panel(frame, f"predicted +{t}") for t, frame in enumerate(future, 1)]
    pictures.save_animation(path, shots)


def contact_sheet(path, examples):
    """Write a PNG with rows of truth, prediction and error for each (name, clip, predicted).

    Clips and predictions are as for `animate`; the first column is the last past frame.
    """
    rows = []
    for name, clip, predicted in examples[:VIDEOS]:
        frames = len(predicted)
        past, true, guess = clip[-frames - 1], clip[-frames:], denormalise(predicted)
        steps = evenly(frames, COLUMNS)
        blank = np.zeros_like(past)
        rows += [
            [(past, name)] + [(true[k], f"truth +{k + 1}") for k in steps],
            [(past, "last frame")] + [(guess[k], f"predicted +{k + 1}") for k in steps],
            [(blank, "")] + [(pictures.error(guess[k], true[k]), "error") for k in steps],
        ]
    panels = [pictures.row([pictures.panel(*titled) for titled in row]) for row in rows]
    pictures.save_picture(path, pictures.column(panels))
