"""Small pictures for tests."""

import numpy as np
from PIL import Image


def paint(path, shape=(12, 16, 3), value=0, **options):
    """Save a picture whose numbers count up from `value` -> its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = ((np.arange(np.prod(shape)).reshape(shape) + value) % 256).astype(np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return pixels
