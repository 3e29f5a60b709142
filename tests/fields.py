"""A bare H.264 film whose frames are coded as two fields each, which no encoder here writes."""

HEIGHT, WIDTH = 64, 96
GROUP = 10  # frames from one key frame to the next
PCM = 25  # type of a macroblock in an I slice that holds its pixels as they are


def fields(pictures):
    """Grey pictures, uint8 (T, HEIGHT, WIDTH) -> list of access units, two for each picture."""
    return [
        field(t % GROUP, row, picture[row::2])
        for t, picture in enumerate(pictures)
        for row in range(2)
    ]


def field(t, bottom, luma):
    """The access unit of one field of frame `t` of its group; `bottom`: 1 for the lower field."""
    key = not (t or bottom)
    head = ue(0) + ue(7) + ue(0) + f"{t:04b}1{bottom}" + ue(0) * key + f"{2 * t + bottom:08b}"
    bits = head + "0" * (1 + key) + ue(0) + ue(1)  # no marking, the same quantiser, no deblocking
    for y in range(0, len(luma), 16):
        for x in range(0, WIDTH, 16):
            bits = align(bits + ue(PCM), "0")
            pixels = luma[y : y + 16, x : x + 16].tobytes() + bytes([128]) * 128
            bits += "".join(f"{value:08b}" for value in pixels)
    slices = unit(0x65 if key else 0x61, bits)
    return unit(0x09, "000") + (parameters() if key else b"") + slices


def parameters():
    """The sequence's and the picture's parameter sets: Main profile, no cropping, CAVLC."""
    size = ue(WIDTH // 16 - 1) + ue(HEIGHT // 32 - 1)
    sequence = f"{77:08b}{0:08b}{30:08b}" + 3 * ue(0) + ue(4) + ue(1) + "0" + size + "00100"
    picture = 2 * ue(0) + "00" + 3 * ue(0) + "000" + 3 * ue(0) + "100"
    return unit(0x67, sequence) + unit(0x68, picture)


def ue(value):
    """A number as an exponential Golomb code; 0 is the same with a sign."""
    digits = f"{value + 1:b}"
    return "0" * (len(digits) - 1) + digits


def align(bits, fill):
    """Bits filled up to whole bytes."""
    return bits + fill * (-len(bits) % 8)


def unit(head, bits):
    """A NAL unit of its first byte and its content, in which a 3 follows where two zeros precede
    one of the numbers 0 to 3."""
    bits = align(bits + "1", "0")
    content, zeros = bytearray(), 0
    for byte in int(bits, 2).to_bytes(len(bits) // 8, "big"):
        if zeros >= 2 and byte <= 3:
            content.append(3)
            zeros = 0
        content.append(byte)
        zeros = 0 if byte else zeros + 1
    return b"\0\0\0\1" + bytes([head]) + content
