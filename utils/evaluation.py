"""Numbers for predicted frames, each beside those of repeating the last frame seen."""

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from utils import metrics
from utils.conventions import CONVENTIONS, UNCLIPPED
from utils.frames import BadFrame, warn_once
from utils.metrics import METRICS
from utils.pixels import normalise
from utils.rollout import rollout
from utils.spacing import evenly
from utils.stack import chainer
from utils.workers import cores

PREDICTORS = ("model", "copy")  # copy: every future frame is guessed to be the last past one
MATHIEU_CLOSE = 50  # dB; their image_error_measures.lua averages only frames below
AREAS = ("whole", "moving")


def windows(video, length, count):
    """Yield (number of the first frame, clip) for `count` places spread evenly over a video.

    A clip is as `read_clip` reads it; a place where that is None is left out.
    """
    last = max(0, len(video) - length)
    for start in evenly(last + 1, count):
        if (clip := read_clip(video, int(start), length)) is not None:
            yield int(start), clip


def read_clip(video, start, length):
    """Successive frames of a video from number `start` on, uint8 (length, C, H, W).

    None, and a line on stderr, where the video has not so many or one cannot be used.
    """
    if not 0 <= start <= len(video) - length:
        warn_once(video.path, f"{len(video)} frames, {length} are needed")
        return None
    try:
        return np.stack(video.read(start, start + length)).transpose(0, 3, 1, 2)
    except BadFrame as bad:
        warn_once(bad.path, bad.reason)
        return None


class Window(NamedTuple):
    """A prediction at one place of a video."""

    start: int  # number of the first past frame
    clip: np.ndarray  # uint8 (T, C, H, W), the past and the truth
    predicted: np.ndarray  # float32 (F, C, H, W) in [-1, 1]
    seconds: float  # that a predicted frame took
    scores: dict  # as `score` finds them

    @property
    def motion(self):
        """The share of the frame that moves."""
        return self.scores["model", "moving"]["moving"].mean()


def examine(model, device, video, history, frames, count):
    """Yield a Window for each of `count` places of a video: `frames` frames after `history` ones.

    Fewer, or none, where the video is too short.
    """
    for start, clip in windows(video, history + frames, count):
        began = time.perf_counter()
        predicted = predict(model, device, clip[:-frames], frames)
        seconds = (time.perf_counter() - began) / frames
        yield Window(start, clip, predicted, seconds, score(predicted, clip))


def predict(model, device, past, frames):
    """Predict the `frames` frames after past, uint8 (T, C, H, W).

    Returns float32 (frames, C, H, W) in [-1, 1], a NumPy array.
    """
    seen = normalise(device.send(past[None]))
    return chainer.get_device("@numpy").send(rollout(model, seen, frames))[0]


def score(predicted, clip):
    """Compare predicted, float (F, C, H, W) in [-1, 1], with the last F frames of the clip.

    clip: uint8 (T, C, H, W).  Returns {(predictor, area): {metric: values of each frame, (F,)}};
    "moving" among the metrics is the share of the frame that moves.  Over the moving area our own
    metrics are means of its pixels.  For those of other code bases still pixels are made black in
    both frames and all pixels count, as Mathieu et al. do it.  Where nothing moves both are NaN, as
    are Mathieu's own where psnr_mathieu over the moving area is 50 or more.
    """
    frames = len(predicted)
    known = metrics.to_unit(normalise(clip[-frames - 1 :]))
    true = known[1:]
    copy = np.broadcast_to(known[:1], true.shape)
    guesses = {"model": (metrics.to_unit(predicted), (predicted + 1) / 2), "copy": (copy, copy)}
    masks = {"whole": None, "moving": metrics.moving(known)}
    share = masks["moving"].mean(axis=(-2, -1))

    def compare(predictor, area):
        (guess, unclipped), mask = guesses[predictor], masks[area]
        return {
            **{name: metric(guess, true, mask) for name, metric in METRICS.items()},
            **by_convention(guess, unclipped, true, mask),
            "moving": share,
        }

    asked = list(itertools.product(PREDICTORS, AREAS))
    with ThreadPoolExecutor(cores()) as threads:  # NumPy and SciPy let others run meanwhile
        return dict(zip(asked, threads.map(compare, *zip(*asked, strict=True)), strict=True))


def by_convention(guess, unclipped, true, mask):
    """{metric of another code base: values of each frame, (F,)}, over the mask or all of it."""
    if mask is not None:
        guess, unclipped, true = (frames * mask[:, None] for frames in (guess, unclipped, true))
    found = {
        name: metric(unclipped if name in UNCLIPPED else guess, true)
        for name, metric in CONVENTIONS.items()
    }
    if mask is None:
        return found
    still, close = ~mask.any(axis=(-2, -1)), found["psnr_mathieu"] >= MATHIEU_CLOSE
    return {
        name: np.where(still | (close & name.endswith("_mathieu")), np.nan, values)
        for name, values in found.items()
    }
