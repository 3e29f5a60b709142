"""A digest that identifies what a video is read from, without reading all of it."""

import contextlib
import hashlib

from utils.frames import BadFrame

PEEK = 2**16  # bytes at both ends of a file that go into its digest


def digest(path):
    """Identify a file by its size, first and last bytes; a folder and all below it, such as a Zarr
    array, as `digest_files`. BadFrame if the folder holds a pipe or the like."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if not file.is_dir())
        for file in files:
            if not file.is_file():  # a pipe would be waited for
                raise BadFrame(path, f"{file.relative_to(path)} in it is not a file")
        names = [str(file.relative_to(path)) for file in files]
        return digest_files(path, names, [file.stat().st_size for file in files])
    state = hashlib.blake2b(digest_size=8)
    size = path.stat().st_size
    state.update(f"{size}\n".encode())
    with open(path, "rb") as file:
        state.update(file.read(PEEK))
        file.seek(max(0, size - PEEK))
        state.update(file.read(PEEK))
    return state.hexdigest()


def digest_files(folder, names, sizes):
    """Identify the files in a folder, at least one, by their names and sizes, and by the middle
    one's digest: pictures of some formats are all of one size."""
    middle = round((len(names) - 1) / 2)  # as `folders.a_few`, so it is in memory by now
    lines = [f"{name}\t{size}" for name, size in zip(names, sizes, strict=True)]
    with contextlib.suppress(OSError):  # where it is not to be read, others may be
        lines.append(digest(folder / names[middle]))
    content = "\n".join(lines).encode(errors="surrogateescape")
    return hashlib.blake2b(content, digest_size=8).hexdigest()
