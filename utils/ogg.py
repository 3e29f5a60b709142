"""Damaged pages of an Ogg file, which FFmpeg leaves out without reporting it."""

import zlib

# Bytes of a page's header; where in it are the number of segments and the checksum.
HEAD, SEGMENTS, CHECKSUM = 27, 26, slice(22, 26)
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))  # each byte's bits reversed


def find_damage(path):
    """The offset of the first page whose checksum does not match; None if all match.

    A last page that is cut short does not count as damaged.
    """
    with open(path, "rb") as file:
        place = 0
        while len(head := file.read(HEAD)) == HEAD:
            lengths = file.read(head[SEGMENTS])
            content = file.read(sum(lengths))
            page = head + lengths + content
            if len(lengths) < head[SEGMENTS] or len(content) < sum(lengths):
                return place if b"OggS" in page[4:] else None  # a page begins inside of this one
            if head[:4] != b"OggS" or checksum(page) != int.from_bytes(head[CHECKSUM], "little"):
                return place
            place += len(page)
    return None


def checksum(page):
    """The CRC-32 of a page, computed by zlib, which takes bits in the opposite order to Ogg."""
    blank = page[: CHECKSUM.start] + bytes(4) + page[CHECKSUM.stop :]
    found = zlib.crc32(blank.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{found:032b}"[::-1], 2)
