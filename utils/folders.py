"""Folders of picture files as videos."""

import collections
import contextlib
import dataclasses
import functools
import itertools
import os
from pathlib import Path

from utils.digest import digest_files
from utils.frames import BadFrame, Video, natural
from utils.gaps import fill_gaps
from utils.images import FORMATS, probe, read_image
from utils.spacing import evenly

HEADERS = 9  # pictures of a folder whose headers are read to learn their size and kind
ASTRAY = "a link that leads nowhere or out of the folder: give --images its target"
AHEAD = 128  # pictures that the system is asked to read into memory before their turn
# Cached: the same few pictures are probed twice, for whether they are animated and for their size.
probe_once = functools.lru_cache(maxsize=HEADERS)(probe)


@dataclasses.dataclass(frozen=True)
class Folder(Video):
    """The pictures of one folder, in natural order, as the frames of a video.

    Those that are missing between others are bad frames, and count. `root` is where the search for
    videos began.
    """

    root: Path

    def decode(self, numbers):
        places = map(self.place, numbers)
        ahead = collections.deque(map(prefetch, itertools.islice(places, AHEAD)))
        while ahead:
            path = ahead.popleft()
            ahead.extend(map(prefetch, itertools.islice(places, 1)))
            try:
                yield read_image(path)
            except BadFrame as bad:
                yield bad

    def place(self, number):
        """The file of a frame; BadFrame if the folder no longer has `count` pictures."""
        try:
            names = list_stills(self.path, self.root)
        except OSError as error:
            raise BadFrame(self.path, f"cannot be read ({error.strerror})") from None
        if len(names) != self.count:
            cure = f"had {self.count} when the run began; start again once it is complete"
            raise BadFrame(self.path, f"has {len(names)} pictures, {cure}")
        return self.path / names[number]


def prefetch(path):
    """Ask the system to read a file into memory in the background; returns the path.

    Waiting for the disk for each of 150,000 frames in turn took longer than decoding them.
    """
    with contextlib.suppress(OSError, AttributeError):
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would be waited for
        try:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(file)
    return path


@dataclasses.dataclass(frozen=True)
class Listing:
    """File names of one folder in natural order: pictures, and all others.

    `sizes`: bytes of each picture. `left_out`: (path, reason) of each file that cannot be used.
    """

    pictures: tuple[str, ...]
    others: tuple[str, ...]
    sizes: tuple[int, ...]
    left_out: tuple[tuple[Path, str], ...]


def list_folder(path, root):
    """The files in a folder as a Listing; a link may not lead out of `root`."""
    sizes, others, left_out = {}, [], []
    with os.scandir(path) as entries:
        for entry in entries:
            try:
                if entry.name.startswith(".") or entry.is_dir():
                    continue
                if entry.is_symlink() and not leads_into(entry.path, root):
                    left_out.append((Path(entry.path), ASTRAY))
                elif not entry.is_file():
                    left_out.append((Path(entry.path), "not a file"))
                elif os.path.splitext(entry.name)[1].lower() in FORMATS:
                    sizes[entry.name] = entry.stat().st_size
                else:
                    others.append(entry.name)
            except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
                left_out.append((Path(entry.path), getattr(error, "strerror", str(error))))
    pictures = sorted(sizes, key=natural)
    for name in a_few(pictures):
        prefetch(os.path.join(path, name))
    return Listing(
        tuple(pictures),
        tuple(sorted(others, key=natural)),
        tuple(sizes[name] for name in pictures),
        tuple(sorted(left_out)),
    )


def set_animated_apart(path, listing):
    """The Listing with animated pictures, each of which is a video of its own, among `others`.

    If none of a few pictures is animated, all are taken to be stills: opening every frame of a long
    video would take long. An animated one that is missed so is refused when it is read as a frame.
    """
    if not any(is_animated(path / name) for name in a_few(listing.pictures)):
        return listing
    animated = {name for name in listing.pictures if is_animated(path / name)}
    stills = {
        name: size
        for name, size in zip(listing.pictures, listing.sizes, strict=True)
        if name not in animated
    }
    others = tuple(sorted([*listing.others, *animated], key=natural))
    return Listing(tuple(stills), others, tuple(stills.values()), listing.left_out)


@functools.lru_cache(maxsize=4)  # a video is read in order, so few folders suffice
def list_stills(path, root):
    """The names of the still pictures in a folder, gaps filled."""
    return fill_gaps(set_animated_apart(path, list_folder(path, root)).pictures)


def is_animated(path):
    """Whether a picture file holds more than one image; False if it cannot be read."""
    with contextlib.suppress(BadFrame):  # reported when the picture is read
        return probe_once(path)[0] > 1
    return False


def leads_into(link, root):
    """Whether a symbolic link ends at something that exists inside `root`."""
    target = Path(link).resolve()
    return target.exists() and target.is_relative_to(Path(root).resolve())


def a_few(pictures):
    """HEADERS of the pictures, spread evenly."""
    return [pictures[index] for index in evenly(len(pictures), HEADERS)]


def find_twins(names):
    """Yield pairs of names that differ only in their endings or in capitals."""
    stems = {}
    for name in names:
        stem = os.path.splitext(name)[0].casefold()
        if stem in stems:
            yield stems[stem], name
        stems[stem] = name


def open_folder(path, listing, root, name, look):
    """The still pictures of a folder as a list of one Video.

    BadFrame if none can be read, or if two have the same name but for its ending or capitals: the
    folder then holds frames twice, or something beside them, such as masks.
    """
    for one, other in find_twins(listing.pictures):
        cure = "keep one, move the other to another folder"
        raise BadFrame(path, f"{one} and {other} would be two frames of one name; {cure}")
    sizes, last = collections.Counter(), None
    for picture in a_few(listing.pictures):
        try:
            sizes[probe_once(path / picture)[1]] += 1
        except BadFrame as bad:
            last = bad
    if not sizes:
        raise BadFrame(path, f"no picture can be read: {last.path.name} {last.reason}")
    digest = digest_files(path, listing.pictures, listing.sizes)
    shape = sizes.most_common(1)[0][0]
    count = len(fill_gaps(listing.pictures))
    return [Folder(path, name, count, shape, digest, root, look=look)]
