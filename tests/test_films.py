"""Films that FFmpeg reads to their end are read to their end, in order, the right way up."""

import contextlib
import fractions
import itertools
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext

from tests.fields import GROUP, HEIGHT, WIDTH, fields
from utils import film_index, films
from utils.cutting import Outcome
from utils.errors import UserError
from utils.frames import BadFrame
from utils.recipe import Recipe
from utils.reel import Reel
from utils.tasks import Block
from utils.videos import find_videos

RATE = 25


def film(path, codec="libx264", frames=40, **options):
    """Write a film of 64x96 pixels in which every frame differs, with a key frame every 10."""
    y, x = np.mgrid[:64, :96]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE, options=options)
        stream.height, stream.width = 64, 96
        stream.gop_size, stream.pix_fmt = 10, "yuv420p"
        for t in range(frames):
            shot = np.stack([np.sin((x + k * y + 3 * t) / 9) * 90 + 120 for k in (1, 2, 3)], 2)
            shot = np.ascontiguousarray(shot.astype(np.uint8))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shot, format="rgb24")))
        container.mux(stream.encode(None))


def remux(source, target, change, **options):
    """Copy a film packet by packet, each changed by `change` or left out where that is False."""
    with av.open(str(source)) as old, av.open(str(target), "w", options=options) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None and change(packet) is not False:
                packet.stream = stream
                new.mux(packet)


def decoded_by_ffmpeg(path):
    """All frames as FFmpeg gives them, in its order."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def only(path):
    (video,) = find_videos(path)
    return video


@pytest.mark.parametrize("name", ["a.wmv", "a.mp4", "a.mov"])
def test_frames_come_in_order_where_files_hold_the_time_stamps_of_decoding_alone(tmp_path, name):
    """Some muxers know of no other, though the frames are shown in another order."""
    film(tmp_path / "whole.mp4", bf="3")

    def forget(packet):
        packet.pts = packet.dts

    remux(tmp_path / "whole.mp4", tmp_path / name, forget)
    video, expected = only(tmp_path / name), decoded_by_ffmpeg(tmp_path / name)
    found = [frame for frame in video.frames(0) if not isinstance(frame, BadFrame)]
    assert len(found) >= 38 and np.array_equal(found, expected)
    for first in (1, 9, 10, 17, 30):
        assert np.array_equal(list(video.read(first, first + 3)), expected[first : first + 3])


@pytest.mark.parametrize("start", [1, 4, 13])
def test_what_an_edit_list_leaves_out_is_no_frame(tmp_path, start):
    film(tmp_path / "whole.mp4", bf="3")

    def earlier(packet):
        ticks = round(start / RATE / packet.time_base)
        packet.pts, packet.dts = packet.pts - ticks, packet.dts - ticks

    path = tmp_path / "a.mp4"
    remux(tmp_path / "whole.mp4", path, earlier, avoid_negative_ts="disabled")
    video, expected = only(path), decoded_by_ffmpeg(path)
    assert len(video) == len(expected) == 40 - start
    assert np.array_equal(list(video), expected)
    assert np.array_equal(expected, decoded_by_ffmpeg(tmp_path / "whole.mp4")[start:])
    for first in (1, 5, 16, 26):
        assert np.array_equal(video.read(first, first + 1)[0], expected[first])


def test_a_film_with_a_bad_beginning_is_read_from_where_it_is_good(tmp_path):
    film(tmp_path / "whole.mp4", "libx265", **{"x265-params": "log-level=none"})
    packets = iter(range(99))
    remux(tmp_path / "whole.mp4", tmp_path / "a.mp4", lambda packet: next(packets) > 0)
    frames = list(only(tmp_path / "a.mp4").frames(0))
    good = [frame for frame in frames if not isinstance(frame, BadFrame)]
    assert isinstance(frames[0], BadFrame) and len(frames) == 39
    assert np.array_equal(good, decoded_by_ffmpeg(tmp_path / "whole.mp4")[10:])


def check_good(path, expected):
    """Whether each frame of a film is right or bad -> the numbers of those that are bad.

    Where there are no time stamps, numbers may be off by one behind damage.
    """
    bad = []
    for number, frame in enumerate(only(path).frames(0)):
        if isinstance(frame, BadFrame):
            bad.append(number)
        else:
            near = expected[max(0, number - 1) : number + 2]
            assert any(np.array_equal(frame, right) for right in near), number
    return bad


OLD = int(av.__version__.partition(".")[0]) < 18  # that of Python 3.10
MXF = pytest.param("mxf", marks=pytest.mark.skipif(OLD, reason="PyAV 17 copies no rate to .mxf"))


@pytest.mark.parametrize("ending", ["ts", "avi", "asf", MXF])
def test_a_recording_begins_with_its_first_key_frame(tmp_path, ending):
    """The decoder shows what comes before it all the same, on top of grey."""
    whole, cut = tmp_path / f"whole.{ending}", tmp_path / f"cut.{ending}"
    film(whole, "mpeg2video" if ending == "mxf" else "mpeg4", bf="2")
    packets = iter(range(99))
    remux(whole, cut, lambda packet: next(packets) >= 4)
    bad = check_good(cut, decoded_by_ffmpeg(whole)[4:])
    assert 0 < len(bad) < 10 and bad == list(range(len(bad)))


def test_an_intra_refresh_that_a_recording_begins_in_is_awaited_by_the_decoder(tmp_path):
    film(tmp_path / "whole.ts", **{"x264-params": "intra-refresh=1:bframes=0"})
    packets = iter(range(99))
    remux(tmp_path / "whole.ts", tmp_path / "a.ts", lambda packet: next(packets) >= 4)
    bad = check_good(tmp_path / "a.ts", decoded_by_ffmpeg(tmp_path / "whole.ts")[4:])
    assert 0 < len(bad) < 16 and bad == list(range(len(bad)))


@pytest.mark.parametrize("name", ["a.mkv", "a.mpg", "a.vob", "a.mxf", "a.m2v"])
def test_damage_of_a_key_frame_spoils_all_up_to_the_next(tmp_path, name):
    film(tmp_path / name, "mpeg2video", bf="2")
    expected = decoded_by_ffmpeg(tmp_path / name)
    content = bytearray((tmp_path / name).read_bytes())
    with av.open(str(tmp_path / name)) as container:
        keys = [packet for packet in container.demux(video=0) if packet.is_keyframe]
        data = bytes(keys[2])
    place = content.index(data[-200:-100])  # program streams cut packets in pieces
    content[place : place + 40] = np.random.default_rng(0).bytes(40)
    (tmp_path / name).write_bytes(content)
    bad = check_good(tmp_path / name, expected)
    assert len(bad) > 5 and bad[-1] - bad[0] == len(bad) - 1


@pytest.mark.parametrize(
    "codec, options",
    [("libx264", {"bf": "3"}), ("libx265", {"x265-params": "log-level=none"})],
)
def test_a_recording_that_misses_a_piece_is_bad_up_to_the_next_key_frame(tmp_path, codec, options):
    path = tmp_path / "a.ts"
    film(path, codec, **options)
    expected, content = decoded_by_ffmpeg(path), path.read_bytes()
    pieces = [content[at : at + 188] for at in range(0, len(content), 188)]
    starts = [i for i, piece in enumerate(pieces) if piece[1:3] == b"\x41\0"]
    key, after = [pair for pair in itertools.pairwise(starts) if pieces[pair[0]][5] & 0x40][1]
    for lost in range(after - 1, key, -3):
        path.write_bytes(b"".join(pieces[:lost] + pieces[lost + 1 :]))
        assert 0 < len(check_good(path, expected)) < 20


def test_a_name_with_a_colon_is_no_url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    film("x.mp4", frames=3)
    film("long.mp4", frames=7)
    for name in ("file:x.mp4", "data:x.mp4"):
        (tmp_path / "long.mp4").rename(tmp_path / name)
        assert len(only(Path(name))) == 7
        (tmp_path / name).rename(tmp_path / "long.mp4")


def test_numbers_of_a_display_matrix_may_be_any(recwarn):
    pixels, least = np.zeros((2, 3, 3), np.uint8), -(2**31)
    assert films.turn(pixels, np.array([0, least, 0, 5, 0], np.int32)).shape == (3, 2, 3)
    assert not recwarn


TURNS = {  # what a file says of its x and y: [[a, b], [c, d]]
    (1, 0, 0, 1): lambda frame: frame,
    (0, 1, -1, 0): lambda frame: np.rot90(frame, -1),
    (-1, 0, 0, -1): lambda frame: np.rot90(frame, 2),
    (0, -1, 1, 0): lambda frame: np.rot90(frame),
    (-1, 0, 0, 1): lambda frame: frame[:, ::-1],
    (1, 0, 0, -1): lambda frame: frame[::-1],
    (0, 1, 1, 0): lambda frame: frame.swapaxes(0, 1),
    (0, -1, -1, 0): lambda frame: np.rot90(frame, 2).swapaxes(0, 1),
}


@pytest.mark.parametrize("matrix", TURNS)
def test_films_are_turned_or_mirrored_as_they_ask_for(tmp_path, matrix):
    path = tmp_path / "a.mp4"
    film(path, frames=3)
    expected = [TURNS[matrix](frame) for frame in decoded_by_ffmpeg(path)]
    content = bytearray(path.read_bytes())
    a, b, c, d = (2**16 * number for number in matrix)
    place = content.index(b"tkhd") + 4 + 4 + 36
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 2**30)
    path.write_bytes(content)
    video = only(path)
    assert video.size == expected[0].shape[:2] and np.array_equal(list(video), expected)


@pytest.mark.parametrize(
    "name, codec, options",
    [
        ("a.avi", "mpeg4", {"bf": "2"}),
        ("a.mpg", "mpeg2video", {}),
        ("a.mp4", "libx264", {"g": "999"}),
    ],
)
def test_a_film_without_key_frames_goes_on_where_it_was_left(
    tmp_path, monkeypatch, name, codec, options
):
    film(tmp_path / name, codec, frames=90, **options)
    expected = decoded_by_ffmpeg(tmp_path / name)
    begins, decode_from = [], films.decode_from
    monkeypatch.setattr(
        films, "decode_from", lambda *args: begins.append(args[-1]) or decode_from(*args)
    )
    video = only(tmp_path / name)
    begins.clear()
    for first in range(0, 80, 10):  # they overlap, as the frames of clips do
        assert np.array_equal(video.read(first, first + 14), expected[first : first + 14])
    for first in (76, 77, 84):
        assert np.array_equal(video.read(first, first + 2), expected[first : first + 2])
    assert len(begins) == 1
    one, other = video.frames(40), video.frames(20)  # neither may disturb the other
    for frame, later in zip(expected[20:50], expected[40:70], strict=True):
        assert np.array_equal(next(one), later) and np.array_equal(next(other), frame)
    assert np.array_equal(list(video), expected)


def test_a_decoder_that_does_not_open_is_told(tmp_path):
    film(tmp_path / "a.mp4", "libx265", 5, **{"x265-params": "log-level=none"})
    broken = bytearray((tmp_path / "a.mp4").read_bytes())
    length = broken.index(b"hvcC") + 4 + 23 + 3  # of the first of the decoder's parameter sets
    broken[length : length + 2] = b"\xff\xff"
    (tmp_path / "a.mp4").write_bytes(broken)
    reasons = []
    with pytest.raises(UserError):
        find_videos(tmp_path / "a.mp4", lambda path, reason: reasons.append(reason))
    assert len(reasons) == 1 and "cannot be decoded in full" in reasons[0]


def test_sound_that_begins_late_ends_no_film(tmp_path, monkeypatch):
    """PyAV raises IndexError behind the last packet, sometimes, where a stream has turned up late.

    Whether it does depends on memory that nobody has set, so here it always does.
    """
    film(tmp_path / "a.mpg", "mpeg2video")
    frames, opened = list(only(tmp_path / "a.mpg")), films.open_stream

    class Late:
        def __init__(self, container):
            self.container = container

        def demux(self, stream):
            yield from self.container.demux(stream)
            raise IndexError("list index out of range")

        def __getattr__(self, name):
            return getattr(self.container, name)

    @contextlib.contextmanager
    def open_late(path):
        with opened(path) as (container, stream):
            yield Late(container), stream

    films.scan.cache_clear()
    for module in films, film_index:
        monkeypatch.setattr(module, "open_stream", open_late)
    again = list(only(tmp_path / "a.mpg"))
    assert len(again) == len(frames) == 40 and np.array_equal(again, frames)


@pytest.mark.parametrize("name", ["a.mp4", "a.avi"])
def test_a_film_that_calls_all_of_its_frames_key_frames_is_not_believed(tmp_path, name):
    codec = {"a.mp4": "mpeg4", "a.avi": "msmpeg4"}[name]
    film(tmp_path / f"whole_{name}", codec, **({"bf": "2"} if codec == "mpeg4" else {}))
    remux(
        tmp_path / f"whole_{name}",
        tmp_path / name,
        lambda packet: setattr(packet, "is_keyframe", True),
    )
    video, expected = only(tmp_path / name), decoded_by_ffmpeg(tmp_path / name)
    assert len(films.scan(video.path).keys) == 40
    for first in (1, 5, 15, 38, 27):
        assert np.array_equal(video.read(first, first + 2), expected[first : first + 2])


@pytest.mark.parametrize("wrong", [[7], range(5, 31)])
def test_a_damaged_index_does_not_lead_to_other_frames(tmp_path, monkeypatch, wrong):
    film(tmp_path / "a.avi", "ffvhuff", g="1")
    expected = decoded_by_ffmpeg(tmp_path / "a.avi")
    content = bytearray((tmp_path / "a.avi").read_bytes())
    index = content.index(b"idx1") + 8
    places = [struct.unpack_from("<I", content, index + 16 * i + 8)[0] for i in range(40)]
    for i in wrong:
        struct.pack_into("<I", content, index + 16 * i + 8, places[(i + 9) % 40])
    (tmp_path / "a.avi").write_bytes(content)
    begins, decode_from = [], films.decode_from
    monkeypatch.setattr(
        films, "decode_from", lambda *args: begins.append(args[-1]) or decode_from(*args)
    )
    video = only(tmp_path / "a.avi")
    for first in (1, 5, 7, 30):
        begins.clear()
        assert np.array_equal(video.read(first, first + 4), expected[first : first + 4])
        assert len(begins) <= films.TRIES + 1


def test_a_film_in_which_nothing_can_be_sought_is_read_from_its_beginning(tmp_path, monkeypatch):
    film(tmp_path / "a.webm", "libvpx")
    expected, opened = decoded_by_ffmpeg(tmp_path / "a.webm"), films.open_stream

    class Damaged:
        def __init__(self, container):
            self.demux, self.format = container.demux, container.format

        def seek(self, *_, **__):
            raise av.error.EOFError(541478725, "End of file")

    @contextlib.contextmanager
    def open_damaged(path):
        with opened(path) as (container, stream):
            yield Damaged(container), stream

    monkeypatch.setattr(films, "open_stream", open_damaged)
    video = only(tmp_path / "a.webm")
    assert np.array_equal(video.read(25, 28), expected[25:28])


def test_a_film_that_cannot_be_read_to_its_end_says_so(tmp_path):
    path = tmp_path / "a.y4m"
    film(path, "rawvideo")
    expected, content = decoded_by_ffmpeg(path), bytearray(path.read_bytes())
    content[content.index(b"FRAME", len(content) // 2)] ^= 1
    path.write_bytes(content)
    *good, bad = only(path).frames(0)
    assert np.array_equal(good, expected[: len(good)]) and len(good) > 15
    assert "cannot be decoded in full (Invalid data" in bad.reason
    with pytest.raises(BadFrame):
        only(path).read(len(good) - 1, len(good) + 1)


@pytest.mark.parametrize("missing", [1, 500, 64 * 96 * 3 // 2, 64 * 96 * 3 // 2 + 5])
def test_a_y4m_cut_off_within_a_frame_says_so(tmp_path, missing):
    path = tmp_path / "a.y4m"
    film(path, "rawvideo")
    expected, content = decoded_by_ffmpeg(path), path.read_bytes()
    assert np.array_equal(list(only(path)), expected)
    path.write_bytes(content[:-missing])
    *good, bad = only(path).frames(0)
    assert np.array_equal(good, expected[:-1])
    assert "the file breaks off" in bad.reason


BREAKING = [
    ("a.mkv", "libx264"),
    ("a.webm", "libvpx"),
    ("a.flv", "flv1"),
    ("a.wmv", "wmv2"),
    ("a.mxf", "mpeg2video"),
]


@pytest.mark.parametrize("name, codec", BREAKING)
def test_a_film_that_breaks_off_says_so(tmp_path, name, codec):
    path = tmp_path / name
    film(path, codec, frames=120)
    expected, content = decoded_by_ffmpeg(path), path.read_bytes()
    assert np.array_equal(list(only(path)), expected)
    for share in (0.5, 0.7, 0.9):
        path.write_bytes(content[: int(share * len(content))])
        frames = list(only(path).frames(0))
        good = [frame for frame in frames if not isinstance(frame, BadFrame)]
        assert np.array_equal(good, expected[: len(good)]) and len(good) > 40
        assert "the file breaks off" in frames[-1].reason and len(frames) - len(good) < 4


@pytest.mark.parametrize("name, length", [("a.mkv", b"\x01" + 7 * b"\xff"), ("a.webm", b"\xff")])
def test_a_film_made_for_streaming_need_not_say_how_long_it_is(tmp_path, name, length):
    path = tmp_path / name
    film(path, "libvpx")
    expected, content = decoded_by_ffmpeg(path), path.read_bytes()
    head, segment, rest = content.partition(b"\x18\x53\x80\x67")
    path.write_bytes(head + segment + length + rest[8:])
    assert np.array_equal(list(only(path)), expected)


def test_a_damaged_page_of_an_ogg_file_is_told(tmp_path):
    """FFmpeg leaves it out; what follows is decoded on top of other frames than it should be."""
    path, told = tmp_path / "a.ogv", []
    film(path, "libvpx")
    content = path.read_bytes()
    assert len(list(only(path))) == 40
    path.write_bytes(content[:-9])
    assert len(list(only(path))) < 40
    for place in np.random.default_rng(0).integers(len(content), size=20).tolist():
        broken = bytearray(content)
        broken[place] ^= 4
        path.write_bytes(broken)
        with pytest.raises(UserError):
            find_videos(path, lambda _, reason: told.append(reason))
    assert len(told) == 20 and sum("checksum" in reason for reason in told) > 15


@pytest.mark.parametrize("name", ["a.264", "a.ts", "twice.ts", "twice.avi", "a.mkv"])
def test_two_fields_are_one_frame(tmp_path, name):
    """In a.ts only the first field of a frame has a time stamp, in twice.* each has its own."""
    noise = np.random.default_rng(0).integers(30, 220, (HEIGHT, WIDTH), dtype=np.uint8)
    units, path = fields(np.roll(noise, 3 * t, 1) for t in range(30)), tmp_path / name
    (tmp_path / "a.264").write_bytes(b"".join(units))
    together = 1 if path.stem == "twice" else 2
    units = [b"".join(units[at : at + together]) for at in range(0, 60, together)]
    if path.suffix != ".264":
        with av.open(str(tmp_path / "a.264")) as old, av.open(str(path), "w") as new:
            stream = new.add_stream_from_template(old.streams.video[0])
            for number, unit in enumerate(units):
                packet = av.Packet(unit)
                packet.stream, packet.time_base = stream, fractions.Fraction(together, 2 * RATE)
                packet.pts = packet.dts = number
                packet.is_keyframe = number % (2 * GROUP // together) == 0
                new.mux(packet)
    video, expected = only(path), decoded_by_ffmpeg(path)
    assert len(video) == len(expected) == 30 and np.array_equal(list(video), expected)
    assert np.array_equal(video.read(25, 30), expected[25:])


@pytest.mark.parametrize("name", ["a.avi", "a.mp4", "a.mkv"])
def test_a_placeholder_for_a_picture_is_no_frame(tmp_path, name):
    """Encoders write it in place of a picture that is the same as the one before."""
    film(tmp_path / "whole.mp4", "mpeg4")
    with av.open(str(tmp_path / "whole.mp4")) as old, av.open(str(tmp_path / name), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(itertools.islice(old.demux(video=0), 40)):
            copy = packet
            if number % 10 == 3 or number > 37:
                # After the start code: kind, time and whether it is coded, which is 11 bits.
                bits = int.from_bytes(bytes(packet)[4:6], "big") & 0xFFC0 | 0x0F
                copy = av.Packet(film_index.VOP + bits.to_bytes(2, "big"))
                copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
            copy.stream = stream
            new.mux(copy)
    video, expected = only(tmp_path / name), decoded_by_ffmpeg(tmp_path / name)
    assert len(video) == len(expected) < 40 and np.array_equal(list(video), expected)


def test_frames_that_a_film_claims_but_has_not_are_told(tmp_path, monkeypatch):
    film(tmp_path / "a.avi", "mpeg4")
    monkeypatch.setattr(films, "count_frames", lambda *_: 43)
    monkeypatch.setattr(film_index, "count_surplus", lambda _: -1)
    video, outcome = only(tmp_path / "a.avi"), Outcome()
    *good, one, two, three = video.frames(0)
    assert len(good) == 40 and one == two == three
    Reel(Recipe(4, 1, (8, 8), 0.0, 0.0, 0), outcome).load(Block(0, video, 0, 39))
    assert outcome.decoded == 40
    assert outcome.skipped == {str(video.path): "has fewer frames than it claims"}
    with pytest.raises(BadFrame, match="a.avi: has fewer frames than it claims; repair or"):
        video.read(38, 42)
    with pytest.raises(BadFrame, match="ends after 43 frames"):
        video.read(99, 101)


@pytest.mark.parametrize("codec, most", [("libx264", "3"), ("mpeg2video", "2")])
def test_a_recording_cut_off_before_frames_that_are_decoded_late_has_gaps(tmp_path, codec, most):
    whole, path, reasons = tmp_path / "whole.ts", tmp_path / "a.ts", set()
    film(whole, codec, 60, bf=most)
    expected, content = decoded_by_ffmpeg(whole), whole.read_bytes()
    for size in range(len(content) - 40 * 188, len(content), 188):
        path.write_bytes(content[:size])
        films.scan.cache_clear()
        for number, frame in enumerate(only(path).frames(0)):
            if isinstance(frame, BadFrame):
                reasons.add(frame.reason)
            else:
                assert np.array_equal(frame, expected[number])
    assert sum(reason.endswith(" cannot be decoded") for reason in reasons) > 5


@pytest.mark.parametrize("seed", range(6))
def test_frames_at_irregular_times_are_all_of_a_film(tmp_path, seed):
    path, pause = tmp_path / "a.ts", np.random.default_rng(seed)
    shots = pause.integers(0, 256, (40, 64, 96, 3), dtype=np.uint8)
    steps = pause.choice([40, 40, 80, 120] if seed % 2 else [33, 40, 47, 66, 200], 40)
    steps[-1] = 120
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"bf": "3"})
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        stream.codec_context.time_base = fractions.Fraction(1, 1000)
        for shot, time in zip(shots, np.cumsum(steps).tolist(), strict=True):
            frame = av.VideoFrame.from_ndarray(shot, format="rgb24")
            frame.pts, frame.time_base = time, fractions.Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    expected = decoded_by_ffmpeg(path)
    assert len(expected) == 40 and np.array_equal(list(only(path)), expected)


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_a_film_is_cropped_where_its_file_says(tmp_path, codec):
    """Not where it suits the processor."""
    whole, path = tmp_path / "whole.mp4", tmp_path / "a.mp4"
    quiet = {"x265-params": "log-level=none"} if codec == "hevc" else {}
    film(whole, {"h264": "libx264", "hevc": "libx265"}[codec], **quiet)
    crop = f"{codec}_metadata=crop_left=10:crop_right=4:crop_top=6:crop_bottom=2"
    with av.open(str(whole)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        cropping = BitStreamFilterContext(crop, old.streams.video[0], stream)
        for packet in itertools.chain.from_iterable(map(cropping.filter, old.demux(video=0))):
            packet.stream = stream
            new.mux(packet)
    expected = [frame[6:-2, 10:-4] for frame in decoded_by_ffmpeg(whole)]
    assert np.array_equal(list(only(path)), expected)
