"""Film files as videos: whatever FFmpeg decodes."""

import atexit
import collections
import dataclasses

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from utils.errors import reason
from utils.film_index import open_stream, scan
from utils.frames import BadFrame, Video

ENDINGS = (".mp4", ".m4v", ".mov", ".3gp", ".avi", ".divx", ".mkv", ".webm", ".mpg", ".mpeg")
ENDINGS += (".vob", ".ogv", ".wmv", ".asf", ".flv", ".ts", ".mts", ".m2ts", ".mxf", ".y4m")
ENDINGS += (".m2v", ".h264", ".264", ".hevc", ".265")
TRIES = 8  # key frames to start from, one after the other, before decoding from the beginning
# Codecs with gradual refresh (no frame is intra-coded as a whole); their decoders themselves hold
# frames back until they are complete.
REFRESHING = {"h264", "hevc", "vvc"}
OVERLAP = 16  # frames kept before the point where a film is left: the next clips share some
PLANAR = "yuv444p", "yuvj444p"  # FFmpeg converts these to planar RGB in half the time, same values
RGB = 2, 0, 1  # the planes of red, green, blue in FFmpeg's planar format, "gbrp"


@dataclasses.dataclass(frozen=True)
class Film(Video):
    """The frames of the best video stream of one file, the right way up."""

    def decode(self, numbers):
        damage, to_pixels = None, Converter(self.path)
        for number, frame in decode_near(self.path, scan(self.path), numbers.start):
            if number is None:
                damage = frame
                continue
            while numbers and numbers[0] < number:
                yield damage or BadFrame(self.path, f"frame {numbers[0]} cannot be decoded")
                numbers = numbers[1:]
            if numbers and numbers[0] == number:
                yield to_pixels(number, frame)
                numbers = numbers[1:]
            if not numbers:
                return
        if damage:
            yield from (damage for _ in numbers)


def open_film(path, name, digest, look):
    """A film file as a list of one Video; BadFrame if it cannot be read."""
    index, problem = scan(path), BadFrame(path, "none of its frames can be decoded")
    to_pixels = Converter(path)
    for number, frame in decode_from(path, index, 0):
        frame = to_pixels(number, frame)
        if not isinstance(frame, BadFrame):
            count = index.count if index.certain else count_frames(path, index)
            return [Film(path, name, count, frame.shape[:2], digest, look=look)]
        problem = frame
    raise problem


def count_frames(path, index):
    """The number of frames that decoding a film without time stamps yields, bad ones included."""
    numbers = [number for number, _ in decode_from(path, index, 0) if number is not None]
    return numbers[-1] + 1 + index.cut_off


def decode_near(path, index, start):
    """decode_from the last key frame that yields frame `start`, or from the beginning.

    That is not always the last key frame before it: seeking overshoots in some containers, and with
    gradual refresh frames are complete only some time after a key frame.
    """
    for begin in reversed([key for key in index.keys if 0 < key <= start][-TRIES:]):
        frames = decode_from(path, index, begin)
        for number, frame in frames:
            if number is None or number < begin:  # may depend on frames before `begin`
                continue
            if number > start or isinstance(frame, BadFrame):
                break
            yield number, frame
            yield from frames
            return
    yield from decode_on(path, index, start)


# The film that was decoded last, suspended: [(its Index, its most recent frames, an iterator of
# those to come)], or empty.
SUSPENDED = []
atexit.register(SUSPENDED.clear)  # closes its file while PyAV's modules still exist


def decode_on(path, index, start):
    """decode_from the beginning, or go on from where this film was left if that is before `start`.

    Otherwise a long film without usable key frames would be decoded anew for every shard.
    """
    owner, past, frames = SUSPENDED.pop() if SUSPENDED else (None, (), ())
    if owner is not index or not past or past[0][0] > start:
        past, frames = (), decode_from(path, index, 0)
    recent = collections.deque(past, OVERLAP)
    try:
        yield from past
        for number, frame in frames:
            if number is not None:
                recent.append((number, frame))
            yield number, frame
    except GeneratorExit:  # the caller has all frames that it wanted
        SUSPENDED[:] = [(index, recent, frames)]


def decode_from(path, index, begin):
    """Yield (number, frame) from frame `begin` on; a frame is an av.VideoFrame or a BadFrame.

    (None, BadFrame) says that decoding failed. The frames from there to the next key frame may
    depend on what was lost: they are bad, too. Frames before the first key frame are left out:
    some decoders draw them on top of grey without reporting it.
    """
    damage, lost, started, count, frames_tell = None, -1, False, 0, False
    with open_stream(path) as (container, stream):
        if begin:
            # The first packet may hold what the decoder needs for all others, such as the version
            # of x264 that made the film: it is decoded before seeking.
            _, first = next(decode_all(container, stream, index), (None, None))
            # Some files mark every packet as a key frame. Where the decoder marks frames itself,
            # and reliably, it is asked instead.
            frames_tell = getattr(first, "key_frame", False) and stream.name not in REFRESHING
            try:
                container.seek(index.times[begin], stream=stream)
            except av.FFmpegError:  # the index in the file is damaged
                return
        for (place, after_key), frame in decode_all(container, stream, index):
            if not isinstance(frame, av.VideoFrame):
                why = getattr(frame, "strerror", None) or reason(frame)
                damage = BadFrame(path, f"cannot be decoded in full ({why})")
                lost = max(lost, place)
                is_frame = not (index.times or isinstance(frame, Gap))
                yield count if is_frame else None, damage
                count += is_frame
                continue
            number = index.numbers.get(frame.pts) if index.times else count
            count += 1
            started = started or after_key and not frames_tell or frame.key_frame
            if number is None or not started:
                continue
            if frame.is_corrupt:
                damage = BadFrame(path, f"frame {number} is damaged")
            elif frame.key_frame and place > lost:  # the damaged packet itself ends no damage
                damage = None
            yield number, damage or frame


class Gap(Exception):
    """Part of a packet or of the film is missing."""


def decode_all(container, stream, index):
    """Yield (origin, result): frames, and exceptions of the decoder as results.

    A Gap is yielded before what is decoded of an incomplete packet, and at the end of a film that
    breaks off. An origin is (place of the packet, whether the packet is a key frame's or comes
    after one). Places count packets in the order in which frames are shown, or decoded if there are
    no time stamps.
    """
    begin, torn = None, False
    try:
        for place, packet in enumerate(container.demux(stream)):
            if not packet.size and packet.dts is not None:  # Theora's repeated frame; not counted
                continue
            if index.times:  # packets that an edit list hides have no number
                place = index.numbers.get(packet.pts, -1)
            # Without time stamps it is unknown which frames are shown before a key frame, unless
            # that is itself discarded.
            if begin is None and packet.is_keyframe and (index.times or packet.is_discard):
                begin = place
            packet.opaque = place, packet.is_keyframe or begin is not None and place >= begin
            # The mark "corrupt" may belong to the next packet: a parser completes a packet only
            # when it meets the beginning of the next one.
            if torn or packet.is_corrupt:
                yield packet.opaque, Gap("a part is missing")
            if packet.is_keyframe and index.places.get(packet.pts, packet.pos) != packet.pos:
                yield packet.opaque, Gap("its own index is wrong")
            torn = packet.is_corrupt
            try:
                for frame in packet.decode():
                    yield frame.opaque, frame
            except (av.FFmpegError, ValueError) as error:  # ValueError if the decoder did not open
                yield packet.opaque, error
    except IndexError:  # as in `scan`
        return
    except av.FFmpegError as error:  # the container cannot be read any further
        yield (-1, False), error
    if index.cut_off:
        yield (-1, False), Gap("the file breaks off")


class Converter:
    """Converts frames that FFmpeg decodes to uint8 (H, W, 3), rotated as the file asks for."""

    def __init__(self, path):
        self.path, self.reformatter, self.matrix = path, VideoReformatter(), None

    def __call__(self, number, frame):
        """The pixels of a frame; a BadFrame as it is, or one if the frame cannot be converted."""
        if isinstance(frame, BadFrame):
            return frame
        try:
            if self.matrix is None or frame.key_frame:  # reading it takes as long as converting
                self.matrix = bytes(frame.side_data.get("DISPLAYMATRIX", b""))
            pixels = self._convert(frame)
            return turn(pixels, np.frombuffer(self.matrix, np.int32)) if self.matrix else pixels
        except Exception as error:  # a damaged header may ask for what FFmpeg cannot convert
            why = f"frame {number} cannot be converted ({reason(error)})"
            return BadFrame(self.path, why)

    def _convert(self, frame):
        layout = "gbrp" if frame.format.name in PLANAR else "rgb24"
        # One thread: starting more takes longer than they save.
        colours = self.reformatter.reformat(frame, format=layout, threads=1)
        rows = [np.frombuffer(plane, np.uint8) for plane in colours.planes]
        rows = [row.reshape(frame.height, -1) for row in rows]
        if layout == "gbrp":
            return np.moveaxis(np.stack([rows[i][:, : frame.width] for i in RGB]), 0, 2)
        return rows[0][:, : 3 * frame.width].reshape(frame.height, frame.width, 3)


def turn(pixels, matrix):
    """Pixels (H, W, 3) rotated by multiples of 90 degrees, mirrored or both.

    matrix: the film's display matrix, whose numbers a, b, _, c, d, ... map a point (x, y) to
    (ax + cy, bx + dy).
    """
    a, b, _, c, d = matrix[:5].tolist()
    if abs(b) > abs(a):
        pixels, right, down = pixels.swapaxes(0, 1), c, b
    else:
        right, down = a, d
    return pixels[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]
