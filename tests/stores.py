"""Small stores of clips."""

import numpy as np

from utils.store import ClipStore


def noise(count, frames, size, seed=0):
    """Clips of noise in colour, uint8 (count, frames, 3, *size)."""
    return np.random.default_rng(seed).integers(0, 256, (count, frames, 3, *size), np.uint8)


def make_store(path, clips, history, **run):
    """A store at `path` of these clips, their first `history` frames the past, cut by one run."""
    _, frames, channels, *size = clips.shape
    store = ClipStore.create(path, history, frames - history, size, channels)
    store.write(0, clips, len(clips))
    store.commit(len(clips), run)
    return ClipStore.open(path)
