"""What is known of a film before it is decoded: how many frames it has, where they lie."""

import contextlib
import dataclasses
import functools
import itertools
import os

import av
import numpy as np
from av.codec.context import Flags

from utils import cutoff
from utils.frames import MAX_PIXELS, BadFrame
from utils.ogg import find_damage

# FFmpeg may open nothing but this one file: a playlist named film.mp4 would send it elsewhere.
CONTAINER = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,avi,matroska,webm,mpeg,mpegvideo,mpegts,ogg,asf,flv,h264,hevc,m4v,"
    "mxf,yuv4mpegpipe",
}
# Decoders report damage instead of concealing it.
DECODER = {"err_detect": "explode", "max_pixels": str(MAX_PIXELS)}
VOP = b"\0\0\1\xb6"  # begins a picture of MPEG-4 part 2
TINY = 16  # bytes of a packet: MPEG-4's placeholder for a picture that is not coded has 6 to 8
BEGINNING = 16  # packets of an H.264 film that tell whether each holds a frame or a field
REORDERED = 16  # frames, at most, that are shown before one that is decoded before them
BARE = {"m4v", "mpegvideo", "h264", "hevc"}  # streams without a container


@dataclasses.dataclass(frozen=True)
class Index:
    """What is known of a film without decoding it.

    count: its number of packets, which is that of its frames if `certain`; else only decoding
    tells. cut_off: whether it breaks off; one more frame, which cannot be decoded, stands for what
    is missing. times: time stamps of the frames, and of those known to be missing, ascending. keys:
    the numbers of its key frames, from which decoding can start. places: {time stamp of a key
    frame: offset in the file}. The last three are empty if the file has no reliable time stamps.
    """

    count: int
    cut_off: bool = False
    certain: bool = True
    times: tuple[int, ...] = ()
    keys: tuple[int, ...] = ()
    places: dict[int, int] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def numbers(self):
        """{time stamp: number of the frame}."""
        return {time: number for number, time in enumerate(self.times)}


@functools.lru_cache(maxsize=4)
def scan(path):
    """The Index of a film, from its packets, which are not decoded; BadFrame if it is no film."""
    times, keys, places, last, lost, surplus = [], [], {}, None, 0, 0
    with open_stream(path) as (container, stream):
        kind, codec = container.format.name, stream.name
        reorders = stream.codec_context.has_b_frames
        try:
            for packet in container.demux(stream):
                if packet.size and not packet.is_discard:  # edit lists discard packets
                    times.append(packet.pts)
                    last = packet
                    if codec == "mpeg4":
                        surplus += count_surplus(packet)
                    if packet.is_keyframe:
                        keys.append(packet.pts)
                        places[packet.pts] = packet.pos
        except av.FFmpegError:
            lost = 1  # one bad frame stands for all that cannot be read
        except IndexError:  # PyAV raises it at the end of a stream that appeared late, often audio
            pass
    if not times:
        raise BadFrame(path, "has no frames")
    if kind == "ogg" and (place := find_damage(path)) is not None:
        raise BadFrame(path, f"the checksum of the page at {place} does not match")
    cut_off = not lost and is_cut_off(path, kind, last)
    count = len(times) + (lost or cut_off)
    # Time stamps that FFmpeg makes up cannot be relied on. AVI has none: they are wrong where one
    # packet holds two frames. An MPEG program stream has few: those in between are guessed anew
    # after seeking. A stream without a container has none.
    made_up = kind in {"mpeg", *BARE} or kind == "avi" and len(keys) < len(times)
    # In MPEG-4 a picture that comes with another has a placeholder later on, but for the last;
    # other placeholders are no frames.
    fields = codec == "h264" and kind in {"mpegts", "avi", "mpeg", *BARE} and holds_fields(path)
    certain = surplus in {0, 1} and not fields
    if made_up or not certain or None in times or len(set(times)) < len(times):
        return Index(count, cut_off, certain)
    if reorders and times == sorted(times):  # these are decoding times, not presentation times
        return Index(count, cut_off)
    if kind == "mpegts" and reorders:
        missing = missing_at_end(times)
        count, times = count + len(missing), times + missing
    index = Index(count, cut_off, times=tuple(sorted(times)), places=places)
    return dataclasses.replace(index, keys=tuple(sorted(index.numbers[time] for time in keys)))


def missing_at_end(times):
    """The time stamps of frames that a recording lacks before its last one.

    times: those that it has, in the order of decoding. Where the last frame to be shown is decoded
    before others, the recording may be cut off between them. It is taken to be complete if its
    frames are irregular before that, too.
    """
    end = max(times)
    begin = max(times[: times.index(end)], default=end)
    steps = np.diff(sorted(time for time in times if time <= begin))
    if len(steps) < REORDERED:
        return []
    step = int(np.median(steps))
    if np.abs(steps - step).max() > step // 4 or end - begin > REORDERED * step:
        return []
    near = {round((time - begin) / step) for time in times if time > begin}
    return [begin + place * step for place in range(1, max(near, default=0)) if place not in near]


def count_surplus(packet):
    """How many pictures a packet of MPEG-4 part 2 has beyond one: -1 for what looks like none."""
    return -1 if packet.size < TINY else max(bytes(packet).count(VOP) - 1, 0)


def holds_fields(path):
    """Whether an H.264 film has a field, half of a frame, in most packets after a key frame."""
    # For the errors see `scan`.
    with open_stream(path) as (container, stream), contextlib.suppress(av.FFmpegError, IndexError):
        packets = (packet for packet in container.demux(stream) if packet.size)
        packets = itertools.dropwhile(lambda packet: not packet.is_keyframe, packets)
        frames = [len(packet.decode()) for packet in itertools.islice(packets, BEGINNING)]
        return sum(frames) + len(stream.decode(None)) < 0.75 * len(frames)
    return False


@contextlib.contextmanager
def open_stream(path):
    """Context of (container, its best video stream), set to one thread; may raise BadFrame."""
    try:
        # By its absolute path: data:film.mp4 would be taken for a URL.
        container = av.open(os.path.abspath(path), options=CONTAINER)
    except (av.FFmpegError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "its name is no text"
        raise BadFrame(path, f"cannot be read ({why})") from None
    with container:
        stream = container.streams.best("video")
        if stream is None:
            raise BadFrame(path, "has no pictures")
        if stream.codec_context is None:
            raise BadFrame(path, "its codec is unknown to FFmpeg")
        stream.codec_context.thread_count = 1  # the worker processes share the cores
        stream.codec_context.options = DECODER
        stream.codec_context.flags |= Flags.unaligned  # crops at the left are else rounded down
        stream.codec_context.copy_opaque = True  # frames keep the `opaque` of their packets
        yield container, stream


def is_cut_off(path, kind, last):
    """Whether a film breaks off, which FFmpeg takes for its end.

    kind: FFmpeg's name of its format. last: the last packet.
    """
    if kind == "yuv4mpegpipe":
        return last.pos + last.size < os.path.getsize(path)
    return cutoff.breaks_off(path, kind)
