"""The shard files of a local Zarr array, whose chunks are read one by one."""

import functools
import os

import google_crc32c
import numpy as np
import zstandard

OPEN_FILES = 256  # at once
CRC_BYTES = 4


class Shards:
    """Chunks of `shape`, uint8, zstd with CRC-32C, `count` of them in each file of a folder.

    tensorstore takes three times as long to read them: it opens a file anew for each.
    """

    def __init__(self, path, count, shape):
        self.path, self.count, self.shape = path, count, shape
        self.size = int(np.prod(shape))
        self._shard = functools.lru_cache(OPEN_FILES)(self._open)

    def read(self, numbers):
        """Yield chunks by their number, of `shape`; ValueError, OSError for a damaged one."""
        decompress = zstandard.ZstdDecompressor().decompress  # not for several threads
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

    def _open(self, shard):
        return Shard(os.path.join(self.path, f"c.{shard}.0.0.0.0"), self.count)


class Shard:
    """An open file of `count` chunks, behind which their offsets lie with their lengths."""

    def __init__(self, path, count):
        self.path = path
        self.file = os.open(path, os.O_RDONLY)
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
        """Bytes of the file without the checksum that they end with."""
        if not 0 <= offset <= self.size - length:  # a missing chunk has the highest numbers
            raise ValueError(f"{self.path} has no {length} bytes at {offset}")
        content = os.pread(self.file, length, offset)
        content, found = content[:-CRC_BYTES], content[-CRC_BYTES:]
        if google_crc32c.value(content) != int.from_bytes(found, "little"):
            raise ValueError(f"{self.path} at {offset}: the checksum does not match")
        return content
