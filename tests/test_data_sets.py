"""The scripts in data/ that convert public data sets, run as a user runs them."""

import datetime
import gzip
import os
import shutil
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from data import cats, kitti, kth, microscopy, moving_mnist, radar, ucf101
from tests.processes import run_python
from tests.shared import SHARED, needs_shared
from utils.frames import BadFrame, natural
from utils.videos import find_videos


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a script's main below tmp_path -> (exit status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(script, *arguments):
        monkeypatch.setattr(sys, "argv", [script.__name__, *map(str, arguments)])
        status = 0
        try:
            script.main()
        except SystemExit as end:
            status = end.code
        return (status, *capsys.readouterr())

    return call


def found(folder):
    return {video.name: video for video in find_videos(folder)}


@pytest.mark.parametrize("name", ["moving_mnist", "kth", "ucf101", "radar", "cats", "kitti"])
def test_scripts_run_by_themselves(name):
    optimised = ["-OO"] * (name == "kth")  # without docstrings
    done = run_python(*optimised, f"data/{name}.py", "--help")
    assert done.returncode == 0 and "--out" in done.stdout, done.stderr


def test_moving_mnist(run):
    status, said, _ = run(moving_mnist, "--train", 8, "--test", 2, "--frames", 30)
    assert status == 0 and "moving_mnist.npy: 8 sequences of 30 frames" in said
    videos = found("data/images/train")
    assert len(videos) == 8 and {(len(v), v.size) for v in videos.values()} == {(30, (64, 64))}
    films = np.load("data/images/train/moving_mnist.npy")[..., 0]
    assert (np.abs(np.diff(films.astype(int), axis=1)).sum(axis=(2, 3)) > 0).all()
    assert run(moving_mnist, "--train", 8, "--test", 2)[0] == 2  # is there already
    assert run(moving_mnist, "--train", -8, "--out", "other")[0] == 2
    assert run(moving_mnist, "--frames", 0, "--out", "other")[0] == 2
    for out, seed in (("same", 0), ("other", 1)):
        run(
            moving_mnist, *("--train", 8, "--test", 0, "--frames", 30, "--seed", seed, "--out", out)
        )
    same, other = (np.load(f"{out}/train/moving_mnist.npy") for out in ("same", "other"))
    assert np.array_equal(same[..., 0], films) and not np.array_equal(other[..., 0], films)


def test_moving_mnist_that_was_stopped_is_no_data(run, monkeypatch):
    monkeypatch.setattr(moving_mnist, "make_sequence", stop)
    assert run(moving_mnist, "--train", 8, "--test", 0)[0] == 130
    assert list(Path("data/images/train").iterdir()) == []


def stop(*_):
    raise KeyboardInterrupt


def test_digits_bounce_as_published():
    for seed in range(40):
        way = moving_mnist.bounce(60, np.random.default_rng(seed))
        assert way.min() >= 0 and way.max() <= 64 - 28
        steps = np.hypot(*np.diff(way, axis=0).T)
        inside = ((way > 0) & (way < 36)).all(axis=1)
        inner = steps[inside[1:] & inside[:-1]]
        assert np.abs(inner - 3.6).max(initial=0) < 1.5  # a tenth of the way, whole pixels


def test_each_pixel_is_the_brighter_of_both_digits():
    rings = np.full((1, 28, 28), 200, np.uint8)
    rings[0, 4:-4, 4:-4] = 0
    rng, alone = np.random.default_rng(5), np.zeros((2, 20, 64, 64), np.uint8)
    for film in alone:
        digit = rings[rng.integers(1)]
        for frame, (y, x) in zip(film, moving_mnist.bounce(20, rng), strict=True):
            frame[y : y + 28, x : x + 28] = digit
    assert (alone > 0).all(axis=0).any()  # they meet
    film = moving_mnist.make_sequence(rings, 20, np.random.default_rng(5))
    assert np.array_equal(film, alone.max(axis=0))


@needs_shared
def test_moving_mnist_of_real_digits(run):
    path = SHARED / "mnist" / "t10k-images-idx3-ubyte.gz"
    digits = moving_mnist.read_digits(path)
    assert digits.shape == (10000, 28, 28) and digits.max() == 255
    np.save("mnist_test_seq.npy", np.zeros((20, 5, 64, 64), np.uint8))
    arguments = ("--train", 3, "--test", 1, "--published", "mnist_test_seq.npy", "--digits", path)
    assert run(moving_mnist, *arguments)[0] == 0
    assert len(found("data/images/test")) == 1 + 5
    assert (
        run(moving_mnist, "--test-digits", path, "--train", 1, "--test", 2, "--out", "new")[0] == 0
    )
    (drawn, real) = (np.load(f"new/{split}/moving_mnist.npy") for split in ("train", "test"))
    rng = np.random.default_rng((0, 1))
    assert np.array_equal(real[0, ..., 0], moving_mnist.make_sequence(digits, 20, rng))
    rng = np.random.default_rng((0, 0))
    letters = moving_mnist.draw_digits()
    assert np.array_equal(drawn[0, ..., 0], moving_mnist.make_sequence(letters, 20, rng))
    plain = Path("digits-idx3-ubyte")
    plain.write_bytes(gzip.decompress(path.read_bytes())[:-5])
    status, _, said = run(moving_mnist, "--digits", plain)
    assert status == 2 and said.startswith("error: digits-idx3-ubyte has no digits")


@needs_shared
def test_kth(run):
    Path("00sequences.txt").write_text(
        "Some words before.\n\n"
        "person16_boxing_d1\t\tframes\t1-95, 96-185, 186-245, 246-360\n"
        "person17_boxing_d1\t\tframes\t1-30, 31-999\n"
        "person13_handclapping_d3\t\t*missing*\n"
        "person21_boxing_d1\t\tframes\t1-30\nperson20_boxing_d1\t\tframes\t1-30\n"
    )
    Path("kth/boxing").mkdir(parents=True)
    film = SHARED / "videos" / "kth_person01_boxing_d1_uncomp.avi"
    for name in ("person16_boxing_d1", "person17_boxing_d1", "person03_boxing_d1"):
        shutil.copy(film, f"kth/boxing/{name}_uncomp.avi")
    status, said, warned = run(kth, "--videos", "kth", "--sequences", "00sequences.txt")
    assert status == 0 and said == "data/images: 5 sequences\n"
    assert "person03_boxing_d1_uncomp.avi: not in 00sequences.txt" in warned
    assert "2 films of 00sequences.txt are not below kth, the first is person20_boxing_d1" in warned
    assert "360 frames, sequence 31-999 is not among them" in warned
    videos = found("data/images/train")
    lengths = {name: len(video) for name, video in videos.items()}
    names = [f"boxing/person16_boxing_d1_{number}" for number in range(1, 5)]
    assert lengths == dict(zip(names, (95, 90, 60, 115), strict=True))
    assert [(n, len(v)) for n, v in found("data/images/test").items()] == [
        ("boxing/person17_boxing_d1_1", 30)
    ]
    (whole,) = find_videos(film)
    second = videos["boxing/person16_boxing_d1_2"].read(0, 1)[0]
    assert np.abs(second.astype(int) - whole.read(95, 96)[0]).max() <= 2  # grey of grey
    Path("00sequences.txt").write_text("person09_boxing_d1 frames 1-30\n")
    status, _, said = run(kth, "--videos", "kth", "--sequences", "00sequences.txt")
    assert status == 2 and "error: no sequence of 00sequences.txt is in a film below kth" in said


@pytest.mark.parametrize(
    "line",
    [
        "person01_boxing_d1 frames 1-9, 123, 130-140",
        "person01_boxing_d2\tframes\t1-95; 100-120",
        "person1_boxing_d1 frames 1-9",
        "person01_boxing_d1",
    ],
)
def test_kth_with_a_line_that_cannot_be_read(run, line):
    Path("kth").mkdir()
    before = "Training: person11, 12\nperson02_boxing_d1 frames 1-9\n"
    Path("00sequences.txt").write_text(before + line)
    status, _, said = run(kth, "--videos", "kth", "--sequences", "00sequences.txt")
    told = f"error: 00sequences.txt, line 3: '{' '.join(line.split())}' cannot be read; write its "
    assert (status, said.count("\n")) == (2, 1) and said.startswith(told)


def test_kth_in_its_own_words(run):
    Path("00sequences.txt").write_text(
        "Training:   person11, 12\n\nperson11_boxing_d4    \t\tframes\t1-106, 107-194,\n"
        "person13_handclapping_d3\t\t*missing*\n"
    )
    assert kth.read_ranges(Path("00sequences.txt")) == {
        "person11_boxing_d4": [(1, 106), (107, 194)]
    }


@needs_shared
def test_kth_with_one_film_in_two_folders(run):
    Path("00sequences.txt").write_text("person01_boxing_d1 frames 1-95\n")
    film = SHARED / "videos" / "kth_person01_boxing_d1_uncomp.avi"
    for folder in ("a", "b"):
        Path("kth", folder).mkdir(parents=True)
        shutil.copy(film, f"kth/{folder}/person01_boxing_d1_uncomp.avi")
    status, _, said = run(kth, "--videos", "kth", "--sequences", "00sequences.txt")
    names = " and ".join(f"kth/{folder}/person01_boxing_d1_uncomp.avi" for folder in "ab")
    assert (status, said) == (2, f"error: {names} are both person01_boxing_d1: keep one of them\n")
    assert not Path("data").exists()


def test_kth_with_a_number_beyond_all_measure(run):
    Path("kth").mkdir()
    Path("00sequences.txt").write_text(f"person01_boxing_d1 frames 1-{'9' * 5000}\n")
    status, _, said = run(kth, "--videos", "kth", "--sequences", "00sequences.txt")
    assert (status, said.count("\n")) == (2, 1) and "00sequences.txt has a number beyond" in said


@needs_shared
def test_a_damaged_film_of_kth_costs_its_damaged_sequence_only(run):
    Path("00sequences.txt").write_text("person01_boxing_d1 frames 1-95, 96-185\n")
    content = bytearray((SHARED / "videos" / "kth_person01_boxing_d1_uncomp.avi").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 60_000] = np.random.default_rng(0).bytes(60_000)
    Path("kth").mkdir()
    Path("kth/person01_boxing_d1_uncomp.avi").write_bytes(content)
    status, said, warned = run(kth, "--videos", "kth", "--sequences", "00sequences.txt")
    assert status == 0 and said == "data/images: 1 sequences\n"
    assert list(found("data/images/train")) == ["boxing/person01_boxing_d1_1"]
    assert "sequence 96-185: cannot be decoded in full" in warned


@needs_shared
def test_ucf101(run):
    names = ["v_Bowling_g01_c01.avi", "v_JumpRope_g01_c01.avi"]
    for name in names:
        Path("ucf", name.split("_")[1]).mkdir(parents=True)
        shutil.copy(SHARED / "ucf101_avi" / name, Path("ucf", name.split("_")[1], name))
    Path("trainlist02.txt").write_text(
        "Bowling/v_Bowling_g01_c01.avi 16\n" * 2 + "Bowling/v_Bowling_g09_c09.avi 16\n"
    )
    Path("testlist02.txt").write_text("JumpRope/v_JumpRope_g01_c01.avi\n")
    arguments = ("--videos", "ucf", "--lists", ".", "--split", 2)
    status, said, warned = run(ucf101, *arguments)
    assert status == 0 and "data/images/train: 1 films" in said
    assert "1 films of the lists are not below ucf, the first is Bowling/v_Bowling_g09" in warned
    assert list(found("data/images/train")) == ["Bowling/v_Bowling_g01_c01.avi"]
    assert list(found("data/images/test")) == ["JumpRope/v_JumpRope_g01_c01.avi"]
    status, _, warned = run(ucf101, *arguments)
    assert status == 2 and "is there already" in warned
    for name in ("../../etc/passwd", "/passwd"):
        Path("testlist02.txt").write_text(f"{name} 1\n")
        status, _, warned = run(ucf101, *arguments, "--out", "else")
        assert status == 2 and f"{name} is not a class with a film" in warned
    Path("testlist02.txt").write_text("JumpRope/v_JumpRope_g01_c01.avi\n")
    status, said, warned = run(ucf101, "--videos", "ucf/Bowling", *arguments[2:], "--out", "else")
    assert status == 2 and warned.startswith("error: no film of the lists is below ucf/Bowling")


def test_ucf101_tells_films_that_are_in_no_list_or_in_both(run):
    Path("ucf/Bowling").mkdir(parents=True)
    for name in ("Bowling/a.avi", "Bowling/b.avi", "Bowling/c.avi", "d.avi", "Bowling/notes.txt"):
        Path("ucf", name).touch()
    Path("trainlist01.txt").write_text("Bowling/a.avi 16\n")
    Path("testlist01.txt").write_text("Bowling/b.avi\nBowling/a.avi\n")
    arguments = ("--videos", "ucf", "--lists", ".")
    status, _, said = run(ucf101, *arguments)
    assert status == 2 and said == (
        "error: Bowling/a.avi is in both trainlist01.txt and testlist01.txt: it would be learned, "
        "then tested; remove it from one\n"
    )
    assert not Path("data").exists()
    Path("testlist01.txt").write_text("Bowling/b.avi\n")
    status, _, warned = run(ucf101, *arguments)
    assert status == 0 and warned.splitlines()[-1] == (
        "warning: 2 films are left out, the first is ucf/Bowling/c.avi: not in the lists; add them "
        "there to have them"
    )


@needs_shared
def test_radar(run):
    source = SHARED / "radar" / "mch_20150515_original_gif"
    status, said, _ = run(radar, "--images", source, "--pool", 2)
    assert status == 0 and said.endswith(": 12 frames\n")
    (video,) = find_videos("data/images/train")
    assert (video.name, len(video), video.size) == ("mch_20150515_original_gif", 12, (320, 355))
    (ready,) = find_videos(SHARED / "radar" / "frames_png")
    ours, theirs = video.read(0, 1)[0], ready.read(0, 1)[0]
    assert np.array_equal(ours[:, :352], theirs)  # somebody else's conversion of the same picture


def test_radar_without_a_usable_picture_leaves_nothing(run):
    Path("in").mkdir()
    Image.new("P", (8, 6)).save("in/small.png")
    Image.new("RGB", (80, 60)).save("in/colour.png")
    status, _, said = run(radar, "--images", "in", "--pool", 7)
    assert status == 2 and "smaller than --pool 7" in said and "of mode RGB has no palette" in said
    assert said.splitlines()[-1] == "error: no picture in in can be used: give others"
    assert not Path("data").exists()


def test_radar_does_not_bridge_a_picture_that_cannot_be_read(run):
    Path("day").mkdir()
    for number in range(5):
        Image.new("L", (8, 6), number).save(f"day/{number}.png")
    Path("day/2.png").write_bytes(b"")
    Path("day/._3.png").write_bytes(b"")
    status, said, warned = run(radar, "--images", "day")
    assert status == 0 and warned.count("\n") == 1 and "warning: day/2.png: cannot be" in warned
    assert said == "data/images/train/day: 2 frames\ndata/images/train/day_2: 2 frames\n"
    assert [len(video) for video in found("data/images/train").values()] == [2, 2]
    assert found("data/images/train")["day_2"].read(0, 1)[0].max() == 3


@pytest.mark.parametrize("form", ["AQC%y%j%H%MF_00005.801", "%Y%m%d_%H%M", "%H%M", "{}"])
def test_radar_does_not_bridge_pictures_that_are_missing(run, form):
    """By the clock: no picture is missing between 15:55 and 16:00."""
    start = datetime.datetime(2015, 5, 15, 15, 40)
    times = [start + datetime.timedelta(minutes=5 * number) for number in range(12)]
    names = [time.strftime(form).format(number) for number, time in enumerate(times)]
    Path("day/more").mkdir(parents=True)
    for number, name in enumerate(names):
        Image.new("L", (8, 6), number).save(f"day/{name}.png")
    Path(f"day/{names[6]}.png").rename(f"day/{names[6]}.png.gz")
    Path("day/Thumbs.db").touch()
    status, said, warned = run(radar, "--images", "day")
    assert status == 0 and said.splitlines() == [
        "data/images/train/day: 6 frames",
        "data/images/train/day_2: 5 frames",
    ]
    others = sorted([f"day/{names[6]}.png.gz", "day/more"], key=natural)
    assert warned.splitlines() == [
        f"warning: 2 files or folders are left out, the first is {others[0]}: no pictures; unpack "
        "those that hold some",
        f"warning: 1 pictures are missing between day/{names[5]}.png and {names[7]}.png: add them, "
        "else a new video begins there",
    ]


@pytest.mark.parametrize("names", [[], ["a", "b"], ["9"], ["1", "3"], ["a1", "b"], ["a1", "b1"]])
def test_names_without_times_have_no_gaps(names):
    assert radar.find_gaps(names) == {}


def test_radar_takes_each_picture_for_one_frame_of_one_size(run):
    """Animations, pipes and twins are told, pictures of another size are another video."""
    Path("day").mkdir()
    for number in range(6):
        Image.new("L", (8, 6 if number < 3 else 9), number).save(f"day/{number}.png")
    pages = [Image.new("L", (8, 9), level) for level in (7, 200)]
    pages[0].save("day/6.gif", save_all=True, append_images=pages[1:])
    os.mkfifo("day/7.png")
    status, said, warned = run(radar, "--images", "day")
    assert status == 0 and said.splitlines() == [
        "data/images/train/day: 3 frames",
        "data/images/train/day_2: 3 frames",
    ]
    assert warned.splitlines() == [
        "warning: day/6.gif: cannot be read (2 images in one file); left out",
        "warning: day/7.png: not a file; left out",
    ]
    Image.new("P", (8, 6)).save("day/4.gif")
    status, _, said = run(radar, "--images", "day", "--out", "new")
    assert status == 2 and "error: day: 4.gif and 4.png are of one name" in said
    assert not Path("new").exists()


@needs_shared
def test_microscopy(run):
    status, said, _ = run(microscopy, "--images", SHARED / "microscopy")
    assert status == 0 and "2 recordings" in said
    sizes = {name: (len(v), v.size) for name, v in found("data/images/train").items()}
    assert sizes == {
        "brightfield_beads/Video 1": (8, (500, 500)),
        "flowing_blood_cells/Video 1": (20, (131, 271)),
    }


def test_microscopy_of_a_stack_with_12_bits(run):
    Path("in").mkdir()
    levels = np.linspace(1000, 4000, 5 * 20 * 30).astype(np.uint16).reshape(5, 20, 30)
    pages = [Image.fromarray(page) for page in levels]
    pages[0].save("in/cells.tif", save_all=True, append_images=pages[1:])
    assert run(microscopy, "--images", "in")[0] == 0
    frames = np.stack(list(found("data/images/train")["cells.tif"]))[..., 0]
    assert frames.min() == 0 and frames.max() == 255
    assert np.abs(frames - (levels - 1000.0) / 3000 * 255).max() < 2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int8, np.int16, np.float32])
def test_microscopy_of_any_numbers(run, dtype):
    Path("in").mkdir()
    levels = np.linspace(0, 250, 4 * 20 * 30).astype(np.uint8).reshape(4, 20, 30)
    lowest = 100 if np.dtype(dtype).kind == "i" else 0
    recorded = (levels.astype(int) - lowest).clip(-128, 127 if lowest else 255).astype(dtype)
    tifffile.imwrite("in/cells.tif", recorded, photometric="minisblack")
    if np.dtype(dtype).kind == "u":
        white = np.iinfo(dtype).max - recorded
        tifffile.imwrite("in/white.tif", white, photometric="miniswhite")
    assert run(microscopy, "--images", "in")[0] == 0
    shown = (recorded - float(recorded.min())) / float(np.ptp(recorded.astype(float))) * 255
    for video in found("data/images/train").values():
        assert np.abs(np.stack(list(video))[..., 0] - shown).max() < 3, video.name


def test_microscopy_refuses_what_is_no_number_or_of_several_depths(run):
    Path("in/mixed").mkdir(parents=True)
    levels = np.linspace(0, 1, 600).astype(np.float32).reshape(20, 30)
    levels[3, 4] = np.nan
    tifffile.imwrite("in/a.tif", np.stack([levels, levels]))
    tifffile.imwrite("in/mixed/1.tif", np.zeros((20, 30), np.uint8))
    tifffile.imwrite("in/mixed/2.tif", np.zeros((20, 30), np.uint16))
    Path("in/torn").mkdir()
    Image.fromarray((250 * np.linspace(0, 1, 600)).astype(np.uint8).reshape(20, 30)).save(
        "in/torn/1.png"
    )
    Path("in/torn/2.png").write_bytes(Path("in/torn/1.png").read_bytes()[:60])
    status, _, said = run(microscopy, "--images", "in")
    assert status == 2 and said.splitlines() == [
        "warning: in/a.tif: cannot be read (some of its pixels are not numbers: make them 0); "
        "left out",
        "warning: in/mixed: pictures of several depths, 8 bits and 16; left out",
        "warning: in/torn: 2.png: cannot be read (image file is truncated); left out",
        "error: no recording below in can be used",
    ]


def test_microscopy_of_a_recording_larger_than_the_sample(run, monkeypatch):
    Path("in").mkdir()
    levels = np.linspace(1000, 4000, 50 * 20 * 30).astype(np.uint16).reshape(50, 20, 30)
    tifffile.imwrite("in/cells.tif", levels, photometric="minisblack")
    np.save("in/array.npy", np.zeros((5, 8, 9), np.uint8))
    monkeypatch.setattr(microscopy, "SAMPLE", 2000)
    asked, percentile = [], np.percentile
    monkeypatch.setattr(np, "percentile", lambda a, q: asked.append(a.size) or percentile(a, q))
    status, said, warned = run(microscopy, "--images", "in")
    assert status == 0 and "array.npy: neither pictures nor a stack" in warned
    assert len(asked) == 1 and 1000 < asked[0] <= 2000
    frames = np.stack(list(found("data/images/train")["cells.tif"]))[..., 0]
    assert np.abs(frames - (levels - 1000.0) / 3000 * 255).max() < 2


def test_microscopy_stretches_what_all_columns_have_but_for_hot_pixels(run, monkeypatch):
    Path("in").mkdir()
    levels = np.tile(np.arange(30, dtype=np.uint16) * 10, (2, 50, 1))
    levels[:, 7, 12] = 60000  # not among the sampled ones
    tifffile.imwrite("in/cells.tif", levels, photometric="minisblack")
    assert run(microscopy, "--images", "in", "--out", "whole")[0] == 0
    monkeypatch.setattr(microscopy, "SAMPLE", 210)  # every 15th pixel lies in one of two columns
    assert run(microscopy, "--images", "in", "--out", "sampled")[0] == 0
    for out in "whole", "sampled":
        (video,) = found(f"{out}/train").values()
        columns = next(iter(video))[0, :, 0]
        assert np.abs(columns - np.linspace(0, 255, 30)).max() < 2


def test_microscopy_leaves_alpha_out(run):
    Path("in").mkdir()
    levels = np.linspace(0, 200, 20 * 30).astype(np.uint8).reshape(20, 30)
    pages = [Image.fromarray(np.dstack([levels, levels * 0 + 255]), "LA") for _ in range(2)]
    pages[0].save("in/cells.tif", save_all=True, append_images=pages[1:])
    assert run(microscopy, "--images", "in")[0] == 0
    with Image.open("data/images/train/cells.tif/frame_00001.png") as picture:
        assert picture.mode == "L" and picture.getextrema() == (0, 255)


def test_microscopy_refuses_colours_of_which_only_8_bits_would_be_left(run):
    for name in ("rgb", "planes", "png"):
        Path("in", name).mkdir(parents=True)
    levels = np.arange(6 * 8 * 3, dtype=np.uint16).reshape(6, 8, 3) * 28
    tifffile.imwrite("in/rgb/1.tif", levels, photometric="rgb")
    tifffile.imwrite("in/planes/1.tif", levels.T.copy(), photometric="rgb", planarconfig="separate")
    Path("in/png/1.png").write_bytes(imagecodecs.png_encode(levels))
    tifffile.imwrite("in/good.tif", levels.astype(np.uint8)[None].repeat(2, 0), photometric="rgb")
    status, said, warned = run(microscopy, "--images", "in")
    assert status == 0 and "1 recordings" in said
    assert list(found("data/images/train")) == ["good.tif"]
    lines = warned.splitlines()
    assert len(lines) == 3
    assert sum("(16-bit colours or alpha: save it as 16-bit grey)" in line for line in lines) == 3


def test_microscopy_leaves_out_the_still_that_an_animation_hides(run):
    Path("in").mkdir()
    still, *pages = [Image.new("L", (9, 8), 200 - 40 * number) for number in range(4)]
    still.save("in/a.apng", "PNG", save_all=True, append_images=pages, default_image=True)
    assert run(microscopy, "--images", "in")[0] == 0
    (video,) = found("data/images/train").values()
    assert len(video) == 3


def test_microscopy_of_the_folder_one_is_in(run, monkeypatch):
    Path("in").mkdir()
    for number in range(2):
        Image.effect_noise((9, 8), 50).save(f"in/{number}.png")
    monkeypatch.chdir("in")
    assert run(microscopy, "--images", ".", "--out", "../out")[0] == 0
    assert list(found("../out/train")) == ["in"]


def test_cats(run):
    """As catz.tar.gz unpacks: a folder for each cat, six pictures in it."""
    for split, name in (("train", "b"), ("train", "a"), ("test", "c"), ("train", "short")):
        Path("catz", split, name).mkdir(parents=True)
        for number, place in enumerate(cats.PLACES):
            colour = (40 * number, 0, 0)
            Image.new("RGB", (96, 96), colour).save(f"catz/{split}/{name}/{place}.jpg")
    Path("catz/train/short/cat_3.jpg").unlink()
    Path("catz/train/.git").mkdir()
    Path("catz/train/._d.gif").touch()
    pages = [Image.new("L", (9, 9), level) for level in (0, 200)]
    pages[0].save("catz/e.GIF", save_all=True, append_images=pages[1:])
    status, said, warned = run(cats, "--images", "catz")
    assert status == 0 and said == "data/images: 4 videos\n" and warned.count("\n") == 1
    assert warned.splitlines()[0] == "warning: catz/train/short: no picture cat_3; left out"
    assert list(found("data/images/train")) == ["e.GIF", "a", "b"]
    (video,) = find_videos("data/images/test")
    reds = np.array([frame[0, 0, 0] for frame in video])
    assert np.abs(reds - 40.0 * np.arange(6)).max() < 3
    assert run(cats, "--images", "catz/test/c")[0] == 2
    assert run(cats, "--images", "catz/train", "--out", "own", "--test", 2)[0] == 0
    assert list(found("own/train")) == ["a"] and list(found("own/test")) == ["b"]


def test_no_cat_to_learn_from_is_put_among_those_to_test_on(run):
    catz()
    assert run(cats, "--images", "catz/train")[0] == 0
    status, _, warned = run(cats, "--images", "catz/train", "--test", 1)
    told = "data/images/train/0/cat_0.jpg is there already, it was to be in test: remove it"
    assert status == 2 and told in warned and not Path("data/images/test").exists()


def test_a_link_to_a_cat_that_leads_nowhere_is_told(run):
    catz()
    for name in ("train/3", "4.gif"):
        Path("catz", name).symlink_to("nowhere")
    Path("catz/self").symlink_to("self")
    status, said, warned = run(cats, "--images", "catz")
    assert status == 0 and said == "data/images: 3 videos\n"
    told = "warning: catz/{}: a link that leads nowhere; left out"
    links = "4.gif", "self", "train/3"
    assert sorted(warned.splitlines()) == [told.format(link) for link in links]


def test_a_cat_with_two_pictures_of_one_name_is_left_out(run):
    catz()
    Image.new("RGB", (9, 9), "red").save("catz/train/1/cat_0.png")
    Path("catz/train/2/cat_1.jpg").unlink()
    os.mkfifo("catz/train/2/cat_1.jpg")
    status, said, warned = run(cats, "--images", "catz")
    assert status == 0 and said == "data/images: 1 videos\n"
    assert sorted(warned.splitlines()[:2]) == [
        "warning: catz/train/1: cat_0.jpg and cat_0.png would be two frames of one name; left out",
        "warning: catz/train/2: no picture cat_1; left out",
    ]


def test_videos_of_cats_that_are_no_gifs_are_told(run):
    catz()
    for name in ("train/a.mp4", "b.webp", "notes.txt"):
        Path("catz", name).touch()
    status, said, warned = run(cats, "--images", "catz")
    assert status == 0 and said == "data/images: 3 videos\n"
    assert warned == (
        "warning: 2 files are left out, the first is catz/b.webp: neither GIFs nor in a cat's "
        "folder; convert them, or give them to process_data.py\n"
    )


def catz():
    for name in range(3):
        Path("catz/train", str(name)).mkdir(parents=True)
        for place in cats.PLACES:
            Image.new("RGB", (9, 9)).save(f"catz/train/{name}/{place}.jpg")


@pytest.mark.parametrize("links", [True, False])
def test_the_same_command_goes_on_where_it_was_interrupted(run, monkeypatch, links):
    catz()
    put, done = os.link if links else shutil.copyfile, []

    def put_some(*arguments, **options):
        done.append(arguments)
        if len(done) == 8:
            if not links:
                Path(arguments[1]).write_bytes(b"half")
            raise KeyboardInterrupt
        return put(*arguments, **options)

    def refuse(*_):
        raise OSError

    with monkeypatch.context() as patch:
        if links:
            patch.setattr(os, "link", put_some)
        else:
            patch.setattr(os, "link", refuse)
            patch.setattr(shutil, "copyfile", put_some)
        assert run(cats, "--images", "catz")[0] == 130
    assert len(list(Path("data/images/train").glob("*/[!.]*"))) == 7
    status, _, said = run(cats, "--images", "catz", "--test", 2)  # another command
    assert status == 2 and "cat_0.jpg is there already: remove it or give another --out" in said
    assert run(cats, "--images", "catz") == (0, "data/images: 3 videos\n", "")
    assert {len(video) for video in found("data/images/train").values()} == {6}
    assert run(cats, "--images", "catz")[0] == 2
    assert not list(Path("data/images").rglob(".*"))


@pytest.mark.parametrize("script", [microscopy, moving_mnist])
def test_what_was_written_before_an_interruption_is_not_made_again(run, monkeypatch, script):
    for name in "ab":
        Path("in", name).mkdir(parents=True)
        for number in range(3):
            Image.effect_noise((9, 8), 50).save(f"in/{name}/{number}.png")
    made = "find_range" if script is microscopy else "make_sequence"
    arguments = ("--images", "in") if script is microscopy else ("--train", 1, "--test", 1)
    calls, make = [], getattr(script, made)

    def make_one(*arguments):
        calls.append(None)
        return stop() if len(calls) == 2 else make(*arguments)

    monkeypatch.setattr(script, made, make_one)
    assert run(script, *arguments)[0] == 130
    status, said, _ = run(script, *arguments)
    assert status == 0 and len(calls) == 3 and said
    assert len(list(Path("data/images").rglob("[!.]*.*"))) == (6 if script is microscopy else 2)
    assert not list(Path("data/images").glob(".*"))


@needs_shared
def test_real_cats(run):
    assert run(cats, "--images", SHARED / "cats", "--test", 2)[0] == 0
    assert [(n, len(v)) for n, v in found("data/images/train").items()] == [("cat-moshpit.gif", 34)]
    assert [(n, len(v)) for n, v in found("data/images/test").items()] == [
        ("catgoalkeeper.gif", 80)
    ]


def test_kitti_and_caltech(run):
    day = Path("raw/2011_09_26")
    for folder in (
        day / "2011_09_26_drive_0001_sync" / "image_02" / "data",
        day / "2011_09_26_drive_0104_sync" / "image_03" / "data",
        Path("raw/set00/V001/images"),
        Path("raw/set06/V000/images"),
        Path("raw/labels"),
    ):
        folder.mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (8, 6), (number, 0, 0)).save(folder / f"{number:010d}.png")
    np.save("raw/other.npy", np.zeros((3, 8, 6), np.uint8))
    status, said, warned = run(kitti, "--images", "raw")
    assert status == 0 and said == "data/images: 4 recordings\n"
    assert warned == (
        "warning: 2 videos are left out, the first is raw/labels: no recordings of KITTI or "
        "Caltech; process_data.py takes them as they are\n"
    )
    names = {split: list(found(f"data/images/{split}")) for split in ("train", "test")}
    assert names == {
        "train": ["2011_09_26_drive_0001_02", "set00_V001"],
        "test": ["2011_09_26_drive_0104_03", "set06_V000"],
    }
    assert run(kitti, "--images", "raw/labels")[0] == 2


def test_prednet_tests_on_three_drives_of_kitti():
    def split(drive):
        return kitti.place(Path(f"raw/2011_09_26_drive_{drive}_sync/image_02/data"))[0]

    assert [split(drive) for drive in ("0104", "0079", "0070")] == ["test"] * 3
    assert [split(drive) for drive in ("0001", "0071", "0078", "0105")] == ["train"] * 4


def test_kitti_as_it_unpacks(run):
    """Raw recordings beside rectified ones, points and times beside pictures."""
    day = Path("raw/2011_09_26")
    for kind in ("extract", "sync"):
        for camera in ("image_00", "image_02"):
            folder = day / f"2011_09_26_drive_0001_{kind}" / camera
            (folder / "data").mkdir(parents=True)
            (folder / "timestamps.txt").touch()
            for number in range(3):
                size = 8 + (kind == "sync"), 6
                Image.new("L", size).save(folder / "data" / f"{number:010d}.png")
        points = day / f"2011_09_26_drive_0001_{kind}" / "velodyne_points" / "data"
        points.mkdir(parents=True)
        (points / "0000000000.bin").touch()
    status, said, warned = run(kitti, "--images", "raw")
    assert status == 0 and said == "data/images: 2 recordings\n"
    assert {video.size for video in found("data/images/train").values()} == {(6, 9)}
    lines = warned.splitlines()
    assert len(lines) == 2 and "0001_extract/image_00/data: the same recording as raw" in lines[0]


def test_pictures_that_kitti_lacks_are_no_successive_frames(run):
    folder = Path("raw/2011_09_26/2011_09_26_drive_0009_sync/image_02/data")
    folder.mkdir(parents=True)
    for number in [*range(20), *range(24, 40)]:
        Image.new("RGB", (8, 6), (number, 0, 0)).save(folder / f"{number:010d}.png")
    assert run(kitti, "--images", "raw")[:2] == (0, "data/images: 1 recordings\n")
    (video,) = found("data/images/train").values()
    bad = [n for n, frame in enumerate(video.frames(0)) if isinstance(frame, BadFrame)]
    assert len(video) == 40 and bad == [20, 21, 22, 23]


def test_films_of_caltech_are_to_be_unpacked_first(run):
    Path("caltech/set00").mkdir(parents=True)
    Path("caltech/set00/V000.seq").touch()
    status, _, said = run(kitti, "--images", "caltech")
    assert status == 2 and said.startswith("error: only .seq films below caltech: write the pict")
    Path("caltech/set00/V001").mkdir()
    Image.new("L", (8, 6)).save("caltech/set00/V001/I00000.jpg")
    status, said, warned = run(kitti, "--images", "caltech")
    assert status == 0 and said == "data/images: 1 recordings\n"
    assert warned.startswith("warning: 1 .seq films are left out: write the pictures of each to")


@pytest.mark.parametrize("script", [cats, kitti, kth, microscopy])
def test_nothing_is_written_among_what_is_read(run, script):
    Path("in").mkdir()
    Image.new("L", (8, 6)).save("in/1.gif")
    Path("list.txt").write_text("person01_boxing_d1 frames 1-9\n")
    flag = "--videos" if script is kth else "--images"
    lists = ("--sequences", "list.txt") if script is kth else ()
    for out in "in", "in/new":
        status, _, said = run(script, flag, "in", *lists, "--out", out)
        told = f"error: --out {out} lies in {flag} in: the next run would take it for videos; give "
        assert (status, said.count("\n")) == (2, 1) and said.startswith(told)
    assert [path.name for path in Path("in").iterdir()] == ["1.gif"]


@pytest.mark.parametrize(
    "script, needed",
    [
        (ucf101, ("--lists", ".", "--videos")),
        (radar, ("--images",)),
        (microscopy, ("--images",)),
        (cats, ("--images",)),
        (kitti, ("--images",)),
    ],
)
def test_a_mistake_is_told_in_one_line(run, script, needed):
    status, _, said = run(script, *needed, "nowhere")
    assert status == 2 and said.startswith("error: no folder 'nowhere'") and said.count("\n") == 1
    Path("empty").mkdir()
    status, _, said = run(script, *needed, "empty")
    assert status == 2 and said.startswith("error: ") and said.count("\n") == 1


def test_a_place_that_cannot_be_written_to_is_told_in_plain_words(run):
    Path("in").mkdir()
    Image.new("P", (8, 6)).save("in/1.png")
    Path("file").touch()
    status, _, said = run(radar, "--images", "in", "--out", "file")
    told = "cannot write to file: File exists; give another place"
    assert (status, said) == (2, f"error: {told}\n")


@pytest.mark.parametrize(
    "arguments, told",
    [
        (("--train", 0, "--test", 0), "--train and --test are both 0"),
        (("--out", ""), "argument --out: '' is not valid"),
        (("--out", "s3://bucket"), "argument --out: 's3://bucket' is not valid"),
        (("--frames", 10**12), "argument --frames: '1000000000000' is not valid"),
        (("--published", "nowhere"), "no file 'nowhere'"),
        (("--published", "damaged"), "damaged has no sequences ("),
        (("--published", "short.npy"), "short.npy has no sequences (mmap length is"),
        (("--published", "films.npy"), "films.npy has no sequences (uint8 (20, 32, 32), not uint8"),
        (("--published", "long.npy"), "long.npy has no sequences (uint8 (30, 5, 64, 64), not u"),
        (("--published", "bracket.npy"), "bracket.npy has no sequences ("),
        (("--digits", ""), "no file ''"),
        (("--digits", "pipe"), "no file 'pipe'"),
        (("--digits", "damaged"), "damaged has no digits"),
        (("--digits", "none"), "none has no digits"),
    ],
)
def test_moving_mnist_finds_mistakes_before_it_makes_anything(run, arguments, told):
    os.mkfifo("pipe")
    packed = bytearray(gzip.compress(bytes(10**5)))
    packed[20:40] = b"\xff" * 20
    Path("damaged").write_bytes(packed)
    np.save("films.npy", np.zeros((20, 32, 32), np.uint8))
    np.save("short.npy", np.zeros((20, 3, 64, 64), np.uint8))
    os.truncate("short.npy", 5000)
    np.save("long.npy", np.zeros((30, 5, 64, 64), np.uint8))
    header = b"{'descr': ((((((".ljust(117) + b"\n"
    Path("bracket.npy").write_bytes(b"\x93NUMPY\1\0" + bytes([len(header), 0]) + header)
    Path("none").write_bytes(bytes([0, 0, 8, 3, *(0, 0, 0, 0), *(0, 0, 0, 28), *(0, 0, 0, 28)]))
    status, said, error = run(moving_mnist, "--train", 1, *arguments)
    assert (status, said) == (2, "") and error.startswith(f"error: {told}"), error
    assert error.count("\n") == 1 and "Errno" not in error
    assert not Path("data").exists()


@pytest.mark.parametrize("script", [kth, ucf101])
def test_a_list_that_cannot_be_read_is_told_at_once(run, script):
    Path("films").mkdir()
    Path("lists").mkdir()
    lists = ("--sequences", "lists/trainlist01.txt") if script is kth else ("--lists", "lists")
    path = Path("lists/trainlist01.txt")
    missing, pipe = (f"cannot read {path}: {why}: give " for why in (os.strerror(2), "not a file"))
    if script is kth:  # names the file itself, so it is looked for at once
        missing = pipe = f"no file '{path}': give "
    for make, told in (
        (lambda: None, missing),
        (lambda: os.mkfifo(path), pipe),
        (lambda: path.unlink() or path.write_bytes(b"\xff"), "lists/trainlist01.txt is not text: "),
    ):
        make()
        status, _, error = run(script, "--videos", "films", *lists)
        assert status == 2 and error.startswith(f"error: {told}"), error
