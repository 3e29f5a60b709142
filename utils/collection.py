"""Videos that the scripts of data/ put below folders named train and test."""

import contextlib
import filecmp
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

from PIL import Image

from utils.errors import UserError, warn, writing_to
from utils.files import write_whole
from utils.frames import natural
from utils.lock import claim
from utils.usage import local_path

SPLITS = ("train", "test")
UNFINISHED = ".unfinished-"  # prefix of files and folders that only an interrupted run leaves


class Collection:
    """The folder --out of a script while it is filled; a context.

    No other process can claim the folder meanwhile. A file of notes in it lists the videos that
    this run puts there, until the run is finished. If it is interrupted, the same command, given
    again, skips the videos that are there already.
    """

    def __init__(self, options):
        self.out = options.out
        command = Path(sys.argv[0]).name, os.getcwd(), vars(options)
        text = json.dumps(command, default=str, sort_keys=True)
        run = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        self.notes = self.out / f"{UNFINISHED}{run}"
        self.known, self.claim = set(), claim(self.out)

    def __enter__(self):
        self.claim.__enter__()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self.known = set(self.notes.read_bytes().split(b"\0"))
        return self

    def __exit__(self, kind, *rest):
        if kind is None:
            self.notes.unlink(missing_ok=True)
        self.claim.__exit__(kind, *rest)

    def has(self, target):
        """Whether a run of the same command has made `target`; UserError if anything else has."""
        if not os.path.lexists(target):
            return False
        if not self.knows(target):
            raise UserError(f"{target} is there already: remove it or give another --out")
        return True

    def knows(self, target):
        """Whether the notes of an interrupted run of the same command list `target`."""
        return self._name(target) in self.known

    def note(self, *targets):
        """List targets in the notes of this run, no longer in those of interrupted runs."""
        names = {self._name(target) for target in targets}
        for notes in filter(Path.is_file, set(self.out.glob(f"{UNFINISHED}*")) - {self.notes}):
            with contextlib.suppress(FileNotFoundError):  # the other run has just ended
                theirs = notes.read_bytes().split(b"\0")
                if not names.isdisjoint(theirs):
                    notes.write_bytes(b"\0".join(name for name in theirs if name not in names))
        with open(self.notes, "ab") as file:
            file.write(b"\0".join([*sorted(names), b""]))

    def add_frames(self, folder, frames):
        """`write_frames`, unless an earlier run of the same command has -> the number of frames.

        UserError where a folder of this name is in the other of train and test.
        """
        if self.has(folder):
            return len(os.listdir(folder))
        for twin in self._twins(folder):
            if twin.is_dir():
                self._refuse(twin, folder)
        self._prepare(folder)
        return write_frames(folder, frames)

    def add_file(self, source, target):
        """Put a file into the collection: a hard link where the disk allows, else a copy.

        UserError where it lies in the other of train and test: it would be learned, then tested.
        """
        if self.has(target):
            return
        self._check_apart(source, target)
        self._prepare(target)
        source, unfinished = Path(source).resolve(), target.parent / f"{UNFINISHED}copy"
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
        """`write_whole` of a file, unless an earlier run of the same command has."""
        if not self.has(target):
            self._prepare(target)
            with writing_to(target):
                write_whole(target, write)

    def _prepare(self, target):
        with writing_to(target.parent):
            target.parent.mkdir(parents=True, exist_ok=True)
            self.note(target)

    def _check_apart(self, source, target):
        for twin in self._twins(target):
            if twin.is_file() and filecmp.cmp(source, twin, shallow=False):
                self._refuse(twin, target)

    def _twins(self, target):
        """The paths of the same name in the other splits."""
        split, *name = target.relative_to(self.out).parts
        return [self.out.joinpath(other, *name) for other in SPLITS if other != split]

    def _refuse(self, twin, target):
        split, cure = target.relative_to(self.out).parts[0], "remove it or give another --out"
        raise UserError(f"{twin} is there already, it was to be in {split}: {cure}")

    def _name(self, target):
        return os.fsencode(target.relative_to(self.out))


def write_frames(folder, frames, level=6):
    """Write frames, uint8 (H, W) or (H, W, 3), as PNG files into a new folder -> their number.

    All of them or none; `level`: of compression, 1 to 9. UserError if there is no frame, or nothing
    can be written.
    """
    # At most 60 characters: names end at 255 bytes.
    count, unfinished = 0, folder.with_name(f"{UNFINISHED}{folder.name}"[:60])
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
    """Warn that `names` on a list of the data set, called `what`, are not in its folder `root`."""
    if names:
        warn(f"{len(names)} {what} are not below {root}, the first is {names[0]}")


def tell_left_out(paths, what, why):
    """Warn in one line that `paths` are left out, which are called `what`, and why."""
    if paths:
        first = min(paths, key=lambda path: natural(str(path)))
        warn(f"{len(paths)} {what} are left out, the first is {first}: {why}")
