import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from utils.errors import UserError
from utils.frames import BadFrame, find_videos, natural, read_frame

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
shared = pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/data")


def paint(path, shape=(12, 16, 3), value=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (np.arange(np.prod(shape)).reshape(shape) + value) % 256
    Image.fromarray(pixels.astype(np.uint8)).save(path, **options)
    return pixels.astype(np.uint8)


def test_natural_order():
    names = ["frame10", "frame2", "Video 10", "Video 2", "frame02", "a1b10", "a1b9", ""]
    assert sorted(names, key=natural) == [
        *["", "Video 2", "Video 10", "a1b9", "a1b10", "frame02", "frame2", "frame10"]
    ]


@shared
def test_real_videos():
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
    video = find_videos(tmp_path)[0]
    decoded = []
    monkeypatch.setattr("utils.frames.read_frame", lambda p: decoded.append(p) or read_frame(p))
    for count, _ in enumerate(video, 1):
        assert len(decoded) == count  # lazily
    assert len(set(decoded)) == len(decoded) == 5


def test_files_that_are_no_frames(tmp_path, capsys):
    for number in range(3):
        paint(tmp_path / "v" / f"{number}.png")
    (tmp_path / "v" / "notes.txt").write_text("hello")
    (tmp_path / "v" / ".hidden").write_text("ignored")
    outside = tmp_path.parent / f"{tmp_path.name}-outside.png"
    paint(outside)
    os.symlink(outside, tmp_path / "v" / "stray.png")
    os.symlink(tmp_path / "v" / "0.png", tmp_path / "v" / "twin.png")
    os.symlink(tmp_path / "nowhere", tmp_path / "v" / "dead.png")
    os.symlink(tmp_path / "v", tmp_path / "loop")
    assert [(v.name, len(v)) for v in find_videos(tmp_path)] == [("v", 4)]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    for name in ("notes.txt", "stray.png", "dead.png", "loop"):
        assert sum(f"{name}: " in line for line in lines) == 1


def test_the_odd_size_is_the_bad_one(tmp_path):
    paint(tmp_path / "cover.png", (20, 20, 3))
    for number in range(4):
        paint(tmp_path / f"frame{number}.png")
    video = find_videos(tmp_path)[0]
    assert video.size == (12, 16)
    with pytest.raises(BadFrame, match="cover.png: 20x20 pixels, the rest of its video 12x16"):
        video.read(0)
    assert video.read(1).shape == (12, 16, 3)


@pytest.mark.parametrize("make", ["missing", "empty", "text", "file"])
def test_nothing_usable(tmp_path, make):
    folder = tmp_path / "images"
    if make != "missing":
        folder.mkdir()
    if make == "text":
        (folder / "frame1.png").write_text("not a picture")
    if make == "file":
        folder = paint(tmp_path / "a.png") is not None and tmp_path / "a.png"
    with pytest.raises(UserError, match="record_ms_pacman") as error:
        find_videos(folder, skip=lambda path, reason: None)
    assert str(folder) in str(error.value)


@pytest.mark.parametrize("size", [0, 8, 60, -1])
def test_cut_short_is_never_half_a_frame(tmp_path, size):
    rng = np.random.default_rng(0)
    path = tmp_path / "a.png"
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: size if size >= 0 else -2000])
    with pytest.raises(BadFrame, match="a.png"):
        read_frame(path)


def test_modes(tmp_path):
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8)
    for name, image in {
        "l": Image.fromarray(grey),
        "la": Image.fromarray(np.stack([grey, grey[::-1]], -1)),
        "i16": Image.fromarray(grey.astype(np.uint16) * 257),
        "p": Image.fromarray(grey).convert("P"),
    }.items():
        path = tmp_path / f"{name}.png"
        image.save(path)
        assert np.array_equal(read_frame(path), np.repeat(grey[..., None], 3, 2)), name


def test_rotation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn 90 degrees clockwise to show
    pixels = paint(tmp_path / "a.png", exif=exif)
    (video,) = find_videos(tmp_path)
    assert video.size == (16, 12)
    assert np.array_equal(video.read(0), np.rot90(pixels, -1))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.tif", "a.webp", "a.bmp"])
def test_flipped_bytes_are_read_or_named(tmp_path, name):
    rng = np.random.default_rng(0)
    path = tmp_path / name
    paint(path)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(60):
        broken = whole.copy()
        broken[rng.integers(len(whole), size=3)] ^= rng.integers(1, 256, 3, dtype=np.uint8)
        path.write_bytes(broken)
        try:
            frame = read_frame(path)
            assert frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3
        except BadFrame as bad:
            assert str(path) in str(bad) and "\n" not in str(bad)


@shared
def test_nasty_files():
    good = {
        **{"1_trns.png": (64, 64), "first_frame_transparency.gif": (50, 75)},
        **{"i_trns.png": (64, 64), "imageio_issue245.gif": (24, 30), "p_16.png": (128, 128)},
        **{"p_trns_single.png": (64, 64), "pil_sample_cmyk.jpg": (100, 100)},
        **{"rgb_trns.png": (64, 64), "tiff_16bit_RGBa_target.png": (40, 100)},
        "uncompressed_la.png": (128, 128),
    }
    reasons = {}
    for path in sorted((SHARED / "nasty").iterdir()):
        if path.suffix not in {".png", ".gif", ".jpg"}:
            continue
        try:
            frame = read_frame(path)
            assert frame.dtype == np.uint8 and frame.shape == (*good[path.name], 3)
        except BadFrame as bad:
            assert path.name not in good and "\n" not in str(bad)
            reasons[path.name] = bad.reason
    assert "exceeds limit" in reasons["decompression_bomb.gif"]
    assert "truncated" in reasons["truncated_image.png"]
    assert "4 images" in reasons["apng_dispose_op_previous.png"]
    assert {"broken.png", "broken_data_stream.png"} <= reasons.keys()
