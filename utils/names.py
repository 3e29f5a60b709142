"""Names that tell paths apart."""

import itertools
import os
import re
from pathlib import Path

CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def name_apart(paths):
    """{path: its name} of files or folders: the last part, or as many as tell all of them apart.

    One that comes twice is there once.  Paths may be text; those of the result are Path.
    """
    whole = {absolute(path): Path(path) for path in paths}
    for length in itertools.count(1):
        names = ["/".join(path.parts[-length:]) for path in whole]
        if len(set(names)) == len(whole):
            return dict(zip(whole.values(), names, strict=True))


def number_apart(names, taken=()):
    """The names in their order, -2, -3 and so on behind those that come again or are `taken`."""
    taken, found = set(taken), []
    for name in names:
        endings = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
        found.append(next(n for n in (name + ending for ending in endings) if n not in taken))
        taken.add(found[-1])
    return found


def printable(name):
    """The name of a file for people and for files in UTF-8, on one line.

    Bytes that are no UTF-8 become \\xe9, control characters \\n or \\x1b.
    """
    text = os.fsencode(name).decode(errors="backslashreplace")
    return CONTROLS.sub(lambda found: repr(found.group())[1:-1], text)


def absolute(path):
    """The Path without "..", links on its way left as they are."""
    return Path(os.path.abspath(path))
