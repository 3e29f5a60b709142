"""Picture files of all kinds, whole and damaged."""

import struct

import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin

from tests.pictures import paint
from tests.shared import SHARED, needs_shared
from utils.frames import BadFrame
from utils.images import ORIENTATION, probe, read_image, read_plain_png
from utils.videos import find_videos

XMP = 700  # a tag of TIFF


@pytest.mark.parametrize("size", [0, 8, 60, -1])
def test_a_picture_cut_short_is_a_bad_frame(tmp_path, size):
    rng = np.random.default_rng(0)
    path = tmp_path / "a.png"
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: size if size >= 0 else -2000])
    with pytest.raises(BadFrame, match="a.png"):
        read_image(path)


def test_grey_pictures_of_every_mode_are_read_alike(tmp_path):
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8)
    for name, image in {
        "l": Image.fromarray(grey),
        "la": Image.fromarray(np.stack([grey, grey[::-1]], -1)),
        "i16": Image.fromarray(grey.astype(np.uint16) * 257),
        "p": Image.fromarray(grey).convert("P"),
    }.items():
        path = tmp_path / f"{name}.png"
        image.save(path)
        assert np.array_equal(read_image(path), np.repeat(grey[..., None], 3, 2)), name


def test_rotation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn 90 degrees clockwise to show
    for name in ("a.png", "a.jpg"):
        pixels = paint(tmp_path / name, (16, 24, 3), exif=exif, quality=100)
        assert probe(tmp_path / name) == (1, (24, 16))
        found = read_image(tmp_path / name).astype(int)
        assert np.abs(found - np.rot90(pixels, -1)).mean() < (1 if name == "a.png" else 30)


@pytest.mark.parametrize(
    "name", ["xmp.png", "xmp.jpg", "profile.png", "grey.png", "tag.tif", "xmp.tif"]
)
def test_rotation_that_is_not_told_by_exif(tmp_path, name):
    path, pixels = tmp_path / name, np.zeros((16, 24, 3), np.uint8)
    pixels[:8, :8] = 200
    xmp, info, exif = '<x tiff:Orientation="6"/>', PngImagePlugin.PngInfo(), Image.Exif()
    exif[0x0112] = 6
    if name == "profile.png":  # as ImageMagick writes it
        info.add_text("Raw profile type exif", f"\nexif\n      00\n{exif.tobytes().hex()}\n")
    else:
        info.add_itxt("XML:com.adobe.xmp", xmp)
    image = Image.fromarray(pixels[..., 0] if name == "grey.png" else pixels)
    tags = {XMP: xmp.encode(), **({ORIENTATION: 6} if name == "tag.tif" else {})}
    ways = {".png": {"pnginfo": info}, ".jpg": {"xmp": xmp.encode()}, ".tif": {"tiffinfo": tags}}
    image.save(path, **ways[path.suffix])
    assert probe(path) == (1, (24, 16))
    assert np.abs(read_image(path).astype(int) - np.rot90(pixels, -1)).max() < 9


def test_two_photos_of_a_phone_are_one_frame(tmp_path):
    first, second = (Image.new("RGB", (24, 16), colour) for colour in ("red", "blue"))
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    assert probe(tmp_path / "a.jpg") == (1, (16, 24))
    assert read_image(tmp_path / "a.jpg")[0, 0, 0] > 250


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_the_thumbnails_in_a_tiff_are_no_frames(tmp_path, compression):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 16, 24, 3), dtype=np.uint8)
    for number in range(4):
        with tifffile.TiffWriter(tmp_path / f"{number}.tif") as file:
            for size, kind in ((1, 0), (2, 1), (4, 1)):
                small = pixels[number, ::size, ::size]
                options = {"photometric": "rgb", "compression": compression}
                file.write(small, subfiletype=kind, metadata=None, **options)
    (video,) = find_videos(tmp_path)
    assert probe(tmp_path / "0.tif") == (1, (16, 24))
    assert len(video) == 4 and np.array_equal(list(video), pixels)


def test_a_bad_colour_profile_is_ignored_silently(tmp_path, caplog):
    colours = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png", icc_profile=bytes(200))
    assert np.array_equal(read_image(tmp_path / "a.png"), colours)
    assert not caplog.records


def test_a_plain_png_is_what_pillow_reads(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    path = tmp_path / "a.png"
    colours = rng.integers(0, 256, (9, 13, 3), dtype=np.uint8)
    texts = PngImagePlugin.PngInfo()
    texts.add(b"gAMA", (100000).to_bytes(4, "big"))
    texts.add(b"bKGD", bytes(6))
    texts.add_text("comment", "made by hand")
    for options in ({}, {"pnginfo": texts}, {"dpi": (72, 72)}, {"compress_level": 0}):
        Image.fromarray(colours).save(path, **options)
        assert np.array_equal(read_plain_png(path), colours)
        assert np.array_equal(read_image(path), colours)
    for mode in ("L", "P", "1", "RGBA", "LA", "I;16"):
        Image.fromarray(colours).convert("L" if mode == "I;16" else mode).convert(mode).save(path)
        assert read_plain_png(path) is None and read_image(path).shape == (9, 13, 3)
    Image.fromarray(colours).save(path, transparency=(0, 0, 0))
    assert read_plain_png(path) is None and np.array_equal(read_image(path), colours)
    monkeypatch.setattr("utils.images.MAX_PIXELS", 100)
    Image.fromarray(colours).save(path)
    assert read_plain_png(path) is None


@needs_shared
def test_odd_files_from_elsewhere_are_read_or_refused():
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
            frame = read_image(path)
            assert frame.dtype == np.uint8 and frame.shape == (*good[path.name], 3)
        except BadFrame as bad:
            assert path.name not in good and "\n" not in str(bad)
            reasons[path.name] = bad.reason
    assert "exceeds limit" in reasons["decompression_bomb.gif"]
    assert "truncated" in reasons["truncated_image.png"]
    assert "3 images" in reasons["apng_dispose_op_previous.png"]
    assert {"broken.png", "broken_data_stream.png"} <= reasons.keys()


@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_a_flipped_bit_of_a_png_is_never_other_pixels(tmp_path, mode):
    rng, path = np.random.default_rng(0), tmp_path / "a.png"
    pixels = rng.integers(0, 4, (40, 40, 3), dtype=np.uint8) * 80
    Image.fromarray(pixels).convert(mode).save(path)
    content, whole = path.read_bytes(), read_image(path)
    refused = 0
    for place in rng.integers(8, len(content) - 12, 200):  # not the end, which holds no pixels
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            assert np.array_equal(read_image(path), whole)
        except BadFrame:
            refused += 1
    assert refused > 180


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_whose_zero_is_white(tmp_path, dtype):
    most = np.iinfo(dtype).max
    grey = np.arange(48, dtype=dtype).reshape(6, 8) * dtype(most // 255)
    tifffile.imwrite(tmp_path / "a.tif", most - grey, photometric="miniswhite")
    assert np.array_equal(read_image(tmp_path / "a.tif")[..., 0], np.arange(48).reshape(6, 8))


def test_grey_of_12_bits_reaches_white_and_of_32_is_refused(tmp_path):
    grey = np.linspace(0, 4095, 6 * 8).astype(np.uint16).reshape(6, 8)
    packed = np.stack([grey[:, ::2] >> 4, (grey[:, ::2] & 15) << 4 | grey[:, 1::2] >> 8], 2)
    packed = np.concatenate([packed, (grey[:, 1::2] & 255)[..., None]], 2).astype(np.uint8)
    tags = {256: 8, 257: 6, 258: 12, 259: 1, 262: 1, 273: 200, 277: 1, 278: 6, 279: 72}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    start = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries
    (tmp_path / "a.tif").write_bytes(start.ljust(200, b"\0") + packed.tobytes())
    assert np.array_equal(read_image(tmp_path / "a.tif")[..., 1], grey.astype(int) * 255 // 4095)
    Image.fromarray(grey.astype(np.int32)).save(tmp_path / "b.tif")
    with pytest.raises(BadFrame, match="32-bit grey of unknown range: data/microscopy.py finds it"):
        read_image(tmp_path / "b.tif")


def test_grey_levels_below_zero_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.arange(48, dtype=np.int8).reshape(6, 8))
    assert np.array_equal(read_image(tmp_path / "a.tif")[..., 0], np.arange(48).reshape(6, 8))
    for dtype in (np.int8, np.int16):
        tifffile.imwrite(tmp_path / "a.tif", np.arange(-9, 39, dtype=dtype).reshape(6, 8))
        with pytest.raises(BadFrame, match="grey levels"):
            read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype, kind", [(np.float64, "minisblack"), (np.float32, "rgb")])
def test_a_kind_of_tiff_that_cannot_be_read_is_told(tmp_path, dtype, kind):
    for order in "<>":
        frame = np.zeros((6, 8, 3)[: 2 + (kind == "rgb")], dtype)
        tifffile.imwrite(tmp_path / "a.tif", frame, photometric=kind, byteorder=order)
        with pytest.raises(BadFrame, match="a TIFF of a kind that cannot .* save it with 8 or 16"):
            read_image(tmp_path / "a.tif")


def test_a_tiff_of_planes_apart_is_right_or_refused(tmp_path):
    pixels = np.arange(144, dtype=np.uint8).reshape(3, 6, 8)
    path, layout = tmp_path / "a.tif", {"photometric": "rgb", "planarconfig": "separate"}
    tifffile.imwrite(path, pixels, **layout)
    assert np.array_equal(read_image(path), np.moveaxis(pixels, 0, 2))
    tifffile.imwrite(path, pixels.astype(np.uint16) * 257, **layout)
    with pytest.raises(BadFrame, match="planes apart"):
        read_image(path)


def test_a_tiff_of_huge_tiles_is_refused_unread(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), tile=(64, 64))
    content = path.read_bytes()
    length = struct.pack("<HHI", 323, 4, 1)  # TileLength, a LONG, one of it
    at = content.find(length)
    if at < 0:
        length = struct.pack("<HHI", 323, 3, 1)
        at = content.index(length)
    entry = struct.pack("<HHII", 323, 4, 1, 2**24)
    path.write_bytes(content[:at] + entry + content[at + len(entry) :])
    with pytest.raises(BadFrame, match="decompression bombs"):
        read_image(path)


def test_an_orientation_that_is_none_turns_nothing(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 9
    pixels = paint(tmp_path / "a.png", exif=exif)
    assert probe(tmp_path / "a.png") == (1, (12, 16))
    assert np.array_equal(read_image(tmp_path / "a.png"), pixels)


def test_damage_of_a_tiff_is_told_once(tmp_path, capfd):
    path = tmp_path / "a.tif"
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(path, compression="tiff_adobe_deflate")
    content = bytearray(path.read_bytes())
    place = content.index(b"\x78\x9c")  # where zlib's data begin
    content[place : place + 2] = b"\xff\xff"
    path.write_bytes(content)
    with pytest.raises(BadFrame, match="a.tif.*incorrect header check"):
        read_image(path)
    assert capfd.readouterr() == ("", "")


def test_damage_that_pillow_passes_over_is_an_error(tmp_path, capfd):
    path = tmp_path / "a.tif"
    pixels = np.random.default_rng(0).integers(0, 2, (64, 64), dtype=bool)
    Image.fromarray(pixels).save(path, compression="group4")
    assert np.array_equal(read_image(path)[..., 0] > 0, pixels)
    content = bytearray(path.read_bytes())
    content[200:210] = b"\xff" * 10
    path.write_bytes(content)
    with pytest.raises(BadFrame, match="a.tif.*Bad code word"):
        read_image(path)
    assert capfd.readouterr() == ("", "")
