"""What every architecture must do; each file of models/ with a `build` is tried, none is named."""

import numpy as np
import pytest

import models
from utils.rollout import rollout
from utils.stack import chainer
from utils.weights import load_weights, save_weights

HISTORY, HORIZON, SIZE = 4, 1, (32, 32)


@pytest.fixture(params=sorted(models.builders()))
def arch(request):
    return request.param


def create(arch, channels=3):
    np.random.seed(0)
    return models.create(arch, HISTORY, HORIZON, channels, SIZE)


def past(channels=3, batch=2, size=SIZE, seed=0):
    shape = (batch, HISTORY, channels, *size)
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 3])
def test_predicts_at_every_scale(arch, channels):
    model = create(arch, channels)
    predicted = model.pyramid(past(channels))
    sizes = [tuple(n // factor for n in SIZE) for factor in model.factors]
    assert [p.shape for p in predicted] == [(2, HORIZON, channels, *size) for size in sizes]
    assert [s.shape[-2:] for s in model.scales(past(channels))] == sizes
    assert model(past(channels)).array.dtype == np.float32
    assert np.array_equal(model(past(channels)).array, predicted[-1].array)


@pytest.mark.parametrize("size", [(40, 32), (33, 35), (50, 44)])
def test_takes_any_frame_size(arch, size):
    future = create(arch)(past(batch=1, size=size))
    assert future.shape == (1, HORIZON, 3, *size)


def test_states_what_it_needs(arch):
    model = create(arch)
    assert (model.history, model.horizon, model.channels) == (HISTORY, HORIZON, 3)
    assert model.multiple >= 1
    assert model.factors[-1] == 1
    assert list(model.factors) == sorted(model.factors, reverse=True)


def test_a_batch_is_predicted_as_its_clips_one_by_one(arch):
    model, frames = create(arch), past()
    with chainer.using_config("train", False):
        together = model(frames).array
        alone = np.concatenate([model(frames[i : i + 1]).array for i in range(2)])
    assert together == pytest.approx(alone, abs=1e-5)


def test_rollout_feeds_predictions_back(arch):
    model, frames = create(arch), past(batch=1)
    future = rollout(model, frames, 3)
    assert future.shape == (1, 3, 3, *SIZE)
    with chainer.using_config("train", False):
        first = model(frames).array
        second = model(np.concatenate([frames, first], axis=1)[:, -HISTORY:]).array
    assert np.array_equal(future[:, :2], np.concatenate([first, second], axis=1)[:, :2])


def test_saved_and_loaded_it_predicts_the_same(arch, tmp_path):
    model, frames = create(arch), past()
    save_weights(tmp_path / "weights", model)
    np.random.seed(1)
    other = models.create(arch, HISTORY, HORIZON, 3, SIZE)
    load_weights(tmp_path / "weights", other)
    with chainer.using_config("train", False):
        assert np.array_equal(model(frames).array, other(frames).array)


def test_a_gradient_reaches_every_parameter(arch):
    model = create(arch)
    target = past(seed=1)[:, :HORIZON]
    pairs = zip(model.pyramid(past()), model.scales(target), strict=True)
    loss = sum(chainer.functions.mean_squared_error(p, t) for p, t in pairs)
    model.cleargrads()
    loss.backward()
    for name, param in model.namedparams():
        assert param.grad is not None and np.abs(param.grad).max() > 0, name


def test_unknown_names_and_options_say_what_there_is(arch):
    with pytest.raises(ValueError, match=f"no such architecture.*{arch}"):
        models.create("multiscail", HISTORY, HORIZON, 3, SIZE)
    with pytest.raises(ValueError, match="--spin 3"):
        models.create(arch, HISTORY, HORIZON, 3, SIZE, spin=3)
