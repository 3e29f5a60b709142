"""The file that a run logs to."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from utils import plots
from utils.log import Log
from utils.progress import line
from utils.stack import chainer


@pytest.fixture
def trainer(tmp_path):
    updater = SimpleNamespace(iteration=1, epoch=0)
    return SimpleNamespace(observation={}, updater=updater, elapsed_time=1.0, out=tmp_path)


def test_what_has_no_mean_is_null_in_the_file(trainer, tmp_path):
    """As the SSIM of frames under 11 pixels is."""
    log = Log(lambda _: True)
    trainer.observation = {"val/ssim": np.nan, "val/psnr": np.float32(20)}
    log(trainer)
    (entry,) = json.loads((tmp_path / "log").read_text(), parse_constant=pytest.fail)
    assert entry == log.entries[0] and (entry["val/ssim"], entry["val/psnr"]) == (None, 20)
    assert line(entry) == "iteration 1, 1 s: val/psnr 20"
    plots.draw(tmp_path / "ssim.png", log.entries, ["val/ssim"], "SSIM")


def test_losses_are_means_validations_are_the_latest(trainer):
    log = Log(lambda trainer: trainer.updater.iteration == 4)
    for iteration in range(1, 5):
        trainer.updater.iteration = iteration
        trainer.observation = {"gen/l2": iteration}
        if iteration in (2, 3):
            trainer.observation |= {"val/psnr": 10 * iteration, "copy/psnr": iteration}
        log(trainer)
    (entry,) = log.entries
    assert (entry["gen/l2"], entry["val/psnr"], entry["copy/psnr"]) == (2.5, 30, 3)


def test_what_has_no_mean_is_resumed(trainer, tmp_path):
    resumed = Log(lambda _: True)
    state = '[[{"gen/l2": null, "iteration": 1}], {"gen/l2": [null, 1]}]'

    class Snapshot(chainer.Deserializer):
        def __call__(self, key, value):
            return state

    resumed.serialize(Snapshot())
    assert resumed.entries == [{"gen/l2": None, "iteration": 1}]
    trainer.observation = {"gen/l2": 0.5}
    resumed(trainer)
    assert resumed.entries[1]["gen/l2"] is None  # its sum is of one that is unknown
    json.loads((tmp_path / "log").read_text(), parse_constant=pytest.fail)
    saved = {}
    resumed.sums = {"gen/l2": [np.nan, 1]}
    resumed.serialize(saved.setdefault)
    json.loads(saved["state"], parse_constant=pytest.fail)
