"""Animated pictures as videos: GIF, APNG, WebP, TIFF stacks."""

import dataclasses
import math
import re

import numpy as np
from PIL import Image, PngImagePlugin

from utils.errors import describe_error
from utils.frames import BadFrame, Video
from utils.images import FORMATS, check_pixels, count_hidden, open_image, probe, to_rgb

DESCRIPTION = 0x010E  # the tag of a TIFF file where ImageJ and OME tell of its axes
EXTENT = re.compile(r"\b(?:channels=|slices=|frames=|Size[CZT]=\")(\d{1,9})\b")


@dataclasses.dataclass(frozen=True)
class Animation(Video):
    """The images of one file; transparent pixels become black.

    Those after one that is damaged are bad, too, where they are drawn on top of it.
    """

    def decode(self, numbers):
        damage = None
        with open_image(self.path) as image:
            apart = image.format == "TIFF"
            first = numbers.start if apart else 0
            for number in range(first, numbers.stop) if numbers else ():
                frame = damage or self._seek(image, number)
                if isinstance(frame, BadFrame) and not apart:
                    damage = frame
                if number in numbers:
                    yield frame

    def _seek(self, image, number):
        try:
            if image.format == "GIF":
                image.disposal_method = 0  # Pillow takes an earlier image's where none is asked for
            image.seek(number)
            image.load()
            return compose(image)
        except Exception as error:  # decoders raise anything at all on damaged files
            return unreadable(self.path, number, error)


class AnimatedPng(Video):
    """The images of an APNG; transparent pixels become black.

    They are put together here, as https://wiki.mozilla.org/APNG_Specification has it: Pillow makes
    too dark what is half transparent. Those after one that is damaged are bad, too.
    """

    def decode(self, numbers):
        with open_image(self.path) as image:
            check_pixels(image, self.path)
            canvas, hidden, damage = Image.new("RGBA", image.size), count_hidden(image), None
            for number in range(numbers.stop) if numbers else ():
                try:
                    shown, canvas = draw(image, number + hidden, canvas)
                except Exception as error:  # decoders raise anything at all on damaged files
                    damage = damage or unreadable(self.path, number, error)
                if number in numbers:
                    yield damage or compose(shown)


def draw(image, number, canvas):
    """An APNG's image `number` on the canvas -> (what is shown, the canvas for the next)."""
    image.seek(number)
    image._prev_im = None  # Pillow would draw on it
    image.load()
    drawn = image if image.mode[0] != "I" else Image.fromarray(to_rgb(image))
    left, top, *_ = box = image.info["bbox"]
    drawn = drawn.convert("RGBA").crop(box)
    shown = canvas.copy()
    if image.info["blend"] == PngImagePlugin.Blend.OP_OVER:
        shown.alpha_composite(drawn, (left, top))
    else:
        shown.paste(drawn, box)
    after = (
        canvas if image.info["disposal"] == PngImagePlugin.Disposal.OP_PREVIOUS else shown.copy()
    )
    if image.info["disposal"] == PngImagePlugin.Disposal.OP_BACKGROUND:
        after.paste((0, 0, 0, 0), box)
    return shown, after


def unreadable(path, number, error):
    """The BadFrame of an image that a decoder stopped at."""
    return BadFrame(path, f"image {number} cannot be read ({describe_error(error)})")


def compose(image):
    """A loaded Pillow image, on a black background -> uint8 (H, W, 3)."""
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        black = Image.new("RGBA", image.size, "black")
        return np.asarray(Image.alpha_composite(black, image.convert("RGBA")))[..., :3]
    return to_rgb(image)


def read_extents(path):
    """How many channels, depths and times a TIFF stack has, those above one, as far as it tells."""
    with open_image(path) as image:
        text = str(getattr(image, "tag_v2", {}).get(DESCRIPTION, ""))
    return [n for n in map(int, EXTENT.findall(text)) if n > 1]


def open_animation(path, name, digest, look):
    """An animated picture file as a list of one Video; BadFrame if it cannot be read as one."""
    count, size = probe(path)
    extents = read_extents(path)
    if len(extents) > 1 and math.prod(extents) == count:
        found = "x".join(map(str, extents))
        cure = "save each channel and depth apart"
        raise BadFrame(path, f"{found} images, not of time alone; {cure}")
    kind = AnimatedPng if FORMATS[path.suffix.lower()] == "PNG" else Animation
    return [kind(path, name, count, size, digest, look=look)]
