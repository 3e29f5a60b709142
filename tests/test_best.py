"""The best generator so far stays, also across a resume, but for one with other test clips."""

import types

import numpy as np

from utils import rundir
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
    assert capsys.readouterr().err == ""
    chainer.serializers.load_npz(tmp_path / "state.npz", other)
    assert "best on other test clips" in capsys.readouterr().err
    assert [report(other, psnr) for psnr in (20.0, 19.0)] == [20, 20]
