"""A folder that one process at a time may write to."""

import contextlib
import fcntl
import os
from pathlib import Path

from utils.errors import UserError, warn, writing_to
from utils.names import is_url


@contextlib.contextmanager
def claim(path):
    """Context in which no other process can claim the folder `path`, created if missing.

    The system releases the claim when the process ends, for whatever reason. UserError if another
    process holds it. A URL is not claimed, nor are, with a warning, some network drives. Folders
    that were created here and are still empty at the end are removed.
    """
    if is_url(path):
        yield
        return
    made = [place for place in (Path(path), *Path(path).parents) if not place.is_dir()]
    folder = open_locked(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            for place in made:
                place.rmdir()
        os.close(folder)


def open_locked(path):
    """A descriptor of the folder, which this process has locked."""
    while True:
        with writing_to(path):
            os.makedirs(path, exist_ok=True)
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(folder)
            raise UserError(
                f"another process is writing to {path}: wait for its end or give another --out"
            ) from None
        except OSError as error:  # NFS, for one, locks no folders
            reason = f"{error.strerror}: see that no other process writes there"
            warn(f"{path} cannot be claimed, {reason}")
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(folder), os.stat(path)):
                return folder
        os.close(folder)  # its last owner removed the folder before it was locked here: try again
