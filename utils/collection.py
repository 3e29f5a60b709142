"""Videos that the scripts of data/ put below folders named train and test."""

import functools
import os
import shutil
from pathlib import Path

from PIL import Image

from utils.errors import UserError, writing_to
from utils.files import open_file, write_whole
from utils.usage import local_place

SPLITS = ("train", "test")


def add_frames(folder, frames):
    """Write frames, uint8 (H, W) or (H, W, 3), as PNG files into a new folder -> their number.

    All of them or none. UserError if the folder is there already, there is no frame, or nothing can
    be written.
    """
    folder, count = Path(folder), 0
    unfinished = make_room(folder) / f".unfinished-{folder.name}"
    try:
        with writing_to(folder):
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            for count, frame in enumerate(frames, 1):
                Image.fromarray(frame).save(unfinished / f"frame_{count:05d}.png")
            if not count:
                raise UserError(f"{folder}: no frame for it can be read; give others")
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return count


def add_file(source, target):
    """Put a file into the collection, whole: a hard link where the disk allows, else a copy."""
    source, target = Path(source).resolve(), Path(target)
    make_room(target)
    try:
        os.link(source, target)
    except OSError:
        try:
            with open(open_file(source), "rb") as file:
                write_whole(target, functools.partial(shutil.copyfileobj, file))
        except OSError as error:
            raise UserError(
                f"cannot copy {source} to {target}: {error.strerror or error}"
            ) from None


def make_room(target):
    """The folder above a new file or folder, made where there is none; UserError if that exists."""
    if os.path.lexists(target):
        raise UserError(f"{target} is there already: remove it or give another --out")
    with writing_to(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
    return target.parent


def add_out(parser):
    """Add the option --out, a Path, to a parser."""
    where = {"type": lambda text: Path(local_place(text)), "default": Path("data/images")}
    parser.add_argument("--out", **where, help="folder of train and test")


def file_of(text):
    """An argument type: a file that exists, as a Path."""
    path = Path(text)
    if not path.is_file():
        raise UserError(f"no file {text!r}: give the place of one that is there")
    return path


def folder_of(text):
    """An argument type: a folder that exists, as a Path."""
    path = Path(text)
    if not path.is_dir():
        raise UserError(f"no folder {text}: give the place of the unpacked data set")
    return path
