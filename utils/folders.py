"""Folders of picture files as videos."""

import collections
import contextlib
import dataclasses
import functools
import hashlib
import os
from pathlib import Path

from utils.frames import BadFrame, Video, natural
from utils.images import FORMATS, probe, read_image

HEADERS = 9  # looked at, evenly spaced, to learn what the pictures of a folder are


@dataclasses.dataclass(frozen=True)
class Folder(Video):
    """The pictures of one folder, in natural order, as the frames of a video.

    `root` is where the search for videos began.
    """

    root: Path

    def decode(self, numbers):
        for number in numbers:
            try:
                yield read_image(self.place(number))
            except BadFrame as bad:
                yield bad

    def place(self, number):
        return self.path / list_folder(self.path, self.root).pictures[number]


@dataclasses.dataclass(frozen=True)
class Listing:
    """File names of one folder in natural order: still pictures, then whatever else there is.

    `sizes` has the bytes of each picture; `left_out` pairs of a path with the reason why it cannot
    be used.
    """

    pictures: tuple[str, ...]
    others: tuple[str, ...]
    sizes: tuple[int, ...]
    left_out: tuple[tuple[Path, str], ...]


@functools.lru_cache(maxsize=4)  # a video is read in order, so few folders suffice
def list_folder(path, root):
    """The files in a folder as a Listing; a link may not lead out of `root`."""
    sizes, others, left_out = {}, [], []
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.is_dir():
                continue
            if entry.is_symlink() and not leads_into(entry.path, root):
                reason = "a link that leads nowhere or out of the folder"
                left_out.append((Path(entry.path), reason))
            elif not entry.is_file():
                left_out.append((Path(entry.path), "not a file"))
            elif os.path.splitext(entry.name)[1].lower() in FORMATS:
                sizes[entry.name] = entry.stat().st_size
            else:
                others.append(entry.name)
    pictures = sorted(sizes, key=natural)
    animated = find_animations(Path(path), pictures)
    pictures = [name for name in pictures if name not in animated]
    return Listing(
        tuple(pictures),
        tuple(sorted([*others, *animated], key=natural)),
        tuple(sizes[name] for name in pictures),
        tuple(sorted(left_out)),
    )


def find_animations(path, names):
    """Those of the picture files that hold more than one image: each is a video of its own.

    Where none of a few is animated, none of the folder's is taken to be: opening every frame of a
    long video once more would take long. One that is in spite of that is refused as a frame.
    """
    if not any(is_animated(path / name) for name in spread(names, HEADERS)):
        return set()
    return {name for name in names if is_animated(path / name)}


def is_animated(path):
    with contextlib.suppress(BadFrame):  # named when its turn comes
        return probe(path)[0] > 1
    return False


def leads_into(link, root):
    """Whether a symbolic link ends at something that exists inside `root`."""
    target = Path(link).resolve()
    return target.exists() and target.is_relative_to(Path(root).resolve())


def spread(items, count):
    """At most `count` of the items, evenly spaced, the first and the last among them."""
    count = min(count, len(items))
    return [items[round(i * (len(items) - 1) / max(1, count - 1))] for i in range(count)]


def open_folder(path, root, name, look):
    """The still pictures of a folder as a list of one Video; BadFrame if none can be read."""
    listing = list_folder(path, root)
    sizes = collections.Counter()
    for picture in spread(listing.pictures, HEADERS):
        with contextlib.suppress(BadFrame):
            sizes[probe(path / picture)[1]] += 1
    if not sizes:
        raise BadFrame(path, "none of its pictures can be read")
    content = "\n".join(f"{n}\t{s}" for n, s in zip(listing.pictures, listing.sizes, strict=True))
    digest = hashlib.blake2b(content.encode(errors="surrogateescape"), digest_size=8).hexdigest()
    shape = sizes.most_common(1)[0][0]
    return [Folder(path, name, len(listing.pictures), shape, digest, root, look=look)]
