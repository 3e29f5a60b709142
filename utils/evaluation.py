"""Numbers for predicted frames, each beside those of repeating the last frame seen."""

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from utils import metrics
from utils.conventions import CONVENTIONS, UNCLIPPED
from utils.metrics import METRICS
from utils.pixels import normalise
from utils.rollout import predict
from utils.windows import windows
from utils.workers import cores

PREDICTORS = ("model", "copy")  # copy: the last past frame, repeated
MATHIEU_CLOSE = 50  # dB; image_error_measures.lua leaves frames from there up out of its means
AREAS = ("whole", "moving")


class Window(NamedTuple):
    """A prediction at one place of a video."""

    start: int  # number of the first past frame
    clip: np.ndarray  # uint8 (T, C, H, W): past frames, then the F true ones
    predicted: np.ndarray  # float32 (F, C, H, W), nominally in [-1, 1]
    seconds: float  # per predicted frame
    scores: dict  # of `score`

    @property
    def motion(self):
        """The mean share of the frame that moves."""
        return self.scores["model", "moving"]["moving"].mean()


def examine(model, video, history, frames, count):
    """Yield a Window for `count` places of a video: `frames` frames predicted after `history`.

    There are fewer, or none, if the video is too short or damaged.
    """
    for start, clip in windows(video, history + frames, count):
        began = time.perf_counter()
        predicted = predict(model, clip[:-frames], frames)
        seconds = (time.perf_counter() - began) / frames
        yield Window(start, clip, predicted, seconds, score(predicted, clip))


def score(predicted, clip):
    """Compare predicted, float (F, C, H, W) in [-1, 1], with the last F frames of the clip.

    clip: uint8 (T, C, H, W), T > F. Returns {(predictor, area): {metric: (F,) values}}; the
    "metric" called "moving" is the share of the frame that moves.

    Over the moving area our own metrics are means of its pixels. For the metrics of other code
    bases, still pixels are made black in both frames and all pixels count, as Mathieu et al. do it
    (whose moving area, however, is where optical flow is).
    Values are NaN for frames in which nothing moves, and Mathieu's also for frames whose
    psnr_mathieu over the moving area is 50 dB or more.
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
    with ThreadPoolExecutor(cores()) as threads:  # NumPy and SciPy release the GIL
        return dict(zip(asked, threads.map(compare, *zip(*asked, strict=True)), strict=True))


def by_convention(guess, unclipped, true, mask):
    """{metric of another code base: (F,) values}, over the mask, bool (F, H, W), or the frame."""
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
