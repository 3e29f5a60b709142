"""test.py on runs that need pasts of different lengths."""

import csv
import json

import numpy as np

import models
import test as testing
from utils import rundir
from utils.weights import save_weights

DATA = {"path": "clips", "fingerprint": "7"}


def test_all_runs_predict_the_same_frames_whatever_past_they_need(tmp_path, capsys):
    film = np.zeros((12, 16, 16), np.uint8)
    film[:, :, 9:] = np.random.default_rng(0).integers(0, 256, film[:, :, 9:].shape)
    np.save(tmp_path / "a.npy", film)
    for name, history in (("two", 2), ("four", 4)):
        run = tmp_path / "runs" / name
        run.mkdir(parents=True)
        form = {"history": history, "horizon": 1, "channels": 3, "size": [16, 16]}
        model = {"arch": "last-frame", **form, "pyramid": None, "width": None}
        save_weights(run / rundir.MODEL, models.create(**model))
        rundir.write_options(run, {"options": {}, "model": model, "data": DATA})
    few = ("-f", 3, "-w", 2, "--by", "mse", "--area", "whole", "-o", tmp_path / "out")
    command = ("--load", tmp_path / "runs", "--images", tmp_path / "a.npy", *few)
    testing.main(list(map(str, command)))

    two, four = ((tmp_path / "out" / name / "metrics.csv").read_text() for name in ("two", "four"))
    assert two == four
    rows = list(csv.DictReader(two.splitlines()))
    assert {row["start"] for row in rows} == {"0", "5"}  # the last places with 4 + 3 frames
    found = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    assert {run["name"] for run in found["runs"]} == {"two", "four", "copy last"}
    means = found["runs"][0]["means"]["model"]
    assert means["whole"]["mse"][0] < 0.8 * means["moving"]["mse"][0]
    told = capsys.readouterr().out.partition("mse, whole, of 3 predicted frames:")[2]
    assert told.count(f" {means['whole']['mse'][0]:#.4g} |") == 3
