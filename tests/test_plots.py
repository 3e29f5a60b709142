"""Curves of a training."""

from types import SimpleNamespace

import numpy as np
from PIL import Image

from tests.processes import run_python
from utils import plots, rundir


class Training:
    """As much of a trainer as the plots look at."""

    def __init__(self):
        self.over = False
        self.log = SimpleNamespace(entries=[])

    def get_extension(self, name):
        assert name == "log"
        return self.log

    def ends(self, _):
        return self.over


def test_the_backend_that_a_notebook_asks_for_need_not_be_there():
    code = "import os, utils.plots; print(os.environ['MPLBACKEND'])"
    backend = "module://missing.backend"
    done = run_python("-c", code, environment={"MPLBACKEND": backend})
    assert (done.returncode, done.stdout.strip()) == (0, backend), done.stderr


def test_rundir_names_every_plot():
    assert tuple(plots.CURVES) == rundir.PLOTS


def test_what_was_reported_last_is_drawn_however_the_training_ends(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "draw", lambda path, entries, *_: drawn.append(len(entries)))
    training, curves = Training(), plots.Plots()
    training.out = tmp_path
    for number in (100, 200, 300):
        training.log.entries.append({"iteration": number, "gen/l2": 1.0})
        curves(training)
    assert drawn == [1]  # the others come too soon
    training.over = True
    curves(training)
    curves(training)  # as for the last iteration, then for the end
    assert drawn == [1, 3]


def test_a_lone_report_can_be_seen(tmp_path):
    shots = []
    for value in (1.0, np.nan):
        entries = [{"iteration": 10, "gen/l2": value}]
        plots.draw(tmp_path / "loss.png", entries, ["gen/l2"], "loss")
        with Image.open(tmp_path / "loss.png") as picture:
            shots.append(np.asarray(picture.convert("RGB")).astype(int))
    blue = [(shot[..., 2] - shot[..., 0] > 100).sum() for shot in shots]
    assert blue[0] > blue[1]  # the legend has some in any case
