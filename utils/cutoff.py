"""Films that break off, which FFmpeg takes for their end."""

import os

EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"  # the two elements of a Matroska file
ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")  # an object in its header
ASF_HEAD = 2**16  # bytes in which that object lies
ASF_STREAMED = 1  # flag: the header was written before the file's size was known
MXF_PARTITION = bytes.fromhex("060e2b34020501010d01020101")  # begins names of partition packs


def breaks_off(path, kind):
    """Whether a film in FFmpeg's format `kind` is shorter than it says itself.

    False for formats that have no way to say so, and for films made for streaming, which do not.
    """
    if kind not in ENDS:
        return False
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        return ENDS[kind](file, size) > size


def matroska_end(file, size):
    """Where the Segment of a Matroska or WebM file ends (RFC 8794, sections 4 to 6), 0 if unknown.

    Leading zero bits of a length tell how many bytes it has beyond the first; a one ends them.
    Then all ones stand for an unknown length.
    """
    end = 0
    for element in EBML, SEGMENT:
        file.seek(end)
        name, first = file.read(4), int.from_bytes(file.read(1), "big")
        more = 8 - first.bit_length()
        unknown = (1 << 7 * (more + 1)) - 1
        length = (first << 8 * more | int.from_bytes(file.read(more), "big")) & unknown
        if name != element or not first or length == unknown:
            return 0
        end = file.tell() + length
    return end


def flv_end(file, size):
    """Where the last tag that begins in an FLV file ends, without the length that follows it."""
    file.seek(5)
    place = int.from_bytes(file.read(4), "big") + 4
    while place < size:
        file.seek(place + 1)
        place += 11 + int.from_bytes(file.read(3), "big") + 4
    return place - 4


def asf_end(file, size):
    """The size that an ASF or WMV file has by its File Properties Object, 0 if it has none."""
    _, found, properties = file.read(ASF_HEAD).partition(ASF_PROPERTIES)
    streamed = not found or int.from_bytes(properties[72:76], "little") & ASF_STREAMED
    return 0 if streamed else int.from_bytes(properties[24:32], "little")


def mxf_end(file, size):
    """Where the first byte of an MXF file's footer partition ends (SMPTE 377), 0 if unknown."""
    name, first = file.read(16), int.from_bytes(file.read(1), "big")
    file.seek(first & 127 if first > 127 else 0, os.SEEK_CUR)  # the rest of its length
    footer = int.from_bytes(file.read(32)[24:], "big")
    return footer + 1 if name.startswith(MXF_PARTITION) and footer else 0


ENDS = {"matroska,webm": matroska_end, "flv": flv_end, "asf": asf_end, "mxf": mxf_end}
