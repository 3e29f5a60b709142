"""What is found below folders, frame by frame."""

import io
import itertools
import json
import os
import pickle
import shutil
import struct
import sys
import warnings
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest
import tensorstore
from PIL import Image

from tests.pictures import paint
from tests.shared import SHARED, needs_shared
from tests.stores import make_store, noise
from utils import animations, images, videos
from utils.arrays import MOVING_MNIST
from utils.errors import UserError
from utils.folders import HEADERS, list_stills
from utils.frames import BadFrame, Look, natural
from utils.images import read_image
from utils.videos import find_videos


def only(path, **options):
    (video,) = find_videos(path, **options)
    return video


def usable(video):
    return [frame for frame in video.frames(0) if not isinstance(frame, BadFrame)]


def test_natural_order():
    names = ["frame10", "frame2", "Video 10", "Video 2", "frame02", "a1b10", "a1b9", ""]
    assert sorted(names, key=natural) == [
        *["", "Video 2", "Video 10", "a1b9", "a1b10", "frame02", "frame2", "frame10"]
    ]


@needs_shared
def test_real_folders():
    videos = find_videos(SHARED / "pacman")
    assert [(v.name, len(v), v.size) for v in videos] == [
        ("Video 1", 68, (210, 160)),
        ("Video 2", 68, (210, 160)),
    ]
    frames = list(videos[0])
    assert {(f.shape, f.dtype) for f in frames} == {((210, 160, 3), np.dtype(np.uint8))}
    path = SHARED / "pacman" / "Video 1" / "frame0068.png"
    assert np.array_equal(frames[67], np.asarray(Image.open(path)))


def test_order_of_frames_and_videos(tmp_path):
    for video in ("Video 10", "Video 2", "deep/er"):
        for number in (10, 9, 1):
            paint(tmp_path / video / f"frame{number}.png", value=number)
    videos = find_videos(tmp_path)
    assert [v.name for v in videos] == ["Video 2", "Video 10", "deep/er"]
    assert [f[0, 0, 0] for f in videos[1]] == [1, 9, 10]
    assert pickle.loads(pickle.dumps(videos)) == videos


def test_one_decode_each(tmp_path, monkeypatch):
    for number in range(5):
        paint(tmp_path / f"{number}.png")
    video = only(tmp_path)
    decoded = []
    monkeypatch.setattr("utils.folders.read_image", lambda p: decoded.append(p) or read_image(p))
    for count, _ in enumerate(video, 1):
        assert len(decoded) == count  # lazily
    assert len(set(decoded)) == len(decoded) == 5


def test_a_search_opens_each_picture_once(tmp_path, monkeypatch):
    for video, number in itertools.product("ab", range(12)):
        paint(tmp_path / video / f"{number}.png")
    opened, open_image = [], images.open_image
    monkeypatch.setattr(images, "open_image", lambda p: opened.append(p) or open_image(p))
    assert len(find_videos(tmp_path)) == 2
    assert len(opened) == len(set(opened)) == 2 * HEADERS


def test_a_search_shows_how_far_it_is(tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for video in "ab":
        paint(tmp_path / video / "1.png")
    (tmp_path / "a" / "notes.txt").touch()
    monkeypatch.setattr("sys.stderr", Terminal())
    find_videos(tmp_path)
    said = sys.stderr.getvalue()
    assert "search:   0%|" in said and "0/3" in said
    assert f"\rwarning: {tmp_path}/a/notes.txt: " in said  # at the beginning of a line
    assert said.endswith(" \r")  # nothing is left of the bar


def test_files_that_are_no_frames(tmp_path, capsys):
    for number in range(3):
        paint(tmp_path / "v" / f"{number}.png")
    (tmp_path / "v" / "notes.txt").write_text("hello")
    (tmp_path / "v" / "more.tar.gz").write_text("packed")
    (tmp_path / "v" / ".hidden").write_text("ignored")
    outside = tmp_path.parent / f"{tmp_path.name}-outside.png"
    paint(outside)
    os.symlink(outside, tmp_path / "v" / "stray.png")
    os.symlink(tmp_path / "v" / "0.png", tmp_path / "v" / "twin.png")
    os.symlink(tmp_path / "nowhere", tmp_path / "v" / "dead.mp4")
    os.symlink(tmp_path / "v", tmp_path / "loop")
    os.mkfifo(tmp_path / "v" / "pipe.mp4")
    assert [(v.name, len(v)) for v in find_videos(tmp_path)] == [("v", 4)]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6 and sum("an archive: unpack it" in line for line in lines) == 1
    for name in ("notes.txt", "more.tar.gz", "stray.png", "dead.mp4", "loop", "pipe.mp4"):
        assert sum(f"{name}: " in line for line in lines) == 1
    assert sum("give --images its target" in line for line in lines) == 3  # the links


def test_the_odd_size_is_the_bad_one(tmp_path):
    paint(tmp_path / "cover.png", (20, 20, 3))
    for number in range(4):
        paint(tmp_path / f"frame{number}.png")
    video = only(tmp_path)
    assert video.size == (12, 16)
    with pytest.raises(BadFrame, match="cover.png: 20x20 pixels, the rest of its video 12x16"):
        video.read(0, 2)
    assert [frame.shape for frame in video.read(1, 5)] == [(12, 16, 3)] * 4
    with pytest.raises(BadFrame, match="ends after 5 frames"):
        video.read(1, 6)


@pytest.mark.parametrize("make", ["missing", "empty", "text", "words"])
def test_nothing_usable(tmp_path, make):
    folder = tmp_path / "images"
    if make != "missing":
        folder.mkdir()
    if make == "text":
        (folder / "frame1.png").write_text("not a picture")
    if make == "words":
        folder = tmp_path / "a.txt"
        folder.write_text("hello")
    with pytest.raises(UserError, match="record_ms_pacman") as error:
        find_videos(folder, skip=lambda path, reason: None)
    assert str(folder) in str(error.value)


def test_one_frame_of_several_is_seen_from_the_first_or_to_the_last(tmp_path):
    pixels = [paint(tmp_path / f"{number}.png", value=7 * number) for number in range(7)]
    video = only(tmp_path, look=Look(step=3))
    assert len(video) == 3
    assert np.array_equal(list(video), pixels[::3])
    assert np.array_equal(video.read(1, 2)[0], pixels[3])
    for step, seen in ((3, [0, 3, 6]), (4, [2, 6]), (9, [6])):
        video = only(tmp_path, look=Look(step=step, to_end=True))
        assert len(video) == len(seen) and np.array_equal(list(video), [pixels[n] for n in seen])


@pytest.mark.parametrize("look", [Look(), Look(3), Look(2, resize=(6,)), Look(resize=(24, 20))])
def test_a_look_is_read_from_its_flags(look):
    assert Look.of_flags(look.flags) == look


@pytest.mark.parametrize(
    "text",
    ["", "--step 0", "--step 1 --resize", "--step 1 --resize 2 3 4", "--step 1 ", "--gray"],
)
def test_other_flags_are_no_look(text):
    assert Look.of_flags(text) is None


def test_frames_are_seen_in_grey_and_scaled(tmp_path):
    pixels = paint(tmp_path / "1.png")
    video = only(tmp_path, look=Look(gray=True, resize=(6,)))
    assert video.size == (6, 8) and list(video)[0].shape == (6, 8, 1)
    grey = only(tmp_path, look=Look(gray=True)).read(0, 1)[0]
    assert np.abs(grey[..., 0] - pixels @ [0.299, 0.587, 0.114]).max() <= 1
    video = only(tmp_path, look=Look(resize=(24, 20)))
    (frame,) = video.read(0, 1)
    assert video.size == (24, 20) and frame.shape == (24, 20, 3)
    assert np.abs(frame.mean() - pixels.mean()) < 4


@pytest.mark.parametrize("resize", [(16384,), (16384, 16384)])
def test_frames_are_not_scaled_beyond_what_a_frame_may_be(tmp_path, resize):
    paint(tmp_path / "a.png", (12, 12, 3))
    with pytest.raises(UserError, match=f"{resize[-1]}: makes frames of 16384x16384 of .*: lower"):
        find_videos(tmp_path, look=Look(resize=resize))
    assert find_videos(tmp_path, look=Look(resize=(9000,)))


def test_animations_beside_stills(tmp_path):
    shots = [Image.fromarray(paint(tmp_path / f"{n}.png", value=50 * n)) for n in range(4)]
    for name in ("a.gif", "a.png", "a.webp", "a.tif", "a.apng"):
        options = {"format": "PNG"} if name == "a.apng" else {}
        shots[0].save(
            tmp_path / name, save_all=True, append_images=shots[1:], lossless=True, **options
        )
    videos = {v.name: v for v in find_videos(tmp_path)}
    assert set(videos) == {tmp_path.name, "a.gif", "a.png", "a.webp", "a.tif", "a.apng"}
    for name, video in videos.items():
        assert len(video) == 4 and video.size == (12, 16)
        for shot, frame in zip(shots, video, strict=True):
            assert np.abs(frame.astype(int) - np.asarray(shot)).mean() < (
                20 if "gif" in name else 1
            )
        if name != tmp_path.name:
            assert np.array_equal(video.read(2, 3)[0], list(video)[2])


@pytest.mark.parametrize(
    "text, told",
    [
        ("ImageJ=1.53\nimages=6\nchannels=2\nframes=3\nhyperstack=true\n", "2x3 images"),
        ("ImageJ=1.53\nimages=6\nslices=3\nframes=2\nhyperstack=true\n", "3x2 images"),
        ('<OME><Pixels SizeX="16" SizeC="3" SizeZ="1" SizeT="2"></OME>', "3x2 images"),
        ('<OME><Pixels SizeX="16" SizeC="3" SizeZ="1" SizeT="6"></OME>', None),  # of colours
        ("ImageJ=1.53\nimages=6\nslices=6\nmax=255.0\n", None),  # as it calls films
        ("taken on 2 channels=", None),
    ],
)
def test_a_stack_of_several_channels_or_depths_is_no_video(tmp_path, text, told):
    pages = [Image.fromarray(paint(tmp_path.parent / "a.png", value=40 * n)) for n in range(6)]
    path, reasons = tmp_path / "a.tif", {}
    pages[0].save(path, save_all=True, append_images=pages[1:], tiffinfo={270: text})
    if told is None:
        assert len(only(tmp_path)) == 6
        return
    with pytest.raises(UserError):
        find_videos(tmp_path, reasons.__setitem__)
    assert reasons[path].startswith(told)


@needs_shared
def test_an_apng_that_puts_back_what_was_there():
    video = only(SHARED / "nasty" / "apng_dispose_op_previous.png")
    with av.open(str(video.path), format="apng") as container:
        expected = [frame.to_ndarray(format="rgba") for frame in container.decode(video=0)]
    for first in range(3):  # wherever reading begins
        for frame, shot in zip(video.frames(first), expected[first:], strict=True):
            assert np.array_equal(frame, shot[..., :3] * (shot[..., 3:] == 255))


@pytest.mark.parametrize("seed", range(12))
def test_an_apng_is_put_together_as_ffmpeg_does_it(tmp_path, seed):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (6, 20, 24, 4), dtype=np.uint8)
    pixels[..., 3] = rng.choice([0, 128, 255], pixels.shape[:3])
    images, path = [Image.fromarray(shot) for shot in pixels], tmp_path / "a.png"
    disposal, blend = rng.integers(0, 3, 6), rng.integers(0, 2, 6)
    blend[disposal == 1] = 0  # FFmpeg forgets what is below a whole image that is cleared later
    ways = {"disposal": disposal.tolist(), "blend": blend.tolist()}
    images[0].save(path, save_all=True, append_images=images[1:], default_image=seed % 2, **ways)
    with av.open(str(path), format="apng") as container:
        shots = np.stack([f.to_ndarray(format="rgba") for f in container.decode(video=0)])
    expected = np.rint(shots[..., :3] * (shots[..., 3:] / 255.0))
    for first in (0, 3):
        frames = np.stack(list(only(path).frames(first)))
        assert len(frames) == len(expected) - first
        assert np.abs(frames - expected[first:]).max() <= 2


def test_the_still_of_an_apng_is_no_frame(tmp_path):
    shots = [Image.new("RGB", (16, 12), (50 * n, 0, 0)) for n in range(4)]
    still = Image.new("RGB", (16, 12), "blue")
    still.save(tmp_path / "a.png", save_all=True, append_images=shots, default_image=True)
    video = only(tmp_path / "a.png")
    assert [frame[0, 0].tolist() for frame in video] == [[50 * n, 0, 0] for n in range(4)]
    assert video.read(2, 3)[0][0, 0, 0] == 100


def test_a_picture_by_itself_is_the_frame_that_it_is_among_others(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    pixels = np.arange(24 * 16 * 3, dtype=np.uint8).reshape(16, 24, 3)
    for ending in ("png", "jpg", "gif", "bmp", "tif", "webp", "ppm"):
        path = tmp_path / f"a.{ending}"
        Image.fromarray(pixels).save(path, exif=turned)
        assert np.array_equal(list(only(path)), [read_image(path)]), ending
    path.write_bytes(path.read_bytes()[:300])
    (frame,) = only(path).frames(0)
    assert isinstance(frame, BadFrame)


@needs_shared
def test_real_animations():
    found = {v.name: v for v in find_videos(SHARED / "nasty", lambda path, reason: None)}
    for name, frames, size in (
        ("dispose_bgnd.gif", 5, (100, 100)),
        ("dispose_bgnd_transparency.gif", 10, (32, 38)),
        ("missing_background.gif", 4, (32, 32)),
        ("apng_mode_16bit.png", 2, (64, 128)),
        ("apng_dispose_op_previous.png", 3, (64, 128)),
        ("comment_after_last_frame.gif", 2, (1, 1)),
    ):
        assert [f.shape for f in usable(found[name])] == [(*size, 3)] * frames
    cats = {v.name: (len(usable(v)), v.size) for v in find_videos(SHARED / "cats")}
    assert cats == {"cat-moshpit.gif": (34, (176, 250)), "catgoalkeeper.gif": (80, (275, 500))}


def encode(path, codec, frames, pixels="yuv420p", **options):
    """Write (T, H, W, 3) as a film with a key frame every 10."""
    kind = "avi" if path.suffix == ".divx" else None  # FFmpeg knows the other endings
    with av.open(str(path), "w", kind) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.gop_size, stream.pix_fmt = 10, pixels
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    "ending, codec, options",
    [
        ("mp4", "mpeg4", {"bf": "2"}),
        ("mkv", "mpeg4", {"bf": "2"}),
        ("avi", "mpeg4", {"bf": "2"}),
        ("avi", "mjpeg", {}),
        ("divx", "mpeg4", {"bf": "2"}),
        ("asf", "wmv2", {}),
        ("mxf", "mpeg2video", {"bf": "2"}),
        ("vob", "mpeg2video", {"bf": "2"}),
        ("y4m", "rawvideo", {}),
        ("m2v", "mpeg2video", {"bf": "2"}),
        ("264", "libx264", {"bf": "3"}),
        ("h264", "libx264", {"x264-params": "intra-refresh=1"}),
        ("265", "libx265", {"x265-params": "log-level=none"}),
        ("hevc", "libx265", {"x265-params": "open-gop=1:bframes=5:log-level=none"}),
        ("mpg", "mpeg2video", {"bf": "2"}),
        ("flv", "flv", {}),
        ("mts", "libx264", {"bf": "2"}),
        ("ts", "mpeg4", {"bf": "2"}),
        ("mov", "qtrle", {}),
        ("3gp", "mpeg4", {}),
        ("webm", "libvpx-vp9", {}),
        ("mp4", "libx264", {"x264-params": "open-gop=1:bframes=5"}),
        ("mp4", "libx264", {"x264-params": "intra-refresh=1"}),
        ("mkv", "libx265", {"x265-params": "open-gop=1:bframes=5:log-level=none"}),
    ],
)
def test_films_from_any_frame_on(tmp_path, ending, codec, options):
    y, x = np.mgrid[:64, :96]
    shots = np.stack([np.sin((x + 2 * y + 3 * t) / 9) * 90 + 120 for t in range(50)])
    pixels = {"mjpeg": "yuvj420p", "qtrle": "rgb24"}.get(codec, "yuv420p")
    encode(
        tmp_path / f"a.{ending}", codec, np.uint8(shots)[..., None].repeat(3, 3), pixels, **options
    )
    video = only(tmp_path)
    everything = list(video)
    assert len(everything) == 50 and np.abs(np.stack(everything)[..., 1] - shots).mean() < 8
    for first in (0, 1, 9, 10, 11, 23, 35, 49):
        found = list(video.frames(first))
        assert np.array_equal(found, everything[first:])
    assert np.array_equal(list(only(tmp_path, look=Look(step=7))), everything[::7])


@needs_shared
def test_a_film_of_an_early_x264_from_its_middle():
    video = only(SHARED / "videos" / "cockatoo_yuv444_720p.mp4")
    from_the_beginning = itertools.islice(video, 79, 81)
    assert np.array_equal(video.read(79, 81), list(from_the_beginning))


@pytest.mark.parametrize(
    "codec, pixels", [("libx264", "yuv420p"), ("libx264", "yuv444p"), ("mjpeg", "yuvj444p")]
)
def test_colours_of_films(tmp_path, codec, pixels):
    frames = np.random.default_rng(0).integers(0, 256, (12, 34, 50, 3), dtype=np.uint8)
    encode(tmp_path / "a.mkv", codec, frames, pixels)
    with av.open(str(tmp_path / "a.mkv")) as container:
        expected = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert np.array_equal(list(only(tmp_path)), expected) and len(expected) == 12


@needs_shared
def test_real_films():
    expected = {
        "big_buck_bunny_vp8.webm": (24, (720, 1280)),
        "bikes_scene_cuts.mp4": (250, (272, 640)),
        "h264_10bit.mp4": (30, (200, 200)),
        "h265_10bit.mp4": (30, (200, 200)),
        "nasa_13013.mp4": (390, (270, 480)),
        "testsrc_av1.mkv": (125, (360, 640)),
        "kth_person01_boxing_d1_uncomp.avi": (360, (120, 160)),
    }
    found = {v.name: v for v in find_videos(SHARED / "videos")}
    assert len(found) == 18
    for name, (frames, size) in expected.items():
        assert (len(found[name]), found[name].size) == (frames, size)
        last = found[name].read(frames - 1, frames)[0]
        assert last.shape == (*size, 3) and last.std() > 10
    avi = {v.name: v for v in find_videos(SHARED / "ucf101_avi")}
    packed = avi["v_Bowling_g01_c01.avi"]
    assert len(packed) == 159 and len(usable(packed)) == 159


@needs_shared
def test_odd_films_from_elsewhere_are_read_or_refused():
    found = {v.name: v for v in find_videos(SHARED / "nasty", lambda path, reason: None)}
    corrupted = list(found["corrupted.mp4"].frames(0))
    assert [isinstance(f, BadFrame) for f in corrupted] == [False] * 28 + [True] * 22
    assert "corrupted.mp4: cannot be decoded" in str(corrupted[-1])
    upright, turned = found["rotated_0.mov"], found["rotated_90.mov"]
    assert (upright.size, turned.size) == ((320, 568), (568, 320))
    assert len(usable(found["transparent_vp9.webm"])) == 150
    assert len(usable(found["no_duration_black.webm"])) == 74


def test_a_playlist_is_no_film(tmp_path):
    frames = np.zeros((12, 32, 32, 3), np.uint8)
    (tmp_path / "secret").mkdir()
    encode(tmp_path / "secret" / "a.ts", "mpeg2video", frames)
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1", "#EXTINF:1,", "../secret/a.ts", "#EXT-X-ENDLIST"]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").write_text("\n".join(lines))
    reasons = {}
    with pytest.raises(UserError, match="no usable frames at"):
        find_videos(tmp_path / "in", reasons.__setitem__)
    assert "cannot be read" in reasons[tmp_path / "in" / "a.mp4"]


def test_layouts_of_arrays(tmp_path):
    rng = np.random.default_rng(0)
    for axes, shape in {
        "THW": (9, 12, 16),
        "THWC": (9, 12, 16, 3),
        "TCHW": (9, 3, 12, 16),
        "NTHWC": (2, 9, 12, 16, 1),
        "NTCHW": (2, 9, 4, 12, 16),
        "TNHW": (20, 7, 64, 64),
    }.items():
        values = rng.integers(0, 256, shape, dtype=np.uint8)
        path = tmp_path / (MOVING_MNIST if axes == "TNHW" else "a.npy")
        np.save(path, values)
        videos = find_videos(path)
        extent = dict(zip(axes, shape, strict=True))
        assert len(videos) == extent.get("N", 1)
        moved = np.einsum(f"{axes}->{''.join(a for a in 'NTHWC' if a in axes)}", values)
        size = extent["H"], extent["W"]
        moved = moved.reshape(len(videos), extent["T"], *size, -1)[..., :3]
        for video, frames in zip(videos, moved, strict=True):
            assert video.size == size
            assert np.array_equal(list(video), np.broadcast_to(frames, (*frames.shape[:-1], 3)))


def test_unclear_axes_are_asked_for(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((5, 7, 12, 16), np.uint8))
    np.save(tmp_path / "b.npy", np.zeros((12, 16), np.uint8))
    np.save(tmp_path / "c.npy", np.zeros((9, 4, 12, 16), np.uint8))  # grey, or with alpha
    np.save(tmp_path / "d.npy", np.zeros((20, 7, 64, 64), np.uint8))  # not the published file
    np.save(tmp_path / "e.npy", np.zeros((12, 16, 3), np.uint8))  # one picture
    reasons = {}
    with pytest.raises(UserError):
        find_videos(tmp_path, reasons.__setitem__)
    assert reasons == {
        tmp_path / "a.npy": "axes of (5, 7, 12, 16) are unclear; say --axes TNHW or the like",
        tmp_path / "b.npy": "an array of (12, 16) is no video; 3 to 5 axes make one",
        tmp_path / "c.npy": "axes of (9, 4, 12, 16) are unclear; say --axes TNHW or the like",
        tmp_path / "d.npy": "axes of (20, 7, 64, 64) are unclear; say --axes TNHW or the like",
        tmp_path / "e.npy": "axes of (12, 16, 3) are unclear; say --axes TNHW or the like",
    }
    for name in "cde":
        (tmp_path / f"{name}.npy").unlink()
    assert [len(v) for v in find_videos(tmp_path, axes="NTHW")] == [7] * 5
    assert [len(v) for v in find_videos(tmp_path, axes="TNHW")] == [5] * 7


def test_values_of_arrays(tmp_path):
    levels = np.linspace(0, 1, 12 * 16).reshape(1, 12, 16)
    seen = np.round(levels[0] * 255).astype(int)
    for name, values in {
        "float": levels,
        "sixteen": (levels * 65535).astype(np.uint16),
        "half": levels.astype(np.float16),
    }.items():
        np.savez(tmp_path / f"{name}.npz", film=values)
    np.savez_compressed(tmp_path / "mask.npz", film=levels > 0.5)
    videos = {v.name: v for v in find_videos(tmp_path)}
    assert set(videos) == {f"{n}.npz/film" for n in ("float", "sixteen", "half", "mask")}
    for name, video in videos.items():
        wanted = 255 * (levels[0] > 0.5) if "mask" in name else seen
        assert np.abs(list(video)[0][..., 0] - wanted).max() <= 1
    np.save(tmp_path / "text.npy", np.full((9, 9, 9), "x"))
    reasons = {}
    assert not any("text" in v.name for v in find_videos(tmp_path, reasons.__setitem__))
    assert reasons == {tmp_path / "text.npy": "holds <U1, not pixels; make them uint8"}
    (tmp_path / "text.npy").unlink()


def test_floats_that_round_to_levels_are_pixels(tmp_path):
    values = np.full((9, 4, 5), 0.5, np.float32)
    values[:, 0], values[:, 1] = 1 + 1e-6, -1e-6
    values[:, 2], values[:, 3] = 1 + 0.49 / 255, -0.49 / 255
    np.save(tmp_path / "a.npy", values)
    for frame in only(tmp_path):
        assert frame[:, 0, 0].tolist() == [255, 0, 255, 0]


@pytest.mark.parametrize(
    "low, high, told",
    [
        (0, 1.002, "values from 0 to 1.002, not 0..1; divide"),
        (0, 255, "values from 0 to 255, not 0..1; divide them by 255 if that is white"),
        (-1, 1, "values from -1 to 1, not 0..1; add 1 and halve them if -1 is black"),
        (-0.003, 0.5, "values from -0.003 to 0.5, not 0..1; add 1"),
        (-7, 5, "values from -7 to 5, not 0..1; scale them"),
    ],
)
def test_other_floats_are_told_with_the_cure(tmp_path, low, high, told):
    values = np.zeros((9, 4, 5), np.float32)
    values[:, 0], values[:, 1] = low, high
    np.save(tmp_path / "a.npy", values)
    reasons = {}
    with pytest.raises(UserError, match="no usable frames"):
        find_videos(tmp_path, reasons.__setitem__)
    assert reasons[tmp_path / "a.npy"].startswith(f"frame 0: float32 {told}")


def test_dark_floats_of_a_video_up_to_255_are_not_taken_for_bright_ones(tmp_path, capsys):
    values = np.ones((40, 4, 5), ">f2")  # of one video after the other: (N, T, H, W, C)
    values[20:] = 200
    np.savez(tmp_path / "a.npz", film=values, other=values.reshape(4, 10, 4, 5, 1), fine=values[:9])
    assert [video.name for video in find_videos(tmp_path)] == ["a.npz/fine"]
    told = capsys.readouterr().err
    for name in "film", "other":
        assert f"a.npz/{name}: frame 20: float16 values from 200 to 200, not 0..1; divide" in told


def test_a_frame_that_is_not_all_numbers_is_told(tmp_path):
    values = np.zeros((9, 4, 5), np.float32)
    values[0, :2], values[1:] = np.nan, 0.5
    np.save(tmp_path / "a.npy", values)
    video = only(tmp_path)
    with pytest.raises(BadFrame, match="frame 0: 10 of 20 values are not numbers; make them 0"):
        video.read(0, 1)
    assert len(video.read(1, 9)) == 8


def test_an_array_that_is_no_video_leaves_those_beside_it(tmp_path):
    film, reasons = np.zeros((9, 12, 16, 3), np.uint8), {}
    beside = {"boxes": np.zeros((9, 2, 5), int), "flow": np.zeros((9, 12, 16, 2), np.float32)}
    np.savez(tmp_path / "a.npz", **beside, film=film)
    assert [v.name for v in find_videos(tmp_path, reasons.__setitem__)] == ["a.npz/film"]
    assert reasons == {
        tmp_path / "a.npz" / "boxes": "holds int64, not pixels; make them uint8",
        tmp_path / "a.npz" / "flow": "axes of (9, 12, 16, 2) are unclear; say --axes TNHW or the "
        "like",
    }


def test_a_link_that_leads_to_itself_is_no_video(tmp_path):
    (tmp_path / "self.mp4").symlink_to("self.mp4")
    with pytest.raises(UserError, match="no such file or folder .*self.mp4: give films"):
        find_videos(tmp_path / "self.mp4")


def test_clips_are_no_videos(tmp_path):
    make_store(tmp_path / "in" / "trainclips", noise(4, 3, (8, 8)), history=2)
    np.save(tmp_path / "in" / "a.npy", np.zeros((9, 12, 16), np.uint8))
    reasons = {}
    assert [video.name for video in find_videos(tmp_path / "in", reasons.__setitem__)] == ["a.npy"]
    told = {tmp_path / "in" / "trainclips": "clips of this program, no videos"}
    assert reasons == told


def test_one_folder_by_two_names_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a" / "a.npy", np.zeros((9, 12, 16), np.uint8))
    os.symlink(tmp_path / "a", tmp_path / "b")
    assert len(find_videos(tmp_path / "b")) == 1
    with pytest.raises(UserError, match="b leads to .*a: give one of them"):
        find_videos([tmp_path / "a", tmp_path / "b"])


def test_labels_beside_videos_are_passed_over(tmp_path):
    clips = np.zeros((5, 9, 12, 16, 1), np.uint8)
    np.savez(tmp_path / "a.npz", classes=np.arange(5), clips=clips, name=np.array("walking"))
    assert [video.name for video in find_videos(tmp_path)] == [f"a.npz/clips/{n}" for n in range(5)]


def test_objects_texts_and_records_beside_videos_are_passed_over(tmp_path):
    beside = {
        "meta": np.array({"fps": 25}, dtype=object),
        "names": np.full((2, 3, 4), "walking"),
        "boxes": np.zeros((2, 3, 4), [("x", "f4")]),
        "Größen": np.zeros((2, 3, 4), [("größe", "f4")]),
        "days": np.zeros((2, 3, 4), "M8[D]"),
    }
    np.savez(tmp_path / "a.npz", **beside, film=np.zeros((9, 12, 16), np.uint8))
    assert [video.name for video in find_videos(tmp_path)] == ["a.npz/film"]


def test_a_damaged_array_beside_a_video_is_named(tmp_path):
    path, reasons = tmp_path / "a.npz", {}
    np.savez(path, film=np.zeros((9, 12, 16), np.uint8), masks=np.full((9, 12, 16), 7, np.uint8))
    content = path.read_bytes()
    path.write_bytes(content.replace(bytes([7] * 9), bytes(9), 1))
    assert [video.name for video in find_videos(path, reasons.__setitem__)] == ["a.npz/film"]
    assert reasons[path / "masks"].startswith("cannot be read (Bad CRC-32")


def test_twenty_sequences_are_not_taken_for_twenty_frames(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((20, 9, 12, 16), np.uint8))
    reasons = {}
    with pytest.raises(UserError):
        find_videos(tmp_path, reasons.__setitem__)
    assert "--axes" in reasons[tmp_path / "a.npy"]


def test_pickles_are_never_opened(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"code": 1}], dtype=object), allow_pickle=True)
    reasons = {}
    with pytest.raises(UserError):
        find_videos(tmp_path, reasons.__setitem__)
    assert "Python objects" in reasons[tmp_path / "a.npy"]
    np.savez(tmp_path / "a.npz", np.array([{"code": 1}], dtype=object))
    with pytest.raises(UserError):
        find_videos(tmp_path, reasons.__setitem__)
    assert "allow_pickle=False" in reasons[tmp_path / "a.npz" / "arr_0"]


def test_zarr(tmp_path):
    zarr = pytest.importorskip("zarr", minversion="3")
    values = np.random.default_rng(0).integers(0, 256, (9, 12, 16), dtype=np.uint8)
    for version in (2, 3):
        group = zarr.open_group(tmp_path / f"{version}.zarr", mode="w", zarr_format=version)
        array = group.create_array("film", shape=values.shape, dtype="u1", chunks=(4, 12, 16))
        array[:] = values
    videos = find_videos(tmp_path)
    assert [v.name for v in videos] == ["2.zarr/film", "3.zarr/film"]
    for video in videos:
        assert np.array_equal(np.stack(list(video))[..., 0], values)


def test_pictures_in_the_folder_of_an_array_are_told(tmp_path):
    zarr = pytest.importorskip("zarr", minversion="3")
    zarr.create_array(f"{tmp_path}/z", data=np.zeros((9, 12, 16), np.uint8))
    for number in (10, 2, 9):
        paint(tmp_path / "z" / f"{number}.PNG")
    told = []
    found = find_videos(tmp_path, lambda *reason: told.append(reason))
    assert [video.name for video in found] == ["z"]
    why = "one of 3 files in the folder of a Zarr array: move them to another"
    assert told == [(tmp_path / "z" / "2.PNG", why)]


def test_a_chunk_larger_than_the_cache_is_read_once(tmp_path, monkeypatch):
    zarr = pytest.importorskip("zarr", minversion="3")
    monkeypatch.setattr("utils.arrays.CHUNK_CACHE_BYTES", 2**10)
    values = np.random.default_rng(0).integers(0, 256, (20, 40, 40), dtype=np.uint8)
    zarr.create_array(f"{tmp_path}/z", data=values, chunks=values.shape)
    (video,) = find_videos(tmp_path / "z")
    before = bytes_read()
    assert np.array_equal(np.stack(list(video))[..., 0], values)
    assert bytes_read() - before < 1.5 * values.nbytes


def bytes_read():
    """How much this process has read from files of arrays."""
    name = "/tensorstore/kvstore/file/bytes_read"
    (metric,) = tensorstore.experimental_collect_matching_metrics(name)
    return metric["values"][0]["value"]


@needs_shared
def test_real_arrays():
    reasons = {}
    nasty = find_videos(SHARED / "nasty", reasons.__setitem__)
    assert not any("npz" in v.name for v in nasty)
    assert reasons[SHARED / "nasty" / "empty_clip.npz"] == "holds no array"
    clips = find_videos(SHARED / "pacman_clips32" / "clips_uint8.npz")
    assert len(clips) == 1056 and {(len(v), v.size) for v in clips} == {(5, (32, 32))}


def test_other_pictures_of_the_same_size_are_another_video(tmp_path):
    def digests():
        return {video.name: video.digest for video in find_videos(tmp_path)}

    def rewrite(value):
        for name, ending in (("a", "ppm"), ("b", "bmp"), ("c", "tif")):
            for number in range(9):
                paint(tmp_path / name / f"{number}.{ending}", value=value)

    rewrite(1)
    before = digests()
    rewrite(1)
    assert digests() == before
    rewrite(2)
    assert all(digest != before[name] for name, digest in digests().items())


def test_a_picture_that_cannot_be_read_leaves_the_others_usable(tmp_path, monkeypatch):
    for number in range(3):
        paint(tmp_path / f"{number}.png")

    intact = os.open

    def refuse(path, *options, **more):
        if str(path).endswith("1.png"):
            raise PermissionError(13, "Permission denied", str(path))
        return intact(path, *options, **more)

    monkeypatch.setattr("os.open", refuse)  # modes of files do not stop root
    bad = [isinstance(frame, BadFrame) for frame in only(tmp_path).frames(0)]
    assert bad == [False, True, False]


def test_files_that_the_system_does_not_open_are_left_out(tmp_path, monkeypatch):
    for name in ("locked.npy", "open.npy"):
        np.save(tmp_path / name, np.zeros((6, 8, 8), np.uint8))
    (tmp_path / "locked.mp4").write_bytes(b"film")
    digest, left_out = videos.digest, []

    def refuse(path):
        if path.stem == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return digest(path)

    monkeypatch.setattr(videos, "digest", refuse)  # modes of files do not stop root
    found = find_videos(tmp_path, lambda *told: left_out.append(told))
    assert [video.name for video in found] == ["open.npy"]
    reason = "Permission denied"
    assert left_out == [(tmp_path / f"locked.{end}", reason) for end in ("mp4", "npy")]


def test_a_folder_that_may_be_listed_but_not_entered_is_left_out(tmp_path, monkeypatch):
    for place in ("locked/1.png", "locked/in/1.png", "open/1.png"):
        paint(tmp_path / place)
    is_file, left_out = Path.is_file, []

    def refuse(path):
        if "locked" in path.parts:
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", refuse)  # modes of folders do not stop root
    found = find_videos(tmp_path, lambda *told: left_out.append(told))
    assert [video.name for video in found] == ["open"]
    assert left_out == [(tmp_path / "locked", "Permission denied")]


@pytest.mark.parametrize("ending, lost", [(".gif", [2, 3, 4, 5]), (".tif", [2])])
def test_images_on_top_of_a_lost_one_are_lost(tmp_path, monkeypatch, ending, lost):
    images = [Image.new("L", (40, 40), n) for n in range(6)]
    images[0].save(tmp_path / f"a{ending}", save_all=True, append_images=images[1:])
    video = only(tmp_path / f"a{ending}")

    step = "draw_gif" if ending == ".gif" else "compose"
    intact = getattr(animations, step)

    def break_third(image, *others):
        if image.tell() == 2 or others[:1] == (2,):
            raise OSError("broken data stream")
        return intact(image, *others)

    monkeypatch.setattr(animations, step, break_third)
    for first in (0, 4):
        bad = [isinstance(frame, BadFrame) for frame in video.frames(first)]
        assert bad == [n in lost for n in range(first, 6)]


def gif(path, images):
    """Write a GIF of 40x40 of (colour, disposal, transparent colour, side, corner); black is 0."""
    palette, content = [0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255], b""
    for colour, disposal, transparent, side, corner in images:
        image = Image.new("P", (side, side), colour)
        image.putpalette(palette)
        image.save(path, interlace=0, optimize=False)
        still = path.read_bytes()
        begin = 13 + 3 * (2 << (still[10] & 7))  # behind the palette
        content = content or still[:6] + struct.pack("<HH", 40, 40) + still[10:begin]
        flags = disposal << 2 | (transparent is not None)
        content += b"\x21\xf9\x04" + struct.pack("<BHBB", flags, 10, transparent or 0, 0)
        content += b"\x2c" + struct.pack("<HHHHB", corner, corner, side, side, 0)
        content += still[still.index(b"\x2c", begin) + 10 : -1]
    path.write_bytes(content + b"\x3b")


@pytest.mark.parametrize("tag, lost", [("RowsPerStrip", [2]), ("ResolutionUnit", [])])
def test_an_image_of_a_stack_with_damaged_tags_is_bad_not_black(tmp_path, tag, lost):
    stack = np.random.default_rng(0).integers(0, 256, (5, 16, 16), np.uint8)
    path = tmp_path / "a.tif"
    shots = [Image.fromarray(image) for image in stack]
    options = {"compression": "tiff_lzw", "resolution_unit": 1}
    shots[0].save(path, save_all=True, append_images=shots[1:], **options)
    content = bytearray(path.read_bytes())
    (place,) = struct.unpack_from("<I", content, 4)
    for _ in range(2):  # to the third image
        (entries,) = struct.unpack_from("<H", content, place)
        (place,) = struct.unpack_from("<I", content, place + 2 + 12 * entries)
    number = {"RowsPerStrip": 278, "ResolutionUnit": 296}[tag]
    while struct.unpack_from("<H", content, place + 2)[0] != number:
        place += 12
    if tag == "RowsPerStrip":
        struct.pack_into("<I", content, place + 6, 9)  # of them
    else:
        struct.pack_into("<H", content, place + 10, 99)  # of no meaning
    path.write_bytes(content)
    video = only(path)
    for first in (0, 2):
        for number, frame in enumerate(video.frames(first), first):
            assert isinstance(frame, BadFrame) == (number in lost)
            assert number in lost or np.array_equal(frame[..., 0], stack[number])


def test_a_gif_image_without_a_disposal_stays_where_it_is(tmp_path):
    images = (0, 1, None, 40, 0), (1, 3, None, 10, 0), (2, 0, None, 10, 15), (3, 1, None, 5, 30)
    gif(tmp_path / "a.gif", images)
    frames = list(only(tmp_path / "a.gif"))
    green, red = [frame[20, 20].tolist() for frame in frames], frames[1][5, 5].tolist()
    assert green == [[0, 0, 0], [0, 0, 0], [0, 255, 0], [0, 255, 0]] and red == [255, 0, 0]


@pytest.mark.parametrize("transparent", [None, 3])
def test_what_a_gif_clears_or_leaves_out_is_black(tmp_path, transparent):
    """As in browsers; Pillow took colours that the file calls its background or transparent."""
    images = (2, 1, None, 30, 5), (1, 2, transparent, 20, 10), (1, 1, transparent, 5, 30)
    gif(tmp_path / "a.gif", images)
    content = bytearray((tmp_path / "a.gif").read_bytes())
    content[11] = 3  # the background
    content[13:16] = 255, 255, 255
    (tmp_path / "a.gif").write_bytes(content)
    frames = list(only(tmp_path / "a.gif"))
    colours = [[frame[at, at].tolist() for at in (2, 7, 20)] for frame in frames]
    assert colours[0] == [[0, 0, 0], [0, 255, 0], [0, 255, 0]]
    assert colours[1] == [[0, 0, 0], [0, 255, 0], [255, 0, 0]]
    assert colours[2] == [[0, 0, 0], [0, 255, 0], [0, 0, 0]]


def test_an_apng_with_a_flipped_bit_is_left_out(tmp_path):
    images = [Image.new("RGB", (40, 40), (n * 40, 0, n)) for n in range(5)]
    images[0].save(tmp_path / "a.png", save_all=True, append_images=images[1:])
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[content.index(b"fdAT") + 20] ^= 1
    (tmp_path / "a.png").write_bytes(content)
    frames = list(only(tmp_path / "a.png").frames(0))
    assert all("checksum of fdAT" in str(frame) for frame in frames) and len(frames) == 5


def test_an_array_that_is_none_is_left_out(tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("notes.npy", b"hello, world")
    with pytest.raises(UserError, match="no usable frames at"):
        find_videos([tmp_path / "a.npz"])
    assert "magic string is not correct" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_arrays_of_like_names_in_one_file_are_told_apart(tmp_path, capsys):
    for name, members in {"a.npz": ("x.npy", "x.npy.npy"), "b.npz": ("x.npy", "x.npy")}.items():
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for number, member in enumerate(members):
                with archive.open(member, "w") as file:
                    np.save(file, np.full((3, 8, 8), number, np.uint8))
    videos = find_videos(tmp_path)
    assert [(v.name, v.read(0, 1)[0].max()) for v in videos] == [("a.npz/x", 0), ("a.npz/x.npy", 1)]
    assert "b.npz: holds 2 arrays called x; give each a name" in capsys.readouterr().err


@pytest.mark.parametrize("shape", [(2**61, 2**61, 9), (-3, -8, 8), (0, 8, 8), (2**64, 8, 8)])
def test_a_header_of_a_shape_that_no_array_has(tmp_path, capfd, shape):
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with open(tmp_path / "a.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(999))
    with warnings.catch_warnings(record=True) as warned, pytest.raises(UserError):
        warnings.simplefilter("always")
        find_videos(tmp_path)
    assert not warned
    told = capfd.readouterr().err
    assert told.count("\n") == 1 and "a.npy" in told


@pytest.mark.parametrize("dtype", [">u2", ">f4"])
def test_arrays_of_the_other_byte_order(tmp_path, dtype):
    values = np.linspace(0, 1, 4 * 30).reshape(4, 5, 6) * (65535 if dtype == ">u2" else 1)
    np.save(tmp_path / "big.npy", values.astype(dtype))
    np.save(tmp_path / "little.npy", values.astype(dtype.replace(">", "<")))
    big, little = (list(only(tmp_path / f"{name}.npy")) for name in ("big", "little"))
    assert np.array_equal(big, little)


@pytest.mark.parametrize(
    "shape, chunks, told",
    [
        ([10**12, 64, 64], [1, 64, 64], "implausibly many frames"),
        ([8, 40_000, 40_000], [1, 40_000, 40_000], "frames of 40000x40000, more than 89478485 pix"),
        ([8, 64, 64], [8, 60_000, 60_000], "chunks of 28800000000 bytes, each read as a whole"),
    ],
)
def test_a_header_that_claims_more_than_there_can_be(tmp_path, capsys, shape, chunks, told):
    header = {"zarr_format": 2, "shape": shape, "chunks": chunks, "dtype": "|u1"}
    rest = {"compressor": None, "fill_value": 0, "order": "C", "filters": None}
    (tmp_path / "z").mkdir()
    (tmp_path / "z" / ".zarray").write_text(json.dumps(header | rest))
    with pytest.raises(UserError, match="no usable frames at"):
        find_videos([tmp_path / "z"])
    assert told in capsys.readouterr().err


def test_a_folder_with_unreadable_metadata_of_zarr_is_refused(tmp_path):
    paint(tmp_path / "good" / "1.png")
    (tmp_path / "good" / "zarr.json").write_text("[" * 200_000)
    with pytest.raises(UserError, match="no usable frames at"):
        find_videos([tmp_path])


@pytest.mark.parametrize("odd", ["pipe", "loop", "chunk"])
def test_odd_entries_leave_the_others_as_they_are(tmp_path, odd, capsys):
    for n in range(3):
        paint(tmp_path / "good" / f"{n}.png")
    if odd == "pipe":
        os.mkfifo(tmp_path / "good" / "zarr.json")
    elif odd == "loop":
        (tmp_path / "good" / "self").symlink_to("self")
    else:
        (tmp_path / "z" / "0").mkdir(parents=True)
        (tmp_path / "z" / "zarr.json").write_text("{}")
        os.mkfifo(tmp_path / "z" / "0" / "0")
    (video,) = find_videos([tmp_path])
    assert len(list(video)) == 3
    told = {"pipe": "not a file", "loop": "symbolic links", "chunk": "0/0 in it is not a file"}
    assert told[odd] in capsys.readouterr().err


def test_a_warning_is_one_line_whatever_a_file_is_called(tmp_path, capsys):
    paint(tmp_path / "v" / "1.png")
    (tmp_path / "v" / "x\n\x1b[31my.mp4").write_text("no film")
    find_videos([tmp_path])
    (line,) = capsys.readouterr().err.splitlines()
    assert r"x\n\x1b[31my.mp4" in line


def test_what_systems_leave_beside_the_frames_is_passed_over_in_silence(tmp_path, capsys):
    for number in range(3):
        paint(tmp_path / "a" / f"{number}.png")
        paint(tmp_path / "a" / "@eaDir" / f"{number}.png" / "SYNOPHOTO_THUMB_M.jpg")
        paint(tmp_path / "__MACOSX" / "a" / f"{number}.png")
        (tmp_path / "a" / f"._{number}.png").touch()
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini"):
        (tmp_path / "a" / name).touch()
    assert [(video.name, len(video)) for video in find_videos(tmp_path)] == [("a", 3)]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("other", ["1.jpg", "a1.PNG"])
def test_two_pictures_of_one_name_are_not_two_frames(tmp_path, capsys, other):
    for number in range(3):
        paint(tmp_path / "good" / f"{number}.png")
        paint(tmp_path / "twice" / f"{'a' * (other[0] == 'a')}{number}.png")
    paint(tmp_path / "twice" / other.replace("a", "A"))
    assert [video.name for video in find_videos(tmp_path)] == ["good"]
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "would be two frames of one name; keep one" in said


@pytest.mark.parametrize("change", ["one less", "one more", "gone"])
def test_a_folder_that_changes_before_it_is_read_is_told(tmp_path, change):
    """Its frames would have other numbers than those that were dealt out."""
    for number in range(4):
        paint(tmp_path / "v" / f"{number}.png")
    video = only(tmp_path)
    if change == "gone":
        shutil.rmtree(tmp_path / "v")
    elif change == "one less":
        (tmp_path / "v" / "2.png").unlink()
    else:
        paint(tmp_path / "v" / "1b.png")
    list_stills.cache_clear()  # a worker has none
    found = list(video.frames(0))
    told = "cannot be read (No such file" if change == "gone" else "had 4 when the run began"
    assert len(found) == 4 and all(told in str(frame) for frame in found)
