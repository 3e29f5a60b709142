"""Videos on disk as numbered uint8 RGB frames."""

import collections
import contextlib
import dataclasses
import functools
import hashlib
import os
import re
import sys
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from utils.errors import UserError

FORMATS = {  # file ending -> the one Pillow decoder allowed to open it
    ".png": "PNG",
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
ORIENTATION = 0x0112  # the EXIF tag; from 5 on it swaps height and width
HEADERS = 9  # looked at, evenly spaced, to learn what size the frames of a video have


class BadFrame(UserError):
    """A frame that cannot be used; `path` and `reason` say which and why."""

    def __init__(self, path, reason):
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self):
        return f"{self.path}: {self.reason}; mend or remove it"


@dataclasses.dataclass(frozen=True)
class Video:
    """The frames of one folder, in natural order.

    `name` is the folder relative to where the search began, `size` the (height, width) of its
    frames, `digest` an identity of the frames' names and file sizes.
    """

    folder: Path
    root: Path
    name: str
    frames: int
    size: tuple[int, int]
    digest: str

    def __len__(self):
        return self.frames

    def __iter__(self):
        """Yield every frame, uint8 (H, W, 3), decoded once; BadFrame at the first unusable one."""
        return (self.read(index) for index in range(len(self)))

    def path(self, index):
        """The file of frame `index`."""
        return self.folder / list_frames(self.folder, self.root).names[index]

    def read(self, index):
        """Frame `index` as uint8 (H, W, 3); BadFrame where it is damaged or of another size."""
        frame = read_frame(self.path(index))
        if frame.shape[:2] != self.size:
            found, usual = ("x".join(map(str, size)) for size in (frame.shape[:2], self.size))
            raise BadFrame(self.path(index), f"{found} pixels, the rest of its video {usual}")
        return frame


Listing = collections.namedtuple("Listing", "names digest left_out")


def natural(name):
    """A sort key that puts frame2 before frame10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)], name


def warn(path, reason):
    """Say in one line on stderr that a file is left out."""
    print(f"warning: {path}: {reason}; left out", file=sys.stderr)


def find_videos(folder, skip=warn):
    """Every folder at or below `folder` that holds images, as a list of Video in natural order.

    `skip(path, reason)` is called once for each file or link that is no frame; names that begin
    with a dot are ignored. UserError if the folder is missing or nothing below it is usable.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UserError(
            f"no folder {folder}: put a folder of frames per video there, "
            "or record some with `python data/record_ms_pacman.py`"
        )
    videos = []
    for parent, below, _ in os.walk(root, onerror=lambda e: skip(Path(e.filename), e.strerror)):
        below[:] = sorted((name for name in below if not name.startswith(".")), key=natural)
        for name in [name for name in below if os.path.islink(os.path.join(parent, name))]:
            skip(Path(parent, name), "a link to a folder")
        listing = list_frames(Path(parent), root)
        for path, reason in listing.left_out:
            skip(path, reason)
        if not listing.names:
            continue
        size = usual_size(Path(parent, name) for name in spread(listing.names, HEADERS))
        if size is None:
            skip(Path(parent), "none of its frames can be read")
            continue
        name = Path(parent).relative_to(root).as_posix()
        count = len(listing.names)
        videos.append(Video(Path(parent), root, name, count, size, listing.digest))
    if not videos:
        raise UserError(
            f"no frames below {folder}: put a folder of {', '.join(FORMATS)} files per video "
            "there, or record some with `python data/record_ms_pacman.py`"
        )
    return videos


@functools.lru_cache(maxsize=4)  # a video is read in order, so few folders suffice
def list_frames(folder, root):
    """The frames in `folder` as a Listing; a link may not lead out of `root`."""
    names, left_out, sizes = [], [], {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.is_dir():
                continue
            if entry.is_symlink() and not leads_into(entry.path, root):
                left_out.append(
                    (Path(entry.path), "a link that leads nowhere or out of the folder")
                )
            elif Path(entry.name).suffix.lower() not in FORMATS:
                left_out.append((Path(entry.path), "not an image"))
            elif not entry.is_file():
                left_out.append((Path(entry.path), "not a file"))
            else:
                names.append(entry.name)
                sizes[entry.name] = entry.stat().st_size
    names.sort(key=natural)
    left_out.sort()
    identity = "\n".join(f"{name}\t{sizes[name]}" for name in names)
    digest = hashlib.blake2b(identity.encode(errors="surrogateescape"), digest_size=8).hexdigest()
    return Listing(tuple(names), digest, tuple(left_out))


def leads_into(link, root):
    """Whether a symbolic link ends at something that exists inside `root`."""
    target = Path(link).resolve()
    return target.exists() and target.is_relative_to(root.resolve())


def spread(items, count):
    """At most `count` of the items, evenly spaced, the first and the last among them."""
    count = min(count, len(items))
    return [items[round(i * (len(items) - 1) / max(1, count - 1))] for i in range(count)]


def usual_size(paths):
    """The most frequent (height, width) that the headers of images tell, or None."""
    sizes = collections.Counter()
    for path in paths:
        try:
            with open_image(path) as image:
                turned = "exif" in image.info and image.getexif().get(ORIENTATION, 1) >= 5
                sizes[image.size if turned else image.size[::-1]] += 1
        except BadFrame:
            continue  # named when its turn comes
    return sizes.most_common(1)[0][0] if sizes else None


def read_frame(path):
    """Decode one image file to uint8 RGB (H, W, 3).

    16-bit grey is scaled by its full range, palettes are applied, alpha is dropped, the EXIF
    rotation is obeyed. BadFrame for a file that is damaged, cut short, animated or too large.
    """
    with open_image(path) as image:
        if getattr(image, "n_frames", 1) > 1:
            raise BadFrame(path, f"{image.n_frames} images in one file, not a frame")
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return to_rgb(image)


@contextlib.contextmanager
def open_image(path):
    """The image behind a path, not decoded yet; all that goes wrong with it is a BadFrame."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=[FORMATS[path.suffix.lower()]]) as image:
                yield image
    except BadFrame:
        raise
    except Image.UnidentifiedImageError:
        raise BadFrame(path, "cannot be read as the image its name promises") from None
    except Exception as error:  # decoders raise anything at all on damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadFrame(path, f"cannot be read ({reason})") from None


def to_rgb(image):
    """A loaded Pillow image -> uint8 (H, W, 3)."""
    if image.mode.startswith("I"):
        grey = np.asarray(image)
        if grey.min() < 0 or grey.max() > 65535:
            raise ValueError("grey levels beyond 16 bits")
        return np.repeat((grey // 257).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "F":
        raise ValueError("floating-point grey has no known range")
    if "transparency" in image.info and image.mode == "P":
        image = image.convert("RGBA")
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
