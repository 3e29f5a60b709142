"""The pages of an Ogg file, which FFmpeg leaves out without a word where they are damaged."""

import zlib

HEAD, LENGTHS, CHECKSUM = 27, 26, slice(22, 26)  # bytes of a page's head; where in it they are
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def find_damage(path):
    """The place of the first page whose checksum does not match; None where all do.

    A last page that is cut short is none.
    """
    with open(path, "rb") as file:
        place = 0
        while len(head := file.read(HEAD)) == HEAD:
            lengths = file.read(head[LENGTHS])
            content = file.read(sum(lengths))
            page = head + lengths + content
            if len(lengths) < head[LENGTHS] or len(content) < sum(lengths):
                return place if b"OggS" in page[4:] else None
            if head[:4] != b"OggS" or checksum(page) != int.from_bytes(head[CHECKSUM], "little"):
                return place
            place += len(page)
    return None


def checksum(page):
    """The CRC-32 that a page is to have, by zlib, which takes the bits in the other order."""
    blank = page[: CHECKSUM.start] + bytes(4) + page[CHECKSUM.stop :]
    found = zlib.crc32(blank.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{found:032b}"[::-1], 2)
