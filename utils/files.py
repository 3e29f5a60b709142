"""A file that is written whole or not at all, whatever stops the writing."""

import codecs
import contextlib
import csv
import errno
import os
import stat
from pathlib import Path

from utils.errors import UserError, reason

PARTIAL = ".partial"  # ends the names of files that are being written


def write_whole(path, write):
    """Write a file atomically: write(file) fills a binary file that then replaces `path`.

    It is written under another name in the same directory, synced and renamed; then the directory
    is synced, so that even a power cut leaves either the old file or the new one. An OSError in
    any step leaves the old one. `write` may read and seek, too.
    """
    path = Path(path)
    aside = path.with_name(path.name + PARTIAL)
    try:
        aside.unlink(missing_ok=True)
        with open(aside, "x+b") as file:  # "x" follows no symbolic link
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        if isinstance(error, OSError):  # "disk full", for one, names no file
            error.filename = str(aside if os.path.lexists(aside) else path)
        raise
    sync_directory(path.parent)


def write_text(path, text):
    """`write_whole` of a text, in UTF-8."""
    write_whole(path, lambda file: file.write(text.encode()))


def write_rows(path, rows):
    """`write_whole` of rows as CSV, in UTF-8."""
    write_whole(path, lambda file: csv.writer(codecs.getwriter("utf-8")(file)).writerows(rows))


def read_file(path, at_most=-1):
    """The first `at_most` bytes of a file, all by default; OSError for anything but a file."""
    with open(open_file(path), "rb") as file:
        return file.read(at_most)


def read_lines(path, wanted):
    """The lines of a UTF-8 text file; UserError, which asks for `wanted`, if it cannot be read."""
    try:
        return read_file(path).decode().splitlines()
    except OSError as error:
        raise UserError(f"cannot read {reason(error)}: give {wanted}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not text: give {wanted}") from None


def open_file(path):
    """A file descriptor to read from; OSError for anything but a file: a pipe would block."""
    found = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise OSError(errno.EINVAL, "not a file", str(path))
    return found


def sync_directory(path):
    """Make new and renamed files in a directory survive a power cut."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
