"""Film files as videos: whatever FFmpeg decodes."""

import atexit
import collections
import contextlib
import dataclasses
import functools
import os

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from utils.errors import describe_error
from utils.frames import MAX_PIXELS, BadFrame, Video
from utils.ogg import find_damage

ENDINGS = (".mp4", ".m4v", ".mov", ".3gp", ".avi", ".divx", ".mkv", ".webm", ".mpg", ".mpeg")
ENDINGS += (".vob", ".ogv", ".wmv", ".asf", ".flv", ".ts", ".mts", ".m2ts", ".mxf", ".y4m")
ENDINGS += (".m2v", ".h264", ".264", ".hevc", ".265")
# A file may not send the reader elsewhere, as a playlist named film.mp4 would.
CONTAINER = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,avi,matroska,webm,mpeg,mpegvideo,mpegts,ogg,asf,flv,h264,hevc,m4v,"
    "mxf,yuv4mpegpipe",
}
# A decoder that meets damage says so, instead of painting over it.
DECODER = {"err_detect": "explode", "max_pixels": str(MAX_PIXELS)}
BARE = {"m4v", "mpegvideo", "h264", "hevc"}  # streams without a container
TRIES = 8  # at beginning with a key frame, before the film is read from its beginning
# Their key frames may be refreshed piece by piece; decoders hold back what is not whole.
REFRESHING = {"h264", "hevc", "vvc"}
OVERLAP = 16  # frames kept before the point where a film is left: clips that follow share some
PLANAR = "yuv444p", "yuvj444p"  # of which FFmpeg makes planes of RGB in half the time, same values
RGB = 2, 0, 1  # the places of their planes in its "gbrp"


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
    index, reason = scan(path), BadFrame(path, "none of its frames can be decoded")
    to_pixels = Converter(path)
    for number, frame in decode_from(path, index, 0):
        frame = to_pixels(number, frame)
        if not isinstance(frame, BadFrame):
            return [Film(path, name, index.count, frame.shape[:2], digest, look=look)]
        reason = frame
    raise reason


@dataclasses.dataclass(frozen=True)
class Index:
    """The time stamps of a film's frames in order, the numbers of those decoding can begin with.

    `places`: {time stamp: place in the file} of the latter. A film whose frames have no time stamps
    of their own is known by its number of frames alone.
    """

    count: int
    times: tuple[int, ...] = ()
    keys: tuple[int, ...] = ()
    places: dict[int, int] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def numbers(self):
        """{time stamp: number of the frame}."""
        return {time: number for number, time in enumerate(self.times)}


@functools.lru_cache(maxsize=4)
def scan(path):
    """The Index of a film, read without decoding anything; BadFrame for what is no film."""
    times, keys, places, lost = [], [], {}, 0
    with open_stream(path) as (container, stream):
        kind, reorders = container.format.name, stream.codec_context.has_b_frames
        try:
            for packet in container.demux(stream):
                if packet.size and not packet.is_discard:  # by an edit list, which leaves it out
                    times.append(packet.pts)
                    if packet.is_keyframe:
                        keys.append(packet.pts)
                        places[packet.pts] = packet.pos
        except av.FFmpegError:
            lost = 1  # a bad frame stands for all that cannot be reached
        except IndexError:  # PyAV's at the end, of streams that began late: sound, often
            pass
    if not times:
        raise BadFrame(path, "has no frames")
    if kind == "ogg" and (place := find_damage(path)) is not None:
        raise BadFrame(path, f"the checksum of the page at {place} does not match")
    # An AVI file has none: its reader makes them up, wrongly where two frames are packed into one.
    # In an MPEG program stream, what lies between those given is guessed anew after seeking; what a
    # bare stream has is guessed as well.
    made_up = kind in {"mpeg", *BARE} or kind == "avi" and len(keys) < len(times)
    if made_up or None in times or len(set(times)) < len(times):
        return Index(len(times) + lost)
    if reorders and times == sorted(times):  # they say when to decode, not when to show
        return Index(len(times) + lost)
    index = Index(len(times) + lost, tuple(sorted(times)), places=places)
    return dataclasses.replace(index, keys=tuple(sorted(index.numbers[time] for time in keys)))


@contextlib.contextmanager
def open_stream(path):
    """(container, its best video stream), to be decoded by one thread; may raise BadFrame."""
    try:
        # As a whole path: data:film.mp4 is no URL.
        container = av.open(os.path.abspath(path), options=CONTAINER)
    except (av.FFmpegError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "its name is no text"
        raise BadFrame(path, f"cannot be read ({reason})") from None
    with container:
        stream = container.streams.best("video")
        if stream is None:
            raise BadFrame(path, "has no pictures")
        if stream.codec_context is None:
            raise BadFrame(path, "its codec is unknown to FFmpeg")
        stream.codec_context.thread_count = 1  # the processes share the cores
        stream.codec_context.options = DECODER
        stream.codec_context.copy_opaque = True  # each frame names the packet that it came in
        yield container, stream


def decode_near(path, index, start):
    """decode_from the last key frame from which frame `start` can be had, or the beginning.

    It may take an earlier one than the last before it: seeking overshoots in some containers, and
    after an intra refresh pictures are whole only some frames later.
    """
    for begin in reversed([key for key in index.keys if 0 < key <= start][-TRIES:]):
        frames = decode_from(path, index, begin)
        for number, frame in frames:
            if number is None or number < begin:  # may lean on what comes before `begin`
                continue
            if number > start or isinstance(frame, BadFrame):
                break
            yield number, frame
            yield from frames
            return
    yield from decode_on(path, index, start)


LEFT = []  # the film that was left last: its Index, its last frames, those to come
atexit.register(LEFT.clear)  # its file is closed while there are still modules to do it


def decode_on(path, index, start):
    """decode_from the beginning, or from where this film was left if that is before `start`.

    Else a long film without key frames to begin with would be decoded anew for every shard.
    """
    owner, past, frames = LEFT.pop() if LEFT else (None, (), ())
    if owner is not index or not past or past[0][0] > start:
        past, frames = (), decode_from(path, index, 0)
    recent = collections.deque(past, OVERLAP)
    try:
        yield from past
        for number, frame in frames:
            if number is not None:
                recent.append((number, frame))
            yield number, frame
    except GeneratorExit:  # the caller has what it wants
        LEFT[:] = [(index, recent, frames)]


def decode_from(path, index, begin):
    """Yield (number, frame) from frame `begin` on, a frame FFmpeg's or a BadFrame.

    (None, BadFrame) says that decoding failed. What comes then, up to the next frame that stands
    by itself, may lean on what was lost: it is bad, too. Frames before the first that stands by
    itself are left out: some decoders show them, on top of grey, without a word.
    """
    damage, lost, whole, count, judges = None, -1, False, 0, False
    with open_stream(path) as (container, stream):
        if begin:
            # The first packet alone may say what all lean on: which x264 made the film, for one.
            _, first = next(decode_all(container, stream, index), (None, None))
            # A file may call all of its frames key frames. Not all decoders know better.
            judges = getattr(first, "key_frame", False) and stream.name not in REFRESHING
            try:
                container.seek(index.times[begin], stream=stream)
            except av.FFmpegError:  # the file's own index is damaged
                return
        for (place, sound), frame in decode_all(container, stream, index):
            if not isinstance(frame, av.VideoFrame):
                reason = getattr(frame, "strerror", None) or describe_error(frame)
                damage = BadFrame(path, f"cannot be decoded in full ({reason})")
                lost = max(lost, place)
                is_frame = not (index.times or isinstance(frame, Gap))
                yield count if is_frame else None, damage
                count += is_frame
                continue
            number = index.numbers.get(frame.pts) if index.times else count
            count += 1
            whole = whole or sound and not judges or frame.key_frame
            if number is None or not whole:
                continue
            if frame.is_corrupt:
                damage = BadFrame(path, f"frame {number} is damaged")
            elif frame.key_frame and place > lost:  # the damaged one itself mends nothing
                damage = None
            yield number, damage or frame


class Gap(Exception):
    """A part of a packet is missing."""


def decode_all(container, stream, index):
    """Yield (origin, what is decoded): frames and the exceptions that the decoder raises.

    A Gap comes before what is decoded of a packet that is not there as a whole. An origin is (place
    of the packet among all, whether that is a key frame's or after one); places are in the order in
    which frames are shown, or decoded where there are no time stamps.
    """
    begin, torn = None, False
    try:
        for place, packet in enumerate(container.demux(stream)):
            if not packet.size and packet.dts is not None:  # Theora's "as before"; not counted
                continue
            if index.times:  # an edit list hides those that are not among the numbers
                place = index.numbers.get(packet.pts, -1)
            # Without time stamps nobody knows what else is shown before a key frame that is shown.
            if begin is None and packet.is_keyframe and (index.times or packet.is_discard):
                begin = place
            packet.opaque = place, packet.is_keyframe or begin is not None and place >= begin
            # A mark may be meant for the next: parsers hand on a packet when that has begun.
            if torn or packet.is_corrupt:
                yield packet.opaque, Gap("a part is missing")
            if packet.is_keyframe and index.places.get(packet.pts, packet.pos) != packet.pos:
                yield packet.opaque, Gap("its own index is wrong")
            torn = packet.is_corrupt
            try:
                for frame in packet.decode():
                    yield frame.opaque, frame
            except (av.FFmpegError, ValueError) as error:  # the latter once a decoder did not open
                yield packet.opaque, error
    except IndexError:
        return
    except av.FFmpegError as error:
        yield (-1, False), error  # nothing comes after it


class Converter:
    """Makes uint8 (H, W, 3), turned as the file asks for, of the frames that FFmpeg decodes."""

    def __init__(self, path):
        self.path, self.reformatter, self.matrix = path, VideoReformatter(), None

    def __call__(self, number, frame):
        """The pixels of a frame, or the BadFrame that it is or comes to."""
        if isinstance(frame, BadFrame):
            return frame
        try:
            if self.matrix is None or frame.key_frame:  # asking takes as long as converting
                self.matrix = bytes(frame.side_data.get("DISPLAYMATRIX", b""))
            pixels = self._convert(frame)
            return turn(pixels, np.frombuffer(self.matrix, np.int32)) if self.matrix else pixels
        except Exception as error:  # a damaged header may ask for what FFmpeg cannot convert
            reason = f"frame {number} cannot be converted ({describe_error(error)})"
            return BadFrame(self.path, reason)

    def _convert(self, frame):
        layout = "gbrp" if frame.format.name in PLANAR else "rgb24"
        # One thread: to start others takes longer.
        colours = self.reformatter.reformat(frame, format=layout, threads=1)
        rows = [np.frombuffer(plane, np.uint8) for plane in colours.planes]
        rows = [row.reshape(frame.height, -1) for row in rows]
        if layout == "gbrp":
            return np.moveaxis(np.stack([rows[i][:, : frame.width] for i in RGB]), 0, 2)
        return rows[0][:, : 3 * frame.width].reshape(frame.height, frame.width, 3)


def turn(pixels, matrix):
    """Pixels (H, W, 3) turned by quarters, mirrored or both, as a film's display matrix asks for.

    Its numbers a, b, _, c, d, ... take a point (x, y) to (ax + cy, bx + dy).
    """
    a, b, _, c, d = matrix[:5].tolist()
    if abs(b) > abs(a):
        pixels, right, down = pixels.swapaxes(0, 1), c, b
    else:
        right, down = a, d
    return pixels[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]
