"""The videos to be found below folders."""

import contextlib
import dataclasses
import itertools
import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from utils import arrays, films
from utils.animations import open_animation
from utils.digest import digest
from utils.errors import UserError
from utils.folders import list_folder, list_stills, open_folder, probe_once, set_animated_apart
from utils.frames import MAX_PIXELS, BadFrame, Look, describe_size, natural, warn_left_out
from utils.images import FORMATS
from utils.layout import KIND
from utils.names import name_apart, number_apart, printable

READERS = 8  # threads that list folders, most of the time waiting for the disk
# Files that systems put beside people's own, such as thumbnails of each frame.
LITTER = {"@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN", "System Volume Information"}
LITTER |= {"lost+found", "Thumbs.db", "ehthumbs.db", "desktop.ini", "Desktop.ini"}
ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"}
READABLE = (*FORMATS, *films.ENDINGS, *arrays.ENDINGS)
KINDS = f"films ({', '.join(films.ENDINGS)}), arrays ({', '.join(arrays.ENDINGS)}, Zarr)"
ADVICE = (
    f"give {KINDS} or folders of pictures ({', '.join(FORMATS)}), "
    "or record some with `python data/record_ms_pacman.py`"
)


def find_videos(paths, skip=warn_left_out, look=Look(), axes=None):  # noqa: B008 (it is frozen)
    """Every video at or below the given paths, as a list of Video in natural order.

    A folder of still pictures is a video; so is each film, each animated picture and each sequence
    of an array (`axes`, such as TNHW, says what its axes are if that is ambiguous).
    `skip(path, reason)` is called once for each file or link that cannot be used; names that begin
    with a dot are ignored, as is LITTER. No two videos have the same name, and all names are
    printable. UserError if a path is missing, or nothing below all of them is usable.
    """
    for cached in (list_stills, probe_once, films.scan, arrays.open_member, arrays.open_zarr):
        cached.cache_clear()  # files may have changed since an earlier call
    roots = name_apart([paths] if isinstance(paths, str | os.PathLike) else paths)
    check_apart(roots)
    videos = []
    for root, name in roots.items():
        if root.is_dir():
            prefix = f"{name}/" if len(roots) > 1 else ""
            videos += search(root, name, prefix, skip, look, axes)
        elif root.is_file():
            prefix = name.removesuffix(root.name)
            videos += open_files(root.parent, [root.name], prefix, skip, look, axes)
        else:
            what = "neither a file nor a folder:" if root.exists() else "no such file or folder"
            raise UserError(f"{what} {root}: {ADVICE}")
    if not videos:
        raise UserError(f"no usable frames at {', '.join(map(str, roots))}: {ADVICE}")
    check_size(max(videos, key=lambda video: math.prod(video.size)), look)
    # Given x, the pictures in x are the video "x"; so are those in x/x.
    names = number_apart(printable(video.name) for video in videos)
    return [dataclasses.replace(v, name=name) for v, name in zip(videos, names, strict=True)]


def check_apart(roots):
    """UserError if two of the paths lead to the same place, or one lies in another."""
    folders = {}
    for root in roots:
        target = Path(os.path.realpath(root))  # resolve() raises for a link to itself
        if (other := folders.setdefault(target, root)) is not root:
            raise UserError(f"{root} leads to {other}: give one of them")
    for folder, root in folders.items():
        for outer in folders.keys() & set(folder.parents):
            raise UserError(f"{root} is in {folders[outer]}, which has all of it: give one of them")


def check_size(video, look):
    """UserError if --resize gives the video frames of more than MAX_PIXELS pixels."""
    if look.resize and math.prod(video.size) > MAX_PIXELS:
        raise UserError(
            f"--resize {' '.join(map(str, look.resize))}: makes frames of "
            f"{describe_size(video.size)} of {printable(video.path)}, more than {MAX_PIXELS} "
            "pixels: lower it"
        )


def search(root, name, prefix, skip, look, axes):
    """The videos at or below one folder.

    The folder's own pictures are called `name`, other videos `prefix` and their path below it.
    """
    names, videos = {root: name}, []
    found = list(walk(root, skip))
    folders = [parent for parent, is_array in found if not is_array]
    bar = tqdm(found, "search", unit=" folders", disable=None, leave=False)
    with ThreadPoolExecutor(READERS) as readers, bar:
        listings = readers.map(list_folder, folders, itertools.repeat(root))
        for parent, is_array in bar:
            name = names.get(parent, prefix + parent.relative_to(root).as_posix())
            if is_array and arrays.kind(parent) == KIND:
                skip(parent, "clips of this program, no videos")
                continue
            if is_array:
                with leaving_out(parent, skip):
                    videos += arrays.open_sequences(parent, name, digest(parent), skip, look, axes)
                continue
            listing = set_animated_apart(parent, next(listings))
            for path, reason in listing.left_out:
                skip(path, reason)
            if listing.pictures:
                with leaving_out(parent, skip):
                    videos += open_folder(parent, listing, root, name, look)
            inside = prefix if parent == root else f"{name}/"
            videos += open_files(parent, listing.others, inside, skip, look, axes)
    return videos


def walk(root, skip):
    """Yield every folder at or below one, (path, whether it is a Zarr array), in natural order."""
    for parent, below, files in os.walk(root, onerror=lambda e: skip(e.filename, e.strerror)):
        parent = Path(parent)
        try:
            is_array = arrays.is_array(parent)
        except OSError as error:  # without permission to enter it
            skip(parent, error.strerror)
            below.clear()
            continue
        if is_array:
            tell_beside(parent, files, skip)
        yield parent, is_array
        kept = [name for name in below if not name.startswith(".") and name not in LITTER]
        below[:] = [] if is_array else sorted(kept, key=natural)
        for link in (parent / name for name in below if os.path.islink(parent / name)):
            skip(link, "a link to a folder: give --images its target")


def tell_beside(array, names, skip):
    """Pass to `skip` the first of the files in a Zarr array's folder that look like videos."""
    others = [name for name in names if name[0] != "." and name.lower().endswith(READABLE)]
    if others:
        why = f"one of {len(others)} files in the folder of a Zarr array: move them to another"
        skip(array / min(others, key=natural), why)


def open_files(folder, names, prefix, skip, look, axes):
    """The videos in files that are each a video: films, arrays, animated pictures.

    Each is called by its file name after `prefix`; `skip(path, reason)` is called for other files.
    """
    videos = []
    for name in names:
        path, full = folder / name, prefix + name
        ending = path.suffix.lower()
        with leaving_out(path, skip):
            if ending in films.ENDINGS:
                videos += films.open_film(path, full, digest(path), look)
            elif ending in arrays.ENDINGS:
                videos += arrays.open_sequences(path, full, digest(path), skip, look, axes)
            elif ending in FORMATS:
                videos += open_animation(path, full, digest(path), look)
            elif ending in ARCHIVES:
                skip(path, "an archive: unpack it")
            elif name not in LITTER.union(arrays.MARKERS):
                skip(path, "neither picture nor film nor array")
    return videos


@contextlib.contextmanager
def leaving_out(path, skip):
    """In this context a BadFrame, or an OSError while `path` is read, is passed to `skip`."""
    try:
        yield
    except BadFrame as bad:
        skip(bad.path, bad.reason)
    except OSError as error:
        skip(path, error.strerror)
