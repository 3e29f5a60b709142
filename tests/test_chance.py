"""Random draws of training: what they are, and that a saved network goes on with them."""

import numpy as np
import pytest

import models
from models.chance import GaussianNoise, ScheduledSampling, keeping_series
from utils.stack import L, chainer
from utils.weights import load_weights, save_weights


def frames(time=2, seed=0):
    shape = (4, time, 3, 8, 8)
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def shown(teacher, time=2, batch=4):
    """Which of the true frames, all 1, the teacher shows instead of predicted ones, all 0."""
    true = np.ones((batch, time, 1, 1, 1), np.float32)
    show = teacher(true)
    zero = np.zeros((batch, 1, 1, 1, 1), np.float32)
    return np.concatenate([show(t, zero).array for t in range(time)], axis=1).ravel()


def test_weights_of_another_run_do_not_bring_its_series(tmp_path):
    other = chainer.Sequential(ScheduledSampling(1, sampling_decay=0.1), L.Linear(2, 2))
    for _ in range(5):
        shown(other[0])
    save_weights(tmp_path / "weights", other)
    np.random.seed(1)
    chain = chainer.Sequential(ScheduledSampling(1, sampling_decay=0.1), L.Linear(2, 2))
    seed = chain[0].seed
    with keeping_series(chain):
        load_weights(tmp_path / "weights", chain)
    assert (chain[0].seed, chain[0].draws) == (seed, 0) and shown(chain[0]).all()
    assert np.array_equal(chain[1].W.array, other[1].W.array)


def test_noise_is_a_share_of_the_range_and_for_training_only():
    noise, still = GaussianNoise(0.1), np.zeros((4, 3, 64, 64), np.float32)
    noisy = noise(still)
    assert noisy.dtype == np.float32
    assert noisy.std() == pytest.approx(0.2, rel=0.02) and abs(noisy.mean()) < 0.01
    assert not np.array_equal(noise(still), noisy)
    with chainer.using_config("train", False):
        assert np.array_equal(noise(still), still)


def test_a_teacher_always_or_never_shows_the_truth():
    assert shown(ScheduledSampling(1)).all()
    assert not shown(ScheduledSampling(0)).any()


def test_a_teacher_shows_the_truth_less_and_less():
    teacher = ScheduledSampling(1, sampling_decay=0.01)
    share = [shown(teacher, batch=500).mean() for _ in range(120)]
    assert share[0] == 1
    assert share[25] == pytest.approx(0.75, abs=0.07)
    assert share[75] == pytest.approx(0.25, abs=0.07)
    assert not any(share[100:])


def test_a_teacher_decides_for_each_frame_of_each_clip():
    choices = shown(ScheduledSampling(0.5), batch=50).reshape(50, 2)
    assert 0 < choices.mean() < 1
    assert (choices[:, 0] != choices[:, 1]).any()


@pytest.mark.parametrize(
    "arch, options",
    [
        ("seq2seq", {"width": "small", "teacher_forcing": 0.5}),
        ("convlstm-forecaster", {"width": "small", "sampling_decay": 0.2}),
        ("conv3d-residual", {"noise": 0.1}),
        ("hourglass", {"noise": 0.1}),
    ],
)
def test_a_saved_network_draws_on_where_it_stopped(arch, options, tmp_path):
    def create(seed):
        np.random.seed(seed)
        return models.create(arch, 2, 3, 3, (8, 8), **options)

    def trainings(model, number):
        return [model.training_pyramid(frames(), frames(3))[-1].array for _ in range(number)]

    with chainer.using_config("dtype", np.float32):
        model = create(seed=0)
        trainings(model, 2)
        save_weights(tmp_path / "weights", model)
        expected = trainings(model, 2)
        resumed = create(seed=1)
        load_weights(tmp_path / "weights", resumed)
        assert all(map(np.array_equal, trainings(resumed, 2), expected))
    assert not np.array_equal(*expected)


@pytest.mark.parametrize(
    "arch, options, message",
    [
        ("conv3d-residual", {"noise": -0.1}, "noise=-0.1: must be a number from 0 up"),
        ("seq2seq", {"teacher_forcing": 2.0}, "teacher_forcing=2.0: must be from 0 to 1"),
        ("convlstm-s", {"sampling_decay": -0.1, "patch": 4}, "sampling_decay=-0.1: must be a"),
        ("convlstm-s", {"sampling_decay": np.nan, "patch": 4}, "sampling_decay=nan: must be a"),
    ],
)
def test_impossible_chances_are_refused(arch, options, message):
    with pytest.raises(ValueError, match=message):
        models.create(arch, 2, 1, 3, (8, 8), **options)
