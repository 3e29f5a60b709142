"""Animated pictures as videos: GIF, APNG, WebP, TIFF stacks."""

import dataclasses
import math
import re

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import Blend, Disposal

from utils.errors import reason
from utils.frames import BadFrame, Video
from utils.images import (
    FORMATS,
    check_pixels,
    count_hidden,
    open_image,
    probe,
    read_image,
    tags_of,
    to_rgb,
)
from utils.libtiff import load

DESCRIPTION = 0x010E  # the TIFF tag in which ImageJ and OME describe the axes
EXTENT = re.compile(r"\b(?:channels=|slices=|frames=|Size[CZT]=\")(\d{1,9})\b")

GIF_DISPOSALS = {2: Disposal.OP_BACKGROUND, 3: Disposal.OP_PREVIOUS}


@dataclasses.dataclass(frozen=True)
class Animation(Video):
    """The images of one file, as Pillow composes them; transparent pixels become black.

    After a damaged image all later ones are bad, too, but for a TIFF stack, whose images do not
    build on each other.
    """

    def decode(self, numbers):
        damage = None
        with open_image(self.path) as image:
            independent = image.format == "TIFF"
            first = numbers.start if independent else 0
            for number in range(first, numbers.stop) if numbers else ():
                frame = damage or self._seek(image, number)
                if isinstance(frame, BadFrame) and not independent:
                    damage = frame
                if number in numbers:
                    yield frame

    def _seek(self, image, number):
        try:
            image.seek(number)
            load(image)
            return compose(image)
        except Exception as error:  # decoders raise anything at all on damaged files
            return unreadable(self.path, number, error)


class Still(Animation):
    """A single picture as a video of one frame, read as the pictures in a folder are."""

    def decode(self, numbers):
        yield from (read_image(self.path) for _ in numbers)


class Layered(Animation):
    """The images of a GIF or an APNG; transparent pixels become black.

    They are composed here, as https://wiki.mozilla.org/APNG_Specification and browsers do it:
    Pillow makes half-transparent pixels too dark and clears a GIF to an arbitrary colour of its
    palette. All images after a damaged one are bad, too.
    """

    def decode(self, numbers):
        with open_image(self.path) as image:
            check_pixels(image, self.path)
            draw = draw_gif if image.format == "GIF" else draw_png
            canvas, hidden, damage = Image.new("RGBA", image.size), count_hidden(image), None
            for number in range(numbers.stop) if numbers else ():
                try:
                    if not damage:
                        shown, canvas = draw(image, number + hidden, canvas)
                except Exception as error:  # decoders raise anything at all on damaged files
                    damage = unreadable(self.path, number, error)
                if number in numbers:
                    yield damage or compose(shown)


def draw_png(image, number, canvas):
    """Draw an APNG's image `number` on the canvas -> (picture to show, canvas for the next one)."""
    image.seek(number)
    image._prev_im = None  # else Pillow would compose the image with it
    image.load()
    drawn = image if image.mode[0] != "I" else Image.fromarray(to_rgb(image))
    left, top, *_ = box = image.info["bbox"]
    drawn = drawn.convert("RGBA").crop(box)
    shown = canvas.copy()
    if image.info["blend"] == Blend.OP_OVER:
        shown.alpha_composite(drawn, (left, top))
    else:
        shown.paste(drawn, box)
    return shown, dispose(shown, canvas, box, image.info["disposal"])


def draw_gif(image, number, canvas):
    """`draw_png` for a GIF."""
    if number:
        image.im, image._mode = canvas.copy().im, "RGBA"  # Pillow draws on it
        image.dispose, image.disposal_method = None, 0  # Pillow would keep the image before's
    image.seek(number)
    image.load()
    box, shown = image.dispose_extent, image.convert("RGBA")
    if not number:  # Pillow fills what is outside the first image's box with a colour
        drawn, shown = shown.crop(box), canvas.copy()
        shown.paste(drawn, box, drawn)
    disposal = GIF_DISPOSALS.get(image.disposal_method, Disposal.OP_NONE)
    return shown.convert("RGB"), dispose(shown, canvas, box, disposal)


def dispose(shown, canvas, box, disposal):
    """The canvas for the next image, after `shown` was drawn on `canvas` in a box of it.

    disposal: clear the box, go back to the canvas as it was before, or keep what is shown.
    """
    if disposal == Disposal.OP_BACKGROUND:
        shown = shown.copy()
        shown.paste((0, 0, 0, 0), box)
    return canvas if disposal == Disposal.OP_PREVIOUS else shown


def unreadable(path, number, error):
    """The BadFrame of an image that a decoder stopped at."""
    return BadFrame(path, f"image {number} cannot be read ({reason(error)})")


def compose(image):
    """A loaded Pillow image, on a black background -> uint8 (H, W, 3)."""
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        black = Image.new("RGBA", image.size, "black")
        return np.asarray(Image.alpha_composite(black, image.convert("RGBA")))[..., :3]
    return to_rgb(image)


def read_extents(path):
    """The numbers of channels, depths and times in a TIFF stack's description, those above 1."""
    with open_image(path) as image:
        text = str(tags_of(image).get(DESCRIPTION, ""))
    return [n for n in map(int, EXTENT.findall(text)) if n > 1]


def open_animation(path, name, digest, look):
    """A picture file that is a video of its own, as a list of one Video; BadFrame if it is none."""
    count, size = probe(path)
    extents = read_extents(path)
    if len(extents) > 1 and math.prod(extents) == count:
        found = "x".join(map(str, extents))
        cure = "save each channel and depth apart"
        raise BadFrame(path, f"{found} images, not of time alone; {cure}")
    kind = Layered if FORMATS[path.suffix.lower()] in {"GIF", "PNG"} else Animation
    kind = Still if count == 1 else kind
    return [kind(path, name, count, size, digest, look=look)]
