"""The frames of a video, a block at a time."""

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
        self.video, self.first, self.stop, self.frames = None, 0, 0, iter(())
        self.film, self.usable = None, None

    def load(self, block):
        """(all frames of a block, uint8 (T, H, W, C); which of them are usable, bool (T,); how many
        near copies were left out, not counting those already left out of the block before).

        Both arrays may be overwritten when the next block is loaded.
        """
        first, stop = block.first, block.first + block.windows + self.recipe.frames - 1
        if block.video != self.video or not self.first <= first <= self.stop:
            self.video, self.stop = block.video, first
            self.frames = block.video.frames(first)
        kept, shape = self.stop - first, (stop - first, *block.video.size, self.recipe.channels)
        film, usable = None, np.zeros(stop - first, bool)
        if kept:
            fits = len(self.film) == len(usable)
            film = self.film if fits else np.empty_like(self.film, shape=shape)
            film[:kept], usable[:kept] = self.film[-kept:], self.usable[-kept:]
        for place in range(kept, stop - first):
            frame = self._decode()
            if frame is not None:
                film = empty(shape, frame) if film is None else film
                film[place], usable[place] = frame, True
        film = np.empty(shape, np.uint8) if film is None else film
        self.first, self.stop, self.film, self.usable = first, stop, film, usable
        return self._drop_copies(kept) if self.recipe.drop_copies else (film, usable, 0)

    def _decode(self):
        frame = next(self.frames)
        if isinstance(frame, BadFrame):
            self.outcome.skipped.setdefault(str(frame.path), frame.reason)
            return None
        self.outcome.decoded += 1
        return frame

    def _drop_copies(self, counted):
        """The film and `usable` without near copies, and their number behind the first `counted`
        frames."""
        kept, copies = [0], 0
        for place in range(1, len(self.film)):
            pair = [kept[-1], place]
            if self.usable[pair].all() and is_copy(*self.film[pair]):
                copies += place >= counted
            else:
                kept.append(place)
        return self.film[kept], self.usable[kept], copies


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
    changed = (difference(before, after) > COPY_LEVELS).any(axis=2)
    return np.count_nonzero(changed) < COPY_SHARE * changed.size
