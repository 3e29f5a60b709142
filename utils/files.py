"""A file that is written whole or not at all, whatever stops the writing."""

import os
from pathlib import Path

PARTIAL = ".partial"  # ends the names of files that are being written


def write_whole(path, write):
    """Have `write` fill a file, binary, that takes the place of `path` once it is safe on disk.

    It is written aside in the same directory, synced, renamed; then the directory is synced, so a
    power cut leaves either the old file or the new one.  An OSError of any step leaves the old one.
    `write` may read and seek, too.
    """
    path = Path(path)
    aside = path.with_name(path.name + PARTIAL)
    try:
        aside.unlink(missing_ok=True)
        with open(aside, "x+b") as file:  # x: never through a link that somebody has put there
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException as error:
        aside.unlink(missing_ok=True)
        if isinstance(error, OSError) and not error.filename:
            error.filename = str(path)  # the error of a full disk names no file
        raise
    sync_directory(path.parent)


def sync_directory(path):
    """Have the names in a directory survive a power cut."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
