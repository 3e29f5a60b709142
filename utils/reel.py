"""The frames of a video, a block at a time."""

import numpy as np

from utils.changes import difference
from utils.frames import BadFrame

COPY_LEVELS, COPY_SHARE = 10, 0.001  # a near copy: fewer pixels than this change by more levels


class Reel:
    """The frames of one block after the other, each decoded once where blocks follow closely."""

    def __init__(self, recipe, outcome):
        self.recipe, self.outcome = recipe, outcome
        self.video, self.first, self.stop, self.frames = None, 0, 0, iter(())
        self.film, self.usable = None, None

    def load(self, block):
        """All frames of a block, uint8 (T, H, W, C), and which of them are usable, bool (T,).

        They are good until the next block is loaded.
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
        return self._drop_copies(kept) if self.recipe.drop_copies else (film, usable)

    def _decode(self):
        frame = next(self.frames, None)
        if isinstance(frame, BadFrame):
            self.outcome.skipped.setdefault(str(frame.path), frame.reason)
            return None
        self.outcome.decoded += frame is not None
        return frame

    def _drop_copies(self, counted):
        """The film without near copies; those among its first `counted` frames count no more."""
        kept = [0]
        for place in range(1, len(self.film)):
            pair = [kept[-1], place]
            if self.usable[pair].all() and is_copy(*self.film[pair]):
                self.outcome.copies += place >= counted
            else:
                kept.append(place)
        return self.film[kept], self.usable[kept]


def empty(shape, frame):
    """An empty film (T, H, W, C), its channels apart in memory if those of its frame are."""
    length, *size, channels = shape
    if abs(frame.strides[2]) > abs(frame.strides[1]):  # a copy from one order to the other is slow
        return np.moveaxis(np.empty((length, channels, *size), np.uint8), 1, 3)
    return np.empty(shape, np.uint8)


def is_copy(before, after):
    """Whether a frame is all but the same as the one before."""
    changed = (difference(before, after) > COPY_LEVELS).any(axis=2)
    return np.count_nonzero(changed) < COPY_SHARE * changed.size
