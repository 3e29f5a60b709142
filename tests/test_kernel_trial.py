"""Own CUDA kernels tried as a device is opened, and what computes without them."""

import re

import numpy as np
import pytest

from tests.test_gpu import gpu as gpu
from tests.test_kernels import SOURCES
from tests.updaters import CPU, adversarial, assert_alike, take_steps
from utils import kernel_trial, supply
from utils.errors import Diverged, UserError
from utils.stack import F, casts, cudnn, gpu_relu, kernels


@pytest.fixture
def untried(monkeypatch):
    """As if none had been tried."""
    monkeypatch.setattr(kernels, "_failed", False)
    kernel_trial.try_kernels.cache_clear()
    yield
    kernel_trial.try_kernels.cache_clear()


@pytest.mark.gpu
def test_all_kernels_pass_the_trial(gpu, untried, capsys):
    kernel_trial.compare(gpu)
    kernel_trial.try_kernels(gpu)
    assert kernels.usable() and not capsys.readouterr().err


@pytest.mark.gpu
def test_every_kernel_is_tried(gpu_with_cudnn, monkeypatch):
    tried, compiled = set(), kernels.compiled
    monkeypatch.setattr(kernels, "compiled", lambda *told: tried.add(told) or compiled(*told))
    kernel_trial.compare(gpu_with_cudnn)
    every = set(re.findall(r"__global__ void (\w+)\(", "".join(SOURCES.values())))
    sources, names = map(set, zip(*tried, strict=True))
    assert names == every - {"idle"}
    assert sources > {*casts.SOURCES.values(), *gpu_relu.SOURCES.values()}


@pytest.mark.gpu
def test_a_gpu_without_bfloat16_has_the_other_kernels(gpu_with_cudnn, untried, monkeypatch, capsys):
    own = kernels.compiled

    def compiled(source, name):
        return broken() if ".bf16" in source else own(source, name)

    monkeypatch.setattr(kernels, "compiled", compiled)
    monkeypatch.setattr(cudnn, "capability", lambda: 75)
    kernel_trial.try_kernels(gpu_with_cudnn)
    assert kernels.usable() and not capsys.readouterr().err
    with cudnn.using_dtype("float16"):
        assert cudnn.in_words().endswith("in float16")
    assert cudnn.in_words().endswith("in float32")


def broken(*told):
    raise RuntimeError("NVRTC_ERROR_COMPILATION\nline 1")


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["adam", "join"])
def test_a_kernel_that_fails_turns_all_off_with_one_line(gpu, untried, monkeypatch, capsys, name):
    own = kernels.compiled

    def compiled(source, called):
        return broken() if called == name else own(source, called)

    monkeypatch.setattr(kernels, "compiled", compiled)
    for _ in range(2):
        kernel_trial.try_kernels(gpu)
    said = "own CUDA kernels do not work here (NVRTC_ERROR_COMPILATION line 1), slower ones do\n"
    assert capsys.readouterr().err == said and not kernels.usable()
    assert_alike(take_steps(adversarial(gpu), 3), take_steps(adversarial(CPU), 3), rel=2e-3)


@pytest.mark.gpu
def test_wrong_numbers_are_a_failure(gpu, untried, monkeypatch, capsys):
    gathered = supply.gathered
    monkeypatch.setattr(supply, "gathered", lambda *told: gathered(*told) + 0.02)
    kernel_trial.try_kernels(gpu)
    assert "results are off by 0.0" in capsys.readouterr().err and not kernels.usable()


@pytest.mark.gpu
def test_nan_at_the_end_is_a_failure(gpu_with_cudnn, monkeypatch):
    cast = kernel_trial.cast
    monkeypatch.setattr(kernel_trial, "cast", lambda *told: [a * np.nan for a in cast(*told)])
    with pytest.raises(ArithmeticError, match="off by nan"):
        kernel_trial.compare(gpu_with_cudnn)


@pytest.mark.gpu
def test_kernels_that_are_turned_off_are_not_used(gpu, untried, monkeypatch, capsys):
    monkeypatch.setenv("CHAINER_KERNELS", "0")
    monkeypatch.setattr(kernels, "compiled", broken)
    kernel_trial.try_kernels(gpu)
    assert not capsys.readouterr().err
    assert_alike(take_steps(adversarial(gpu), 3), take_steps(adversarial(CPU), 3), rel=2e-3)
    clips = np.random.default_rng(0).integers(0, 256, (3, 2, 3, 4, 5), np.uint8)
    frames = supply.gathered(gpu.send(clips), gpu.send(np.array([2, 0]))).get()
    assert np.array_equal(frames, clips[[2, 0]].astype("f") / np.float32(127.5) - 1)
    joined = F.concat([gpu.xp.ones((2, 1), "f"), gpu.xp.zeros((2, 2), "f")]).array
    assert joined.get().tolist() == [[1, 0, 0]] * 2


@pytest.mark.gpu
def test_without_kernels_a_divergence_is_told_at_once(gpu, untried, monkeypatch, tmp_path):
    from utils.trainer import Trainer

    monkeypatch.setenv("CHAINER_KERNELS", "0")
    trainer = Trainer(
        adversarial(gpu, lr=float("inf")), tmp_path, 20, report_every=10, snapshot_every=20, kept=1
    )
    with pytest.raises(Diverged, match="^iteration [12] diverged: "):
        trainer.run()


def test_types_of_16_bits_need_the_kernels(monkeypatch):
    monkeypatch.setenv("CHAINER_KERNELS", "0")
    monkeypatch.setattr(cudnn, "missing", lambda: None)
    with pytest.raises(UserError, match="^bfloat16 needs own CUDA kernels"):
        cudnn._refuse_impossible("bfloat16")
