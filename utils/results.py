"""The files of a test or a forecast in a folder, and which of them the next one may replace.

Each has a record, a file of JSON that lists under "conditions", "files" what else it left, but for
what is always called the same.
"""

import contextlib
import json
import shutil
from pathlib import Path

from utils.errors import UserError
from utils.files import read_file, write_text

ENDINGS = (".gif", ".npz")  # of the other files of a test
UNFINISHED = ".unfinished"  # the folder of those that are being written; an empty file marks it
NO_RECORD = (  # raised while reading a record that is missing or was not written by a test
    *(FileNotFoundError, NotADirectoryError, ValueError, LookupError, TypeError),
    *(AttributeError, RecursionError),
)


def left_before(out, files):
    """The names of files, beside `files`, that an earlier test left in a folder, from its record.

    files: the names that every test writes, the record's first. UserError if one of them is there
    without a record: a test would overwrite a file that no test wrote. Also if there is a file
    where the folder, or one that it lies in, would have to be.
    """
    try:
        conditions = json.loads(read_file(out / files[0]))["conditions"]
        return [name for name in conditions.get("files", []) if Path(name).name == name]
    except NO_RECORD:
        there = next(path for path in (out, *out.parents) if path.exists())
        if not there.is_dir():
            raise UserError(f"{there}: a file, not a folder; give another --out") from None
        for name in files:
            if (out / name).exists():
                raise UserError(f"{out / name}: no test left it there; give a new --out") from None
        return []


def write_record(path, files, **conditions):
    """Write a record that lists the names `files`, and more conditions of JSON types."""
    content = {"conditions": {"files": files, **conditions}}
    write_text(path, json.dumps(content, indent=2) + "\n")


@contextlib.contextmanager
def replacing(out, files):
    """Context of (folder, taken): what is in the folder at its end takes the place of an earlier
    test's files in `out`, which until then are left as they are.

    files: as of `left_before`. taken: names without endings that the test's pictures and arrays
    must not have, those of others' files. Raises UserError as `left_before` does, also for a folder
    in the way.
    """
    earlier = {name for name in left_before(out, files) if name.endswith(ENDINGS)}
    folder = out / UNFINISHED
    # An empty one is of a test that was killed before it marked it, or after it cleared it.
    ours = (folder / UNFINISHED).exists() or (folder.is_dir() and not any(folder.iterdir()))
    if folder.exists() and not ours:
        raise UserError(f"{folder}: no test left it there; give a new --out")
    try:
        remove(folder)  # of a test that was killed
        folder.mkdir(parents=True)
        (folder / UNFINISHED).touch()
        yield folder, [path.stem for path in out.iterdir() if path.name not in earlier]
        replace(out, files, earlier, folder)
    finally:
        remove(folder)


def remove(folder):
    """Delete the folder of an unfinished test, its mark last, as far as that is possible."""
    for path in folder.glob("*"):
        if path.name != UNFINISHED:
            with contextlib.suppress(OSError):
                path.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def replace(out, files, earlier, folder):
    """Move the folder's files to `out`; of `earlier`, names, delete those without a successor."""
    record, *_ = files
    names = {path.name for path in folder.iterdir()} - {UNFINISHED}
    # If this test is killed meanwhile, the next one finds all of them in the record.
    write_record(out / record, sorted(earlier | names - set(files)))
    for name in earlier - names:
        (out / name).unlink(missing_ok=True)
    for name in (*sorted(names - {record}), record):
        (folder / name).replace(out / name)
