"""The frames of a video, a block at a time."""

import functools

import numpy as np

from utils.changes import difference
from utils.frames import BadFrame

# In a near copy a smaller share of pixels than COPY_SHARE changes by more than COPY_LEVELS of 255.
COPY_LEVELS, COPY_SHARE = 10, 0.001


class Reel:
    """Loads the frames of blocks; those that successive blocks of a video share are decoded once.

    What it decodes and skips is counted in `outcome`, a cutting.Outcome.
    """

    def __init__(self, recipe, outcome):
        self.recipe, self.outcome = recipe, outcome
        self.video, self.stop, self.frames, self.film = None, 0, iter(()), None
        self.ahead = {}  # {number: frame, None if bad} of the last ones before `stop`

    def load(self, block):
        """(the frames of a block's windows, uint8 (T, H, W, C); which of them are usable, bool
        (T,); how many windows are left out because they begin with a near copy).

        Both arrays may be overwritten when the next block is loaded.
        """
        length, starts, count = block.windows + self.recipe.frames - 1, 0, 0
        shape, usable = (length, *block.video.size, self.recipe.channels), np.zeros(length, bool)
        for number, frame in self._choose(block):
            if frame is not None:
                if self.film is None or len(self.film) < length:
                    self.film = empty(shape, frame)
                self.film[count], usable[count] = frame, True
            starts += number < block.first + block.windows
            count += 1
        film = self.film if usable.any() else np.empty(shape, np.uint8)
        count = max(1, count)  # if all are copies, there is one that is not usable
        return film[:count], usable[:count], block.windows - starts

    def _choose(self, block):
        """Yield the number of each frame of a block's windows and the frame, None if it is bad.

        Without near copies the last windows end later. For these no more is read behind the block
        than it has frames: a still shot may last.
        """
        drop, lacking = self.recipe.drop_copies, self.recipe.frames - 1
        end, last = block.first + block.windows, None
        first = max(0, block.first - drop)  # the frame before tells whether the first is a copy
        stop = min(len(block.video), block.first + 2 * (block.windows + lacking))
        self._seek(block.video, first)
        for number in range(first, stop):
            frame = self._read(number, end - drop)
            if drop and last is not None and frame is not None and is_copy(last, frame):
                continue
            last = frame
            if number >= block.first:
                yield number, frame
            lacking -= number >= end
            if not lacking:
                return

    def _seek(self, video, number):
        """Make this frame the next one to be read."""
        if video == self.video and self.stop - len(self.ahead) <= number <= self.stop:
            self.ahead = {n: frame for n, frame in self.ahead.items() if n >= number}
        else:
            self.video, self.stop, self.ahead, self.film = video, number, {}, None
            self.frames = video.frames(number)

    def _read(self, number, kept):
        """The next frame, None if it is bad. From number `kept` on they can be read once more."""
        if number in self.ahead:
            frame = self.ahead.pop(number)
        else:
            frame, self.stop = self._decode(), number + 1
        if number >= kept:
            self.ahead[number] = frame
        return frame

    def _decode(self):
        frame = next(self.frames)
        if isinstance(frame, BadFrame):
            self.outcome.skipped.setdefault(str(frame.path), frame.reason)
            return None
        self.outcome.decoded += 1
        return frame


def empty(shape, frame):
    """An uninitialised film (T, H, W, C) with the memory order of `frame`: channels first or last.

    Copying frames from one order to the other would be slow.
    """
    length, *size, channels = shape
    if abs(frame.strides[2]) > abs(frame.strides[1]):
        return np.moveaxis(np.empty((length, channels, *size), np.uint8), 1, 3)
    return np.empty(shape, np.uint8)


def is_copy(before, after):
    """Whether a frame is all but the same as the one before."""
    changes = np.moveaxis(difference(before, after) > COPY_LEVELS, 2, 0)
    changed = functools.reduce(np.logical_or, changes)  # any(axis=2) takes 6 times as long
    return np.count_nonzero(changed) < COPY_SHARE * changed.size
