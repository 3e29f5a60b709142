"""Predictions to look at: panels side by side, animations, contact sheets."""

import imageio.v3 as iio
import numpy as np
from PIL import Image, ImageDraw

from utils.files import write_whole

MARGIN = 4  # pixels between panels
CAPTION = 14  # height of the line above a panel, pixels
SMALLEST = 96  # frames below this height are enlarged to be visible
BACKGROUND = (24, 24, 24)
INK = (220, 220, 220)
SECONDS = 0.25  # each picture of an animation
GIF_SIDE = 2**16 - 1  # most pixels of a GIF's height or width


def panel(frame, caption=""):
    """uint8 (C, H, W), grey or RGB -> uint8 (CAPTION + H, W, 3) with the caption above it."""
    pixels = np.broadcast_to(frame, (3, *frame.shape[1:])).transpose(1, 2, 0)
    zoom = -(-SMALLEST // pixels.shape[0])
    pixels = pixels.repeat(zoom, 0).repeat(zoom, 1)
    sheet = Image.new("RGB", (pixels.shape[1], pixels.shape[0] + CAPTION), BACKGROUND)
    sheet.paste(Image.fromarray(pixels), (0, CAPTION))
    ImageDraw.Draw(sheet).text((1, 1), caption, fill=INK)
    return np.asarray(sheet)


def row(panels):
    """Put panels of one height side by side."""
    return join(panels, axis=1)


def column(rows):
    """Put rows below each other, narrower ones padded on the right."""
    width = max(row.shape[1] for row in rows)
    filled = [np.full((len(row), width, 3), BACKGROUND, np.uint8) for row in rows]
    for wide, row in zip(filled, rows, strict=True):
        wide[:, : row.shape[1]] = row
    return join(filled, axis=0)


def join(tiles, axis):
    """Concatenate tiles with MARGIN between them."""
    shape = list(tiles[0].shape)
    shape[axis] = MARGIN
    gap = np.full(shape, BACKGROUND, np.uint8)
    spaced = [part for tile in tiles for part in (gap, tile)][1:]
    return np.concatenate(spaced, axis=axis)


def error(predicted, true):
    """Absolute difference of two uint8 frames, uint8."""
    return np.abs(predicted.astype(np.int16) - true).astype(np.uint8)


def save_animation(path, pictures):
    """Write pictures, uint8 (H, W, 3) of one size, as a GIF that repeats for ever.

    Pictures too large for a GIF are reduced to every second pixel, or every third, ...
    """
    timing = {"duration": 1000 * SECONDS, "loop": 0}
    step = -(-max(pictures[0].shape) // GIF_SIDE)
    shots = np.stack([picture[::step, ::step] for picture in pictures])
    content = iio.imwrite("<bytes>", shots, extension=".gif", **timing)
    write_whole(path, lambda file: file.write(content))


def save_picture(path, picture):
    """Write one picture, uint8 (H, W) or (H, W, 3), as a PNG."""
    content = iio.imwrite("<bytes>", picture, extension=".png")
    write_whole(path, lambda file: file.write(content))
