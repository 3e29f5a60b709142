"""The best generator so far stays, also across a resume, but for one with other test clips."""

import types
from pathlib import Path

import numpy as np
import pytest

from utils import rundir
from utils.archive import is_whole
from utils.best import Best
from utils.stack import L, chainer


def test_only_a_higher_psnr_replaces_the_best(tmp_path, capsys):
    gen = chainer.Chain(layer=L.Linear(1, 1))

    def report(best, psnr):
        """A validation that finds this PSNR of weights that are the same number."""
        gen.layer.W.array.fill(psnr)
        best(types.SimpleNamespace(observation={"val/psnr": psnr}, out=tmp_path))
        with np.load(tmp_path / rundir.BEST) as kept:
            return kept["layer/W"].item()

    best, resumed, other = Best(gen, "a"), Best(gen, "a"), Best(gen, "b")
    assert [report(best, psnr) for psnr in (-3.0, 25.0, 22.0, 26.5)] == [-3, 25, 25, 26.5]
    chainer.serializers.save_npz(tmp_path / "state.npz", best)
    chainer.serializers.load_npz(tmp_path / "state.npz", resumed)
    assert [report(resumed, psnr) for psnr in (26.0, 27.0)] == [26.5, 27]
    resumed.initialize(types.SimpleNamespace(out=tmp_path))
    assert capsys.readouterr().err == ""
    chainer.serializers.load_npz(tmp_path / "state.npz", other)
    assert "best on other test clips" in capsys.readouterr().err
    assert [report(other, psnr) for psnr in (20.0, 19.0)] == [20, 20]


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"PK")])
def test_a_best_that_is_damaged_or_gone_is_chosen_anew(tmp_path, damage, capsys):
    gen, trainer = chainer.Chain(layer=L.Linear(1, 1)), types.SimpleNamespace(out=tmp_path)
    trainer.observation = {"val/psnr": 25.0}
    best = Best(gen, "a")
    best(trainer)
    damage(tmp_path / rundir.BEST)
    best.initialize(trainer)
    told = f"warning: {tmp_path / rundir.BEST}: damaged or gone, it is chosen anew\n"
    assert capsys.readouterr().err == told
    trainer.observation = {"val/psnr": 20.0}
    best(trainer)
    assert is_whole(tmp_path / rundir.BEST)
