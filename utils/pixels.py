"""The one way pixels become numbers for a network, with the one way back."""

import numpy as np

HALF_RANGE = 127.5  # uint8 0..255 <-> float32 -1..1


def normalise(frames):
    """uint8 in 0..255 -> float32 in [-1, 1], any shape, NumPy or CuPy."""
    scaled = frames.astype(np.float32)
    scaled /= HALF_RANGE
    scaled -= 1
    return scaled


def denormalise(frames):
    """Floating frames, nominally in [-1, 1], any shape -> uint8, rounded and clipped to 0..255."""
    return ((frames + 1) * HALF_RANGE).round().clip(0, 255).astype(np.uint8)
