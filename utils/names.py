"""Names that tell paths apart."""

import itertools
import os
import re
from pathlib import Path

CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def name_apart(paths):
    """{path: name} of files or folders: the last parts of each path, as few as make all differ.

    Paths that are given twice are there once. They may be text; those of the result are Path.
    """
    whole = {absolute(path): Path(path) for path in paths}
    for length in itertools.count(1):
        names = ["/".join(path.parts[-length:]) for path in whole]
        if len(set(names)) == len(whole):
            return dict(zip(whole.values(), names, strict=True))


def number_apart(names, taken=()):
    """The names in their order, with -2, -3, ... appended to those that repeat or are `taken`."""
    taken, found = set(taken), []
    for name in names:
        endings = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
        found.append(next(n for n in (name + ending for ending in endings) if n not in taken))
        taken.add(found[-1])
    return found


def printable(name):
    """The name of a file as one line of UTF-8, fit to be printed or written to a file.

    Bytes that are not UTF-8 become \\xe9 and the like, control characters \\n or \\x1b.
    """
    return on_one_line(os.fsencode(name).decode(errors="backslashreplace"))


def on_one_line(text):
    r"""The text with control characters as \n or \x1b."""
    return CONTROLS.sub(lambda found: repr(found.group())[1:-1], text)


def absolute(path):
    """The absolute Path without "..", symbolic links unresolved."""
    return Path(os.path.abspath(path))


def is_url(path):
    """Whether a path, text or Path, is a URL such as s3://bucket/clips."""
    return "://" in str(path)
