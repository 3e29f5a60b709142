"""Names that tell paths apart."""

import itertools
import os
from pathlib import Path


def name_apart(paths):
    """{path: its name} of files or folders: the last part, or as many as tell all of them apart.

    One that comes twice is there once.  Paths may be text; those of the result are Path.
    """
    whole = {absolute(path): Path(path) for path in paths}
    for length in itertools.count(1):
        names = ["/".join(path.parts[-length:]) for path in whole]
        if len(set(names)) == len(whole):
            return dict(zip(whole.values(), names, strict=True))


def printable(name):
    """The name of a file for people and for files in UTF-8: bytes that are none become \\xe9."""
    return os.fsencode(name).decode(errors="backslashreplace")


def absolute(path):
    """The Path without "..", links on its way left as they are."""
    return Path(os.path.abspath(path))
