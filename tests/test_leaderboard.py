"""Several runs in one table."""

import csv
import json
import warnings

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from benchmarks import leaderboard as race
from utils import curves, leaderboard
from utils.leaderboard import COPY, Entry


def means(psnr, mse):
    """Of a model and of the copy, two predicted frames."""
    values = {"psnr": np.array(psnr), "mse": np.array(mse), "moving": np.array([0.1, 0.1])}
    copy = {"psnr": np.array([20.0, 18.0]), "mse": np.array([0.01, 0.016]), "moving": [0.1, 0.1]}
    return {
        (predictor, area): found
        for predictor, found in (("model", values), ("copy", copy))
        for area in ("whole", "moving")
    }


@pytest.fixture
def entries():
    good = Entry("good", means([25.0, 22.0], [0.003, 0.006]), "model", 2_500_000, 3 * 10**9, 0.02)
    bad = Entry("bad", means([12.0, np.nan], [0.06, np.nan]), iterations=10, training=5.5)
    return leaderboard.with_copy([bad, good])


@pytest.mark.parametrize("metric", ["psnr", "mse"])
def test_the_best_comes_first_whichever_way_the_metric_runs(entries, metric):
    order = leaderboard.ranked(entries, metric, "moving")
    assert [entry.name for entry in order] == ["good", COPY, "bad"]


def test_the_order_is_that_of_the_area_asked_for_and_contrast_is_best_at_1():
    def entry(name, whole, moving):
        contrasts = {"whole": whole, "moving": moving}
        means = {("model", a): {"edge_contrast": np.array([x])} for a, x in contrasts.items()}
        return Entry(name, means)

    entries = [entry("blurred", 0.5, 0.9), entry("edgy", 1.2, 1.4)]
    for area, order in (("whole", ["edgy", "blurred"]), ("moving", ["blurred", "edgy"])):
        found = leaderboard.ranked(entries, "edge_contrast", area)
        assert [entry.name for entry in found] == order


def test_the_table_is_markdown_with_the_costs(entries):
    lines = leaderboard.table(entries, "psnr", "whole").splitlines()
    assert {line.count("|") for line in lines} == {9}
    assert len({len(line) for line in lines}) == 1
    good = next(line for line in lines if "good" in line)
    for cell in ("25.00", "23.50", "22.00", "2.50 M", "3.00", "20"):
        assert f" {cell} |" in good
    assert "10 it, 6 s" in next(line for line in lines if "bad" in line)


def test_files_hold_every_run_and_the_copy(entries, tmp_path):
    leaderboard.save_csv(tmp_path / "l.csv", entries)
    with open(tmp_path / "l.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 2 * 2
    assert rows[0]["run"] == "bad" and float(rows[0]["psnr"]) == 12

    leaderboard.save_json(tmp_path / "l.json", {"frames": 2}, entries)
    read = json.loads((tmp_path / "l.json").read_text())
    assert [run["name"] for run in read["runs"]] == ["bad", "good", COPY]
    assert read["runs"][0]["means"]["model"]["whole"]["psnr"] == [12, None]

    curves.save(tmp_path / "l.png", entries, ["psnr"])
    with Image.open(tmp_path / "l.png") as plot:
        assert plot.size == (1560, 540)


@pytest.mark.filterwarnings("error")
def test_a_run_of_which_nothing_is_known_comes_last(entries):
    unknown = Entry("unknown", means([np.nan, np.nan], [np.nan, np.nan]))
    for metric in ("psnr", "mse"):
        order = leaderboard.ranked([unknown, *entries], metric, "moving")
        assert order[0].name == "good" and order[-1].name == "unknown"
        last = leaderboard.table(order, metric, "moving").splitlines()[-1]
        assert [cell.strip() for cell in last.split("|")[2:5]] == ["-"] * 3


def test_many_runs_of_any_name_are_told_apart_beside_the_curves(tmp_path, monkeypatch):
    names = ["_base", r"$\frac", "a$b$", "日本", *map(str, range(16))]
    levels = [Entry(name, means([k, k], [1, 1])) for k, name in enumerate(names)]
    legends, legend = [], Figure.legend

    def keep(figure, *args, **kwargs):
        legends.append(legend(figure, *args, **kwargs))
        return legends[-1]

    monkeypatch.setattr(Figure, "legend", keep)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        curves.save(tmp_path / "l.png", leaderboard.with_copy(levels), ["psnr"])
    (shown,) = legends
    assert [text.get_text().strip() for text in shown.get_texts()] == [*names, COPY]
    styles = {(line.get_color(), line.get_linestyle()) for line in shown.get_lines()}
    assert len(styles) == len(names) + 1
    shown.get_texts()[3].set_text("")  # to draw it once more would warn
    right = max(axes.get_window_extent().x1 for axes in shown.figure.axes)
    assert shown.get_window_extent().x0 > right  # beside them, hiding nothing


def test_what_a_training_took_is_told_only_where_it_is_known(entries, tmp_path):
    rows = leaderboard.table(entries, "psnr", "whole").splitlines()
    last = {row.split("|")[1].strip(): row.split("|")[-2].strip() for row in rows[2:]}
    assert last == {"bad": "10 it, 6 s", "good": "?", COPY: ""}
    leaderboard.save_json(tmp_path / "l.json", {}, entries)
    runs = json.loads((tmp_path / "l.json").read_text())["runs"]
    known = {run["name"]: (run["iterations"], run["training"]) for run in runs}
    assert known == {"bad": (10, 5.5), "good": (None, None), COPY: (0, 0)}


@pytest.mark.parametrize(
    "more, told",
    [
        (("--images", "a"), "argument --images: 'a' is not valid; give NAME=FOLDER, a folder"),
        (("--images", "a=nowhere"), "argument --images: 'a=nowhere' is not valid"),
        (("--images", "a=.", "--minutes", "nan"), "argument --minutes: 'nan' is not valid"),
        (("--images", "a=.", "--frames", "0"), "argument --frames: '0' is not valid"),
        (("--images", "a=."), "process_data.py ended with status 2: fix what it reports above"),
    ],
)
def test_a_race_that_cannot_be_run_is_told_in_one_line(tmp_path, monkeypatch, capfd, more, told):
    monkeypatch.chdir(tmp_path)  # which holds no videos
    with pytest.raises(SystemExit) as caught:
        race.main([str(tmp_path / "work"), *more])
    assert caught.value.code == 2
    assert capfd.readouterr().err.splitlines()[-1].startswith(f"error: {told}")
