"""Where the files of a store are: in a local folder or at a URL."""

import contextlib
import os

import tensorstore

from utils.errors import UserError, reason
from utils.names import is_url

CUT_OFF = ".__lock"  # suffix of what tensorstore leaves if it is killed while it writes a file
# Half a minute of attempts to reach a server.
RETRIES = {f"{kind}_request_retries": {"max_retries": 5} for kind in ("http", "s3", "gcs")}


def locate(path):
    """The specification of tensorstore's key-value store for a local folder or a URL.

    s3://bucket/clips is at Amazon, or on the server that AWS_ENDPOINT_URL names. UserError for a
    folder whose name is not UTF-8, or a URL that names nothing.
    """
    scheme, mark, place = str(path).partition("://")
    place = place.rstrip("/")
    if mark and not place:
        raise UserError(f"{path}: a URL without a place; give one such as s3://BUCKET/clips")
    if not mark:
        folder = f"{os.path.abspath(path)}{os.sep}"
        try:
            folder.encode()
        except UnicodeEncodeError:
            raise UserError(f"{path}: its name is not UTF-8; give another path") from None
        return {"driver": "file", "path": folder}
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if scheme == "s3" and endpoint:
        bucket, _, name = place.partition("/")
        return {"driver": "s3", "bucket": bucket, "path": f"{name}/", "endpoint": endpoint}
    return f"{scheme}://{place}/"


def open_files(path):
    """The files in a local folder or at a URL, as a tensorstore.KvStore."""
    return tensorstore.KvStore.open(locate(path), context=tensorstore.Context(RETRIES)).result()


def read_from(path, name):
    """Read a small file in the folder or below the URL `path` -> tensorstore's KvStore.ReadResult.

    UserError where that fails: no permission, a server that does not answer, an unknown URL scheme.
    """
    try:
        return open_files(path).read(name).result()
    except (ValueError, NotImplementedError) as error:
        problem = f"{name} cannot be read ({reason(error)})"
        raise UserError(f"{path}: {problem}; mend that or give another path") from None


@contextlib.contextmanager
def changing(path):
    """In this context it is a UserError if files in the folder or below the URL `path` cannot be
    listed, written or deleted."""
    try:
        yield
    except (OSError, ValueError, NotImplementedError) as error:
        cure = "make it writable or give another --out"
        raise UserError(f"cannot write to {path}: {reason(error)}; {cure}") from None


def vacant(path):
    """Whether a store can be made at `path`: a URL, nothing at all or a folder without files, but
    for one that a run was killed while it wrote."""
    if is_url(path) or not os.path.lexists(path):
        return True
    return os.path.isdir(path) and all(name.endswith(CUT_OFF) for name in os.listdir(path))


def is_no_file(path):
    """Whether a local path is something other than a file: reading from a pipe would block."""
    return not is_url(path) and os.path.exists(path) and not os.path.isfile(path)
