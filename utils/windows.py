"""Successive frames of a video, at places spread over it."""

import numpy as np

from utils.frames import BadFrame, warn_once
from utils.spacing import evenly


def windows(video, length, count):
    """Yield (number of the first frame, clip) for `count` windows spread evenly over a video.

    A clip is uint8 (length, C, H, W); a window that `read_clip` cannot read is left out.
    """
    last = max(0, len(video) - length)
    for start in evenly(last + 1, count):
        if (clip := read_clip(video, int(start), length)) is not None:
            yield int(start), clip


def read_clip(video, start, length):
    """Successive frames of a video from number `start` on, uint8 (length, C, H, W).

    None, with a line on stderr, if the video is too short or one of the frames cannot be used.
    """
    if not 0 <= start <= len(video) - length:
        warn_once(video.path, f"{len(video)} frames, {length} are needed")
        return None
    try:
        return np.stack(video.read(start, start + length)).transpose(0, 3, 1, 2)
    except BadFrame as bad:
        warn_once(bad.path, bad.reason)
        return None
