"""Arrays in an .npz file that is sealed with a checksum of its content."""

import hashlib
import math
import os
import struct
import sys
import tokenize
import zipfile
import zlib

import numpy as np
from numpy.lib import format as npy

from utils.errors import UserError, reason
from utils.files import open_file, write_whole

# The file ends with the zip comment: its kind, its version, then the SHA-256 of all bytes before.
KIND, VERSION = b"video-frame-prediction ", b"1"
SEAL = KIND + VERSION + b" sha256 "
DIGITS = 64
CHUNK = 2**20


def write_archive(path, arrays):
    """Write {name: array} to an uncompressed .npz atomically; np.load can read it.

    The same arrays give the same bytes. Raises OSError if the file cannot be written, ValueError
    for an array of Python objects.
    """

    def write(file):
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in sorted(arrays.items()):
                info = zipfile.ZipInfo(f"{name}.npy")  # its date is 1980, so the bytes are the same
                with archive.open(info, "w", force_zip64=True) as member:
                    npy.write_array(member, np.asanyarray(array), allow_pickle=False)
            archive.comment = SEAL + b"0" * DIGITS
        file.seek(-DIGITS, os.SEEK_END)
        digest = digest_of(file, file.tell())
        file.write(digest)

    write_whole(path, write)


class Archive:
    """The arrays in a file of `write_archive`, after its checksum has been verified; a context.

    A mapping from names to arrays, each read when it is accessed. `forms`: {name: (shape, dtype)}.
    Nothing is unpickled or decompressed, and no more memory is allocated than the file is large.
    UserError for a file that is damaged, larger than `at_most` bytes or not such a file.
    """

    def __init__(self, path, at_most):
        self.path = path
        try:
            self.file = open(open_file(path), "rb")  # noqa: SIM115, __exit__ closes it
            try:
                self.check_seal(at_most)
                self.zip = zipfile.ZipFile(self.file)
                self.members = {self.name(info): info for info in self.zip.infolist()}
                self.forms = {name: self.form(info) for name, info in self.members.items()}
            except BaseException:
                self.file.close()
                raise
        except FileNotFoundError:
            raise UserError(f"{path}: no such file") from None
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
        except UNREADABLE as error:
            raise UserError(f"{path}: not an archive of arrays ({reason(error)})") from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def __contains__(self, name):
        return name in self.members

    def __getitem__(self, name):
        try:
            with self.zip.open(self.members[name]) as member:
                return npy.read_array(member, allow_pickle=False)
        except UNREADABLE as error:
            raise UserError(f"{self.path}: {name} is damaged ({reason(error)})") from None

    def check_seal(self, at_most):
        """UserError for a file that is too large, of another kind or version, or altered."""
        size = self.file.seek(0, os.SEEK_END)
        if size > at_most:
            raise UserError(
                f"{self.path}: {size} bytes, more than the {at_most} that this network can need"
            )
        length = len(SEAL) + DIGITS
        self.file.seek(max(size - length, 0))
        seal = self.file.read(len(SEAL))
        if not seal.startswith(KIND):
            raise UserError(f"{self.path}: damaged, or not written by this program (no checksum)")
        if seal != SEAL:
            raise UserError(f"{self.path}: from another version of this program, or damaged")
        if digest_of(self.file, size - DIGITS) != self.file.read(DIGITS):
            raise UserError(f"{self.path}: damaged (its checksum does not match)")
        self.file.seek(0)

    def name(self, info):
        """The name of the array in a zip member; ValueError if it is no uncompressed array."""
        if not info.filename.endswith(".npy") or info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{info.filename!r} is not an uncompressed array")
        return info.filename.removesuffix(".npy")

    def form(self, info):
        """(shape, dtype) of a zip member; ValueError unless it holds one array and nothing else."""
        with self.zip.open(info) as member:
            if npy.read_magic(member) != (1, 0):
                raise ValueError(f"{info.filename!r} is of another version")
            shape, _, dtype = npy.read_array_header_1_0(member)
            if dtype.hasobject:
                raise ValueError(f"{info.filename!r} holds Python objects, which could run code")
            if member.tell() + math.prod(shape) * dtype.itemsize != info.file_size:
                raise ValueError(f"{info.filename!r} is not of the size that it states")
        return shape, dtype


def is_whole(path):
    """Whether a file of `write_archive` is there, undamaged."""
    try:
        with Archive(path, sys.maxsize):
            return True
    except UserError:
        return False


UNREADABLE = (  # what zipfile and NumPy raise for damaged files
    *(ValueError, KeyError, TypeError, EOFError, NotImplementedError, RuntimeError, MemoryError),
    *(OverflowError, struct.error, zipfile.BadZipFile, zlib.error),
    *(SyntaxError, tokenize.TokenError),  # raised for the headers of arrays
)


def digest_of(file, length):
    """SHA-256, in hexadecimal, of the first `length` bytes; the file is then positioned after."""
    digest = hashlib.sha256()
    file.seek(0)
    while length:
        chunk = file.read(min(CHUNK, length))
        if not chunk:
            break
        digest.update(chunk)
        length -= len(chunk)
    return digest.hexdigest().encode()
