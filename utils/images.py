"""Picture files as uint8 frames."""

import contextlib
import logging
import os
import struct
import warnings
import zlib

import imagecodecs
import numpy as np
from PIL import Image, ImageOps

from utils.errors import reason
from utils.files import open_file
from utils.frames import MAX_PIXELS, BadFrame
from utils.libtiff import load

FORMATS = {  # file ending -> the one Pillow decoder allowed to open it
    ".png": "PNG",
    ".apng": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".ppm": "PPM",
    ".pgm": "PPM",
}
PLAIN_PNG = bytes([8, 2, 0, 0, 0])  # in a PNG's header: 8 bits, RGB, not interlaced
ORIENTATION = 0x0112  # the EXIF tag; values from 5 on swap height and width
TURNING = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}  # where Pillow looks for it
# Marks of PNGs that are transparent, animated or rotated, which are left to Pillow.
SPECIAL_PNG = (b"tRNS", b"acTL", b"eXIf", b"Raw profile", b"XML:com.adobe.xmp")
PIXEL_CHUNKS = b"IDAT", b"fdAT"  # of a PNG; Pillow checks the checksums of all others
PHOTOMETRIC, TILE_WIDTH, TILE_LENGTH, BITS, PLANES = 262, 322, 323, 258, 284  # tags of TIFF
SUBFILE, REDUCED = 254, 1
SAMPLE_FORMAT, SIGNED = 339, 2
DEEP = ";16"  # in Pillow's name of the way in which 16-bit numbers lie in a file
# imagecodecs would warn for every frame with a colour profile that libpng dislikes.
logging.getLogger("imagecodecs").setLevel(logging.ERROR)
logging.getLogger("PIL").setLevel(logging.CRITICAL)  # Pillow logs errors that it raises as well


def read_image(path):
    """Decode one picture file to uint8 RGB (H, W, 3).

    Grey of 12 or 16 bits is scaled by its full range, palettes are applied, alpha is dropped, the
    EXIF rotation is obeyed. BadFrame for a file that is damaged, cut short, animated or too large.
    """
    if path.suffix.lower() == ".png" and (frame := read_plain_png(path)) is not None:
        return frame
    with open_image(path) as image:
        if count_pages(image) > 1:
            raise BadFrame(path, f"{count_pages(image)} images in one file, not a frame")
        check_pixels(image, path)
        load(image)
        ImageOps.exif_transpose(image, in_place=True)
        return to_rgb(image)


def read_plain_png(path):
    """Decode an ordinary PNG of 8-bit RGB in half of Pillow's time; None for any other file."""
    try:
        with open(open_file(path), "rb", buffering=0) as file:
            content = file.read()
        width, height = struct.unpack_from(">II", content, 16)
        if (
            content[24:29] == PLAIN_PNG
            and width * height <= MAX_PIXELS
            and not any(word in content for word in SPECIAL_PNG)
        ):
            return imagecodecs.png_decode(content)
    except (OSError, ValueError, struct.error, imagecodecs.PngError):
        return None  # Pillow will say what is wrong
    return None


def check_pixels(image, path):
    """Raise ValueError for an opened PNG whose pixel data do not match their checksums.

    Pillow ignores these checksums and would decode the damaged data.
    """
    content = path.read_bytes() if image.format == "PNG" else b""
    start = 8
    while start + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, start)
        end = start + 12 + length
        if kind in PIXEL_CHUNKS and end <= len(content):  # one cut short is found by Pillow
            (checksum,) = struct.unpack_from(">I", content, end - 4)
            if zlib.crc32(memoryview(content)[start + 4 : end - 4]) != checksum:
                raise ValueError(f"the checksum of {kind.decode()} at {start} does not match")
        start = end


def probe(path):
    """(number of images, (height, width)) of a picture file, by its header; may raise BadFrame."""
    with open_image(path) as image:
        pages = count_pages(image)
        has_exif = pages == 1 and TURNING & image.info.keys()  # getexif() may decode a PNG
        turned = has_exif and image.getexif().get(ORIENTATION) in {5, 6, 7, 8}
        turned = turned and ORIENTATION not in tags_of(image)  # Pillow turns the size of a TIFF
        return pages, image.size if turned else image.size[::-1]


def count_pages(image):
    """How many frames an opened image has; of the photos in a phone's MPO file only the first."""
    if image.format == "MPO" or has_thumbnails(image):
        return 1
    return getattr(image, "n_frames", 1) - count_hidden(image)


def has_thumbnails(image):
    """Whether all pages of an opened TIFF behind its first are smaller versions of a page."""
    if image.format != "TIFF" or image.n_frames == 1:
        return False

    def is_reduced(page):
        image.seek(page)
        return tags_of(image).get(SUBFILE, 0) & REDUCED

    found = all(map(is_reduced, range(1, image.n_frames)))
    image.seek(0)
    return found


def count_hidden(image):
    """How many of its images are no frames: an APNG may have one for viewers that play none."""
    return int(image.info.get("default_image", False))


@contextlib.contextmanager
def open_image(path):
    """Context of a picture file's image, not decoded yet; any exception becomes a BadFrame."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            os.close(open_file(path))  # a pipe would be waited for
            with Image.open(path, formats=[FORMATS[path.suffix.lower()]]) as image:
                tags = tags_of(image)
                if tags.get(TILE_WIDTH, 1) * tags.get(TILE_LENGTH, 1) > MAX_PIXELS:
                    raise ValueError("its tiles are taken for decompression bombs")
                yield image
    except BadFrame:
        raise
    except FileNotFoundError:
        raise BadFrame(path, "missing") from None
    except Image.UnidentifiedImageError:
        raise BadFrame(path, explain_unknown(path)) from None
    except Exception as error:  # decoders raise anything at all on damaged files
        raise BadFrame(path, f"cannot be read ({reason(error)})") from None


def explain_unknown(path):
    """Why Pillow cannot identify a picture file: many kinds of TIFF are unknown to it."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        if file.read(3) in {b"II*", b"II+", b"MM\0"}:
            return "a TIFF of a kind that cannot be read here; save it with 8 or 16 bits, as LZW"
    return "cannot be read as the image its name promises"


def tags_of(image):
    """{number: value} of an opened TIFF's tags; none for any other picture."""
    return getattr(image, "tag_v2", {})


def grey_levels(image):
    """The values of a loaded grey picture as recorded, (H, W), any dtype; larger is brighter."""
    levels, tags = np.asarray(image), tags_of(image)
    if levels.dtype == np.uint8 and SIGNED in np.atleast_1d(tags.get(SAMPLE_FORMAT, 1)):
        levels = levels.view(np.int8)  # Pillow ignores the sign
    if levels.dtype != np.uint8 and tags.get(PHOTOMETRIC) == 0 and image.mode != "F":
        return ~levels  # 0 is white; Pillow inverts 8 bits only, and opens no such 12
    return levels


def has_deep_colours(image):
    """Whether an opened PNG or TIFF has colours or alpha of 16 bits, of which Pillow decodes 8.

    It must not be loaded yet.
    """
    deep = 16 in np.atleast_1d(tags_of(image).get(BITS, 1))
    deep = deep or any(DEEP in str(tile.args) for tile in image.tile)
    return deep and not is_grey(image)


def is_grey(image):
    """Whether an opened picture has one number a pixel, of any type, and no palette."""
    return image.mode in {"L", "F"} or image.mode.startswith("I")


def to_rgb(image):
    """A loaded Pillow image -> uint8 (H, W, 3); ValueError where the range of grey is unknown."""
    tags = tags_of(image)
    bits = np.atleast_1d(tags.get(BITS, 1))
    if image.mode.startswith("I"):
        if 32 in bits:
            raise ValueError("32-bit grey of unknown range: data/microscopy.py finds it")
        grey, white = grey_levels(image).astype(np.int32), 4095 if 12 in bits else 65535
        if grey.min() < 0 or grey.max() > white:
            raise ValueError(f"grey levels beyond {white}")
        return np.repeat((grey * 255 // white).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "L" and grey_levels(image).min() < 0:
        raise ValueError("grey levels below zero: data/microscopy.py takes them")
    if image.mode == "F":
        raise ValueError("floating-point grey of unknown range: data/microscopy.py finds it")
    if tags.get(PLANES) == 2 and 16 in bits:  # Pillow decodes them wrongly
        raise ValueError("16-bit colours in planes apart: save them pixel by pixel")
    if "transparency" in image.info and image.mode == "P":
        image = image.convert("RGBA")
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
