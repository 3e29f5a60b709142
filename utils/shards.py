"""The shard files of a local Zarr array, chunk by chunk."""

import functools
import os
import resource

import google_crc32c
import numpy as np
import zstandard

from utils.files import open_file, write_whole

OPEN_FILES = 256  # at most, at once
CRC_BYTES = 4
MISSING = 2**64 - 1  # the offset and the length of a chunk that is not there


class Shards:
    """Reads and writes the shards in a folder: files of `count` chunks, zstd with CRC-32C.

    `shape`: of a chunk, uint8. `prefix`: of the files' names, before the number of the shard.
    `level`: of compression. tensorstore takes three times as long: it opens a file for each chunk.
    """

    def __init__(self, path, prefix, count, shape, level):
        self.path, self.prefix = path, prefix
        self.count, self.shape, self.level = count, shape, level
        self.size = int(np.prod(shape))
        self._shard = functools.lru_cache(files_to_keep_open())(self._open)

    def read(self, numbers):
        """Yield the chunks of these numbers; ValueError or OSError for a damaged one."""
        decompress = zstandard.ZstdDecompressor().decompress  # one a call: it is not thread-safe
        for number in numbers:
            shard, place = divmod(number, self.count)
            content = self._shard(shard).read(place)
            try:
                size = zstandard.frame_content_size(content)
                if size != self.size:
                    raise ValueError(f"chunk {number} is of {size} bytes, not {self.size}")
                yield np.ndarray(self.shape, np.uint8, decompress(content))
            except zstandard.ZstdError as error:
                raise ValueError(f"chunk {number}: {error}") from None

    def check(self, chunks):
        """ValueError or OSError unless all shards of so many chunks have an index, undamaged."""
        for shard in range(-(-chunks // self.count)):
            self._open(shard)

    def write(self, shard, chunks):
        """Write a shard atomically, its first chunks given, contiguous; OSError if that fails."""
        compress = zstandard.ZstdCompressor(self.level).compress
        parts = [seal(compress(chunk)) for chunk in chunks]
        index = np.full((self.count, 2), MISSING, "<u8")
        lengths = np.array([len(part) for part in parts])
        index[: len(parts)] = np.stack([lengths.cumsum() - lengths, lengths], axis=1)
        content = b"".join([*parts, seal(index.tobytes())])
        write_whole(self._place(shard), lambda file: file.write(content))

    def _place(self, shard):
        return os.path.join(self.path, f"{self.prefix}{shard}.0.0.0.0")

    def _open(self, shard):
        return Shard(self._place(shard), self.count)


class Shard:
    """An open shard: `count` chunks, followed by an index of their offsets and lengths."""

    def __init__(self, path, count):
        self.path = path
        self.file = open_file(path)
        self.size = os.fstat(self.file).st_size
        length = 16 * count + CRC_BYTES
        index = self.read_checked(self.size - length, length)
        self.index = np.frombuffer(index, "<u8").reshape(count, 2)

    def __del__(self):
        if hasattr(self, "file"):
            os.close(self.file)

    def read(self, place):
        """The compressed chunk at one place of the index."""
        return self.read_checked(*self.index[place].tolist())

    def read_checked(self, offset, length):
        """`length` bytes at `offset`, without their checksum; ValueError if that is wrong."""
        if not 0 <= offset <= self.size - length:  # as for a missing chunk, whose offset is MISSING
            raise ValueError(f"{self.path} lacks clips or is cut short")
        content = os.pread(self.file, length, offset)
        if seal(content[:-CRC_BYTES]) != content:
            raise ValueError(f"{self.path} at {offset}: the checksum does not match")
        return content[:-CRC_BYTES]


def files_to_keep_open():
    """How many shards may stay open: no more than a quarter of the files this process may open."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return OPEN_FILES if limit == resource.RLIM_INFINITY else min(OPEN_FILES, limit // 4)


def seal(content):
    """Bytes with their CRC-32C appended."""
    return content + google_crc32c.value(content).to_bytes(CRC_BYTES, "little")
