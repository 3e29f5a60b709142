"""What every architecture must do; each file of models/ with a `build` is tried, none is named."""

import inspect

import numpy as np
import pytest

import models
from utils.rollout import rollout
from utils.stack import F, chainer
from utils.stack.precision import using_dtype
from utils.weights import load_weights, save_weights

HISTORY, HORIZON, SIZE = 3, 2, (16, 16)
BUILDERS = models.builders()
OPTIONS = [
    (arch, *option) for arch in sorted(BUILDERS) for option in models.own_options(arch).items()
]
WHOLE = [(arch, name) for arch, name, default in OPTIONS if type(default) is int]


@pytest.fixture(params=sorted(BUILDERS))
def arch(request):
    return request.param


def options(arch):
    return inspect.signature(BUILDERS[arch]).parameters


def create(arch, history=HISTORY, horizon=HORIZON, channels=3, seed=0):
    """The architecture, narrow where it can be."""
    np.random.seed(seed)
    width = "small" if "width" in options(arch) else None
    return models.create(arch, history, horizon, channels, SIZE, width=width)


MULTIPLES = {arch: create(arch).multiple for arch in sorted(BUILDERS)}


def clips(time=HISTORY, channels=3, batch=2, size=SIZE, seed=0):
    shape = (batch, time, channels, *size)
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def moving_clips():
    """Four clips of smooth patterns that move right, one pixel a frame."""
    waves = np.random.default_rng(0).integers(1, 4, (4, 1, 3, 1, 1))
    x = np.arange(SIZE[1]) - np.arange(HISTORY + 1)[:, None, None, None]
    y = np.arange(SIZE[0])[:, None]
    return np.sin(2 * np.pi * waves * (x + y) / SIZE[0]).astype(np.float32)


def distance(predicted, model, future):
    pairs = zip(predicted, model.at_scales(future), strict=True)
    return sum(F.mean_squared_error(p, t) for p, t in pairs)


@pytest.mark.parametrize("channels", [1, 3])
def test_predicts_at_every_scale(arch, channels):
    model, past = create(arch, channels=channels), clips(channels=channels)
    predicted = model.pyramid(past)
    sizes = [tuple(n // factor for n in SIZE) for factor in model.factors]
    assert [p.shape for p in predicted] == [(2, HORIZON, channels, *size) for size in sizes]
    assert [s.shape[-2:] for s in model.at_scales(past)] == sizes
    assert model(past).array.dtype == np.float32
    assert np.array_equal(model(past).array, predicted[-1].array)


@pytest.mark.parametrize("size", [(40, 32), (33, 35), (50, 44)])
def test_takes_any_frame_size(arch, size):
    future = create(arch)(clips(batch=1, size=size))
    assert future.shape == (1, HORIZON, 3, *size)


@pytest.mark.parametrize("history, horizon", [(1, 1), (1, 3), (2, 1), (6, 4)])
def test_takes_any_history_and_horizon(arch, history, horizon):
    if arch == "voxel-flow":
        history += 1  # a single frame shows no motion
    model, past = create(arch, history, horizon), clips(history)
    assert model(past).shape == (2, horizon, 3, *SIZE)
    shown = model.training_pyramid(past, clips(horizon, seed=1))
    assert [p.shape for p in shown] == [p.shape for p in model.pyramid(past)]


def test_states_what_it_needs(arch):
    model = create(arch)
    assert (model.history, model.horizon, model.channels) == (HISTORY, HORIZON, 3)
    assert model.multiple >= 1
    assert model.factors[-1] == 1
    assert list(model.factors) == sorted(model.factors, reverse=True)


def test_options_have_defaults_that_a_command_line_can_give(arch):
    *_, size = names = list(options(arch))[:4]
    assert names == ["history", "horizon", "channels", "size"] and size == "size"
    for option in list(options(arch).values())[4:]:
        assert option.default is None or type(option.default) in (str, int, float, bool)
    for name, default in models.own_options(arch).items():
        text = f"{name}={default}"
        if name in models.OF_TRAIN:
            with pytest.raises(ValueError, match=f"--model-options .*: give {name} as --{name} "):
                models.parse_options(arch, text)
            continue
        assert models.parse_options(arch, text) == models.parse_options(arch, text.lower())
        assert models.parse_options(arch, text) == {name: default}
        with pytest.raises(ValueError, match=f"{name} is given twice"):
            models.parse_options(arch, f"{text},{text}")


@pytest.mark.parametrize("value", [0, models.LARGEST + 1])
@pytest.mark.parametrize("arch, name", WHOLE)
def test_whole_numbers_beyond_all_measure_are_refused(arch, name, value):
    with pytest.raises(ValueError, match=f"{name}={value}: must be from 1 to"):
        models.create(arch, HISTORY, HORIZON, 3, SIZE, **{name: value})


@pytest.mark.parametrize("arch, name, default", OPTIONS)
def test_options_of_another_type_are_refused(arch, name, default):
    """As a damaged or foreign record of a run may have them."""
    value = "7" if isinstance(default, int | float) else 7
    with pytest.raises(ValueError, match=f"--{name} '?7'?: is of another type"):
        models.create(arch, HISTORY, HORIZON, 3, SIZE, **{name: value})


@pytest.mark.parametrize("arch", [arch for arch, needed in MULTIPLES.items() if needed == 1])
def test_clips_of_any_size_are_taken_where_none_is_unfit(arch):
    assert models.create(arch, HISTORY, HORIZON, 3, (17, 17)).multiple == 1


@pytest.mark.parametrize("arch", [arch for arch, needed in MULTIPLES.items() if needed > 1])
def test_clips_of_an_unfit_size_are_refused_in_one_line(arch):
    with pytest.raises(ValueError, match="17x17") as caught:
        models.create(arch, HISTORY, HORIZON, 3, (17, 17))
    assert "\n" not in str(caught.value)


def test_a_batch_is_predicted_as_its_clips_one_by_one(arch):
    model, past = create(arch), clips()
    with chainer.using_config("train", False):
        together = model(past).array
        alone = np.concatenate([model(past[i : i + 1]).array for i in range(2)])
    assert together == pytest.approx(alone, abs=1e-5)


def test_the_same_past_has_the_same_future(arch):
    model, past = create(arch), clips()
    with chainer.using_config("train", False):
        assert np.array_equal(model(past).array, model(past).array)


def test_rolls_out_far_beyond_its_horizon(arch):
    model = create(arch)
    future = rollout(model, clips(batch=1), 64)
    assert future.shape == (1, 64, 3, *SIZE)
    assert np.isfinite(future).all()


def test_rollout_feeds_predictions_back(arch):
    model, past = create(arch), clips(HISTORY + 1, batch=1)  # more past than it needs
    future = rollout(model, past, HORIZON + 1)
    assert future.shape == (1, HORIZON + 1, 3, *SIZE)
    with chainer.using_config("train", False):
        first = model(past[:, 1:]).array
        seen = np.concatenate([past, first.clip(-1, 1)], axis=1)[:, -HISTORY:]
        second = model(seen).array
    assert np.array_equal(future, np.concatenate([first, second[:, :1]], axis=1))


@pytest.mark.parametrize("file", ["a.model", "a.safetensors"])
def test_saved_and_loaded_it_goes_on_the_same(arch, tmp_path, file):
    model, past, future = create(arch), clips(), clips(HORIZON, seed=1)
    model.training_pyramid(past, future)
    save_weights(tmp_path / file, model)
    other = create(arch, seed=1)
    load_weights(tmp_path / file, other)
    for first, second in zip(
        model.training_pyramid(past, future), other.training_pyramid(past, future), strict=True
    ):
        assert np.array_equal(first.array, second.array)
    with chainer.using_config("train", False):
        assert np.array_equal(model(past).array, other(past).array)


def test_weights_that_are_not_finite_are_seen_in_the_frames(arch):
    """So the loss tells that a run has diverged."""
    model, past, future = create(arch), clips(), clips(HORIZON, seed=1)
    if not model.count_params():
        pytest.skip("nothing to diverge: no parameters")
    for value in (np.nan, np.inf):
        for param in model.params():
            param.array[...] = value
        with np.errstate(all="ignore"):  # as in training
            assert not np.isfinite(model.training_pyramid(past, future)[-1].array).any()


def test_a_gradient_reaches_every_parameter(arch):
    model, past, future = create(arch), clips(), clips(HORIZON, seed=1)
    for predicted in model.pyramid(past), model.training_pyramid(past, future):
        model.cleargrads()
        distance(predicted, model, future).backward()
        for name, param in model.namedparams():
            assert param.grad is not None and np.abs(param.grad).max() > 0, name


def test_learns_four_clips_by_heart(arch):
    model = create(arch, horizon=1)
    if not model.count_params():
        pytest.skip("nothing to learn: no parameters")
    frames = moving_clips()
    past, future = frames[:, :HISTORY], frames[:, HISTORY:]
    optimizer = chainer.optimizers.Adam(0.003).setup(model)
    losses = []
    for _ in range(50):
        loss = distance(model.training_pyramid(past, future), model, future)
        model.cleargrads()
        loss.backward()
        optimizer.update()
        losses.append(float(loss.array))
    assert np.mean(losses[-5:]) < 0.5 * losses[0]


@pytest.mark.gpu
def test_cpu_and_gpu_agree(gpu, arch):
    model, past = create(arch), clips()
    with chainer.using_config("train", False):
        on_cpu = model(past).array
        model.to_device(gpu)
        with using_dtype("float32", gpu):
            on_gpu = model(gpu.send(past)).array
    assert on_gpu.get() == pytest.approx(on_cpu, abs=1e-3)


def test_unknown_names_and_options_say_what_there_is(arch):
    with pytest.raises(ValueError, match=f"no such architecture.*{arch}"):
        models.create("multiscail", HISTORY, HORIZON, 3, SIZE)
    with pytest.raises(ValueError, match="--spin 3"):
        models.create(arch, HISTORY, HORIZON, 3, SIZE, spin=3)
    if "width" in options(arch):
        with pytest.raises(ValueError, match="--width huge: choose from paper, small"):
            models.create(arch, HISTORY, HORIZON, 3, SIZE, width="huge")
