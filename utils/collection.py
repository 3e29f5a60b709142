"""Videos that the scripts of data/ put below folders named train and test."""

import contextlib
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

from PIL import Image

from utils.errors import UserError, warn, writing_to
from utils.files import write_whole
from utils.usage import local_path

SPLITS = ("train", "test")
UNFINISHED = ".unfinished-"  # begins the names of what a run leaves only where it is interrupted


class Collection:
    """The folder --out of a script, while it is filled; a context.

    A file beside the videos keeps the names of those that a run puts there, until it ends as it
    should: the same command, given again after an interruption, passes over them.
    """

    def __init__(self, options):
        self.out = options.out
        command = Path(sys.argv[0]).name, os.getcwd(), vars(options)
        told = json.dumps(command, default=str, sort_keys=True)
        run = hashlib.blake2b(told.encode(errors="surrogateescape"), digest_size=8).hexdigest()
        self.notes = self.out / f"{UNFINISHED}{run}"
        self.known = set()

    def __enter__(self):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self.known = set(self.notes.read_bytes().split(b"\0"))
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.notes.unlink(missing_ok=True)

    def has(self, target):
        """Whether a run of the same command has put this there; UserError if another one has."""
        if not os.path.lexists(target):
            return False
        if not self.knows(target):
            raise UserError(f"{target} is there already: remove it or give another --out")
        return True

    def knows(self, target):
        """Whether an interrupted run of the same command was to put this there."""
        return self._name(target) in self.known

    def note(self, *targets):
        """Note that this run is to put these there, and no longer another one, interrupted."""
        names = {self._name(target) for target in targets}
        for notes in filter(Path.is_file, set(self.out.glob(f"{UNFINISHED}*")) - {self.notes}):
            with contextlib.suppress(FileNotFoundError):  # the other run has just ended
                theirs = notes.read_bytes().split(b"\0")
                if not names.isdisjoint(theirs):
                    notes.write_bytes(b"\0".join(name for name in theirs if name not in names))
        with open(self.notes, "ab") as file:
            file.write(b"\0".join([*sorted(names), b""]))

    def add_frames(self, folder, frames):
        """Have a folder of frames, as `write_frames` does; not where it has been before."""
        if self.has(folder):
            return len(os.listdir(folder))
        self._prepare(folder)
        return write_frames(folder, frames)

    def add_file(self, source, target):
        """Put a file into the collection: a hard link where the disk allows, else a copy."""
        if self.has(target):
            return
        self._prepare(target)
        source, unfinished = Path(source).resolve(), target.parent / ".unfinished"
        try:
            os.link(source, target)
        except OSError:
            try:
                shutil.copy2(source, unfinished)
                unfinished.rename(target)
            except OSError as error:
                why = f"{error.strerror or error}; make room or give another place"
                raise UserError(f"cannot copy {source} to {target}: {why}") from None
            finally:
                unfinished.unlink(missing_ok=True)

    def write_file(self, target, write):
        """Have `write` fill a new file, as `write_whole` does; not where it has been before."""
        if not self.has(target):
            self._prepare(target)
            with writing_to(target):
                write_whole(target, write)

    def _prepare(self, target):
        with writing_to(target.parent):
            target.parent.mkdir(parents=True, exist_ok=True)
            self.note(target)

    def _name(self, target):
        return os.fsencode(target.relative_to(self.out))


def write_frames(folder, frames, level=6):
    """Write frames, uint8 (H, W) or (H, W, 3), as PNG files into a new folder -> their number.

    All of them or none; `level`: of compression, 1 to 9. UserError if there is no frame, or nothing
    can be written.
    """
    count, unfinished = 0, folder.with_name(f"{UNFINISHED}{folder.name}")
    try:
        with writing_to(folder):
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            for count, frame in enumerate(frames, 1):
                path = unfinished / f"frame_{count:05d}.png"
                Image.fromarray(frame).save(path, compress_level=level)
            if not count:
                raise UserError(f"{folder}: no frame for it can be read; give others")
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return count


def add_out(parser):
    """Add the option --out, a Path, to a parser."""
    where = {"type": lambda text: Path(local_path(text)), "default": Path("data/images")}
    parser.add_argument("--out", **where, help="folder of train and test")


def tell_missing(names, what, root):
    """Warn, in one line, of what a list of the data set has and its folder lacks."""
    if names:
        warn(f"{len(names)} {what} are not below {root}, the first is {names[0]}")
