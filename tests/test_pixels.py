"""Pixels to numbers and back."""

import numpy as np

from utils.pixels import denormalise, normalise


def test_every_level_comes_back():
    levels = np.arange(256, dtype=np.uint8)
    scaled = normalise(levels)
    assert scaled.dtype == np.float32
    assert (scaled[0], scaled[-1]) == (-1, 1)
    assert np.array_equal(denormalise(scaled), levels)


def test_the_way_back_rounds_and_clips():
    frames = np.array([-3, -1.0, 1 / 127.5 * 0.6 - 1, 1.0, 1.2], np.float32)
    assert denormalise(frames).tolist() == [0, 0, 1, 255, 255]
