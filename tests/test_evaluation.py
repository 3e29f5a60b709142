"""What test.py works out from a clip with a prediction of its end."""

import csv
import json
import os

import numpy as np
import pytest
from PIL import Image

import models
from tests.shared import PACMAN, needs_shared
from utils import cost, metrics, pictures, report, results
from utils.conventions import CONVENTIONS
from utils.errors import Diverged
from utils.evaluation import score
from utils.gallery import animate, contact_sheet, stems
from utils.metrics import METRICS
from utils.pictures import GIF_SIDE
from utils.pixels import normalise
from utils.rollout import predict
from utils.stack import chainer
from utils.trial import examine_videos
from utils.videos import find_videos
from utils.windows import windows


@pytest.fixture
def clip():
    """Eight frames of a bright square that moves a pixel a frame, after four of it."""
    frames = np.zeros((12, 3, 40, 40), np.uint8)
    for t in range(12):
        frames[t, :, 10:20, 5 + t : 15 + t] = 200
    return frames


def test_the_truth_beats_copying_and_copying_equals_the_last_frame(clip):
    perfect = normalise(clip[4:])
    found = score(perfect, clip)
    assert (found["model", "whole"]["psnr"] > 140).all()
    copied = score(np.repeat(normalise(clip[3:4]), 8, axis=0), clip)
    for area in ("whole", "moving"):
        for name, values in copied["model", area].items():
            assert values == pytest.approx(found["copy", area][name], nan_ok=True), name
    assert (np.diff(found["copy", "whole"]["psnr"]) < 0).all()  # it falls behind


def test_the_moving_area_is_judged_by_its_own_pixels(clip):
    found = score(normalise(clip[4:]) * 0, clip)
    share = found["model", "moving"]["moving"]
    assert share == pytest.approx([18 * 18 / 1600] * 8)
    mse = found["copy", "moving"]["mse"] * share
    assert mse[0] == pytest.approx(found["copy", "whole"]["mse"][0])  # all its error is in there
    inside = found["model", "moving"]
    assert inside["mse_openstl"] == pytest.approx(inside["mse"] * share * 3 * 1600)
    assert (inside["mse_openstl"] < 0.5 * found["model", "whole"]["mse_openstl"]).all()


def test_edge_contrast_of_a_blank_prediction_is_none_in_the_moving_area_either(clip):
    found = score(normalise(clip[4:]) * 0, clip)
    assert found["model", "moving"]["edge_contrast"] == pytest.approx([0] * 8)
    assert found["copy", "moving"]["mae"][0] > found["copy", "whole"]["mae"][0]


def test_frames_in_which_nothing_moves_have_no_number_by_any_convention(clip):
    clip[8:] = clip[8]
    found = score(normalise(clip[4:]), clip)["model", "moving"]
    for name in (*METRICS, *CONVENTIONS):
        assert np.isnan(found[name][5:]).all(), name
    assert np.isnan(found["psnr_mathieu"]).all()  # theirs leaves out what is that close
    assert not np.isnan(found["psnr_dyelax"][:4]).any()


class Film:
    """A video of these frames, uint8 (T, C, H, W)."""

    name = path = "a"

    def __init__(self, frames):
        self.frames = frames

    def __len__(self):
        return len(self.frames)

    def read(self, start, stop):
        return list(self.frames[start:stop].transpose(0, 2, 3, 1))


@pytest.mark.parametrize("lively", [0, 12])
def test_the_example_is_the_place_where_most_moves(clip, lively, tmp_path):
    still = clip[-1:].repeat(12, axis=0)
    film = Film(np.concatenate([still, clip] if lively else [clip, still]))
    model = models.create("last-frame", 4, 1, 3, (40, 40))
    how = {"history": 4, "frames": 8, "windows": 3, "gifs": 1, "arrays": True}
    trial = examine_videos(model, [film], tmp_path, "", **how)
    assert list(trial.scores) == [("a", 0), ("a", 6), ("a", 12)] and len(trial.seconds) == 3
    ((name, shown, predicted),) = trial.shown
    assert name == "a" and np.array_equal(shown, clip)
    assert np.array_equal(predicted, normalise(clip[3:4]).repeat(8, axis=0))
    found, wanted = trial.scores["a", lively], score(predicted, clip)
    assert np.array_equal(found["model", "whole"]["mse"], wanted["model", "whole"]["mse"])

    assert (trial.gifs, trial.arrays) == ({"a": "a.gif"}, ["a.npz"])
    with np.load(tmp_path / "a.npz") as kept:
        arrays = dict(kept)
    assert arrays["start"].tolist() == [0, 6, 12]
    place = arrays["start"].tolist().index(lively)
    assert np.array_equal(arrays["past"][place], clip[:4])
    assert np.array_equal(arrays["true"][place], clip[4:])
    assert np.array_equal(arrays["predicted"][place], clip[3:4].repeat(8, axis=0))


def test_operations_are_those_for_the_largest_frames(clip, tmp_path):
    model = models.create("conv2d", 4, 1, 3, (40, 40))
    how = {"history": 4, "frames": 8, "windows": 1, "gifs": 0, "arrays": False}
    films = [Film(clip[..., :1, :1]), Film(clip[..., :20]), Film(clip[..., :9, :9])]
    trial = examine_videos(model, films, tmp_path, "", **how)
    assert trial.entry(model, {}).flops == cost.flops(model, (40, 20)) > 0


def test_of_a_video_in_which_nothing_moves_one_place_is_shown(clip, tmp_path):
    model = models.create("last-frame", 4, 1, 3, (40, 40))
    film = Film(clip[-1:].repeat(12, axis=0))
    how = {"history": 4, "frames": 8, "windows": 1, "gifs": 0, "arrays": False}
    trial = examine_videos(model, [film], tmp_path, "", **how)
    assert len(trial.shown) == 1 and trial.gifs == {}


def test_a_video_whose_name_is_no_text_has_its_numbers(clip, tmp_path):
    folder = tmp_path / os.fsdecode(b"lat\xe9in")
    folder.mkdir()
    for number, frame in enumerate(clip):
        Image.fromarray(frame.transpose(1, 2, 0)).save(folder / f"{number}.png")
    model = models.create("last-frame", 4, 1, 3, (40, 40))
    (video,) = find_videos(tmp_path)
    how = {"history": 4, "frames": 8, "windows": 1, "gifs": 1, "arrays": True}
    trial = examine_videos(model, [video], tmp_path, "", **how)
    trial.save(tmp_path, {})
    with open(tmp_path / "metrics.csv", encoding="utf-8") as file:
        assert {row["video"] for row in csv.DictReader(file)} == {r"lat\xe9in"}


def test_a_prediction_that_is_not_finite_is_told_with_its_frame(clip):
    class Fading:
        history, horizon, xp, device = 4, 1, np, chainer.get_device("@numpy")

        def __call__(self, past):
            last = past[:, -1:]
            return chainer.Variable(np.where(last < 0.3, np.float32(np.nan), last / 2))

    bright = np.full_like(clip, 255)
    assert np.isfinite(predict(Fading(), bright[:4], 2)).all()
    with pytest.raises(Diverged, match="frame 3 is predicted as NaN or infinite; ask for fewer"):
        predict(Fading(), bright[:4], 8)
    with pytest.raises(ValueError, match="3 past frames, the network sees 4"):
        predict(Fading(), bright[:3], 2)


def test_the_table_ends_with_the_last_frame_and_the_mean(clip):
    clip = np.concatenate([clip, clip[:1]])
    means = report.average([score(normalise(clip[1:]) * 0.5, clip)])
    rows = [line.split() for line in report.table(means).splitlines() if line[0].isalnum()]
    assert [row[0] for row in rows] == ["frame", *"123456789", "10", "12", "mean"]
    psnr = metrics.mean("psnr", means["model", "whole"]["psnr"])
    assert rows[-1][:3] == ["mean", "model", f"{psnr:.2f}"]


def test_every_video_has_an_animation_of_its_own(clip, tmp_path):
    names = "a/b", "a_b", "a_b", "日" * 60 + "/" + "本" * 60
    found = stems(names, taken=["a_b-2"])
    for stem in found:
        animate(tmp_path / f"{stem}.gif", clip, normalise(clip[4:]))
    assert found[:3] == ["a_b", "a_b-3", "a_b-4"]
    assert len(list(tmp_path.iterdir())) == 4


def test_frames_too_wide_for_an_animation_are_thinned(tmp_path):
    wide = np.zeros((3, 3, 8, 2000), np.uint8)  # enlarged to be seen, four panels side by side
    wide[..., 1000:] = 255
    animate(tmp_path / "a.gif", wide, normalise(wide[2:]))
    with Image.open(tmp_path / "a.gif") as animation:
        assert max(animation.size) <= GIF_SIDE and animation.n_frames == 3
        assert np.ptp(np.asarray(animation.convert("L"))) > 200


def test_a_report_holds_the_means_and_every_number(clip, tmp_path):
    scores = {("a", 0): score(normalise(clip[4:]) * 0.5, clip)}
    scores["a", 3] = score(normalise(clip[4:]) * 0.9, clip)
    means = report.average(list(scores.values()))
    whole = [found["model", "whole"]["mse"] for found in scores.values()]
    assert means["model", "whole"]["mse"] == pytest.approx(np.mean(whole, axis=0))

    text = report.table(means)
    row = next(line for line in text.splitlines() if line.startswith("8 "))
    assert f"{means['model', 'whole']['psnr'][7]:.2f}" in row
    assert f"{means['model', 'moving']['ssim'][7]:.4f}" in row

    report.save_csv(tmp_path / "m.csv", scores)
    with open(tmp_path / "m.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 2 * 8
    assert float(rows[0]["mse"]) == scores["a", 0]["model", "whole"]["mse"][0]
    assert "psnr_dyelax" in rows[0] and "ssim_openstl" in rows[0]

    report.save_json(tmp_path / "m.json", {"frames": 8}, means)
    read = json.loads((tmp_path / "m.json").read_text())
    assert read["conditions"] == {"frames": 8}
    assert read["mean"]["copy"]["whole"]["psnr"] == pytest.approx(means["copy", "whole"]["psnr"])
    mse = means["model", "moving"]["mse"].mean()
    assert read["overall"]["model"]["moving"]["mse"] == pytest.approx(mse)


def test_a_record_of_an_earlier_test_stands_for_files_in_its_own_folder_alone(tmp_path):
    report.save_json(tmp_path / "m.json", {"files": ["a.gif", "../b.gif", "/c.gif"]}, {})
    assert results.left_before(tmp_path, ["m.json"]) == ["a.gif"]


def test_only_openstl_judges_what_lies_beyond_the_range(clip):
    predicted = normalise(clip[4:]) * 3
    found, clipped = (score(p, clip) for p in (predicted, np.clip(predicted, -1, 1)))
    for area in ("whole", "moving"):
        ours, theirs = found["model", area], clipped["model", area]
        differ = [name for name in ours if not np.array_equal(ours[name], theirs[name], True)]
        assert differ == ["mse_openstl", "mae_openstl"]
    beyond = np.square((predicted - normalise(clip[4:])) / 2).sum(axis=(1, 2, 3))
    assert found["model", "whole"]["mse_openstl"] == pytest.approx(beyond)


def test_a_still_video_has_no_moving_area_and_no_number_for_it(clip, tmp_path):
    still = np.repeat(clip[:1], 12, axis=0)
    means = report.average([score(normalise(still[4:]), still)])
    assert np.isnan(means["model", "moving"]["psnr"]).all()
    assert means["model", "whole"]["psnr"] == pytest.approx([metrics.BEST_DECIBELS] * 8)
    report.save_json(tmp_path / "m.json", {}, means)
    assert "NaN" not in (tmp_path / "m.json").read_text()
    assert report.table(means).splitlines()[2].split()[-6:] == [*"-----", "0.0%"]


@needs_shared
def test_windows_are_spread_over_a_real_video():
    video = find_videos(PACMAN)[0]
    found = list(windows(video, 12, 3))
    assert [start for start, _ in found] == [0, 28, 56]
    for start, clip in found:
        assert clip.shape == (12, 3, 210, 160) and clip.dtype == np.uint8
        assert np.array_equal(clip[0].transpose(1, 2, 0), video.read(start, start + 1)[0])
    assert len(list(windows(video, 68, 4))) == 1
    assert len(list(windows(video, 67, 10**12))) == 2


@needs_shared
def test_a_video_too_short_is_named(capsys):
    assert list(windows(find_videos(PACMAN)[0], 69, 4)) == []
    assert "68 frames, 69 are needed" in capsys.readouterr().err


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_show_past_truth_prediction_and_error(clip, channels, tmp_path):
    clip = clip[:, :channels]
    predicted = normalise(clip[4:])
    animate(tmp_path / "a.gif", clip, predicted)
    with Image.open(tmp_path / "a.gif") as shots:
        assert shots.n_frames == 12
        shots.seek(6)
        past, truth, guess, error = np.array_split(np.asarray(shots.convert("RGB"))[14:], 4, axis=1)
        assert np.abs(truth[:, 10:110].astype(int) - guess[:, 10:110]).mean() < 8
        assert error[:, 10:110].max() == 0 and past.max() > 150
    contact_sheet(tmp_path / "sheet.png", [("a", clip, predicted), ("b", clip, predicted)])
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (9 * 120 + 8 * 4, 6 * (120 + 14) + 5 * 4)


def test_videos_of_different_sizes_share_a_sheet(clip, tmp_path):
    wide = np.repeat(clip, 4, axis=-1)
    shown = [(name, c, normalise(c[4:])) for name, c in (("a", clip), ("b", wide))]
    contact_sheet(tmp_path / "sheet.png", shown)
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape[1] == 9 * 480 + 8 * 4  # of the wide one
    assert (pixels[:400, 9 * 120 + 8 * 4 :] == pictures.BACKGROUND).all()
