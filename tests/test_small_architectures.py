"""The architectures of one idea each: the layers and the starting points of their sources."""

import numpy as np
import pytest

import models

SIZE = (16, 16)


def create(arch, history=4, horizon=2, channels=3, **options):
    np.random.seed(0)
    return models.create(arch, history, horizon, channels, SIZE, **options)


def past(history=4):
    shape = (2, history, 3, *SIZE)
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def test_last_frame_repeats_it_without_parameters():
    model = create("last-frame", horizon=3)
    assert model.count_params() == 0
    assert np.array_equal(model(past()).array, np.repeat(past()[:, -1:], 3, axis=1))


def test_conv2d_is_one_layer():
    assert {name: param.shape for name, param in create("conv2d").namedparams()} == {
        "/convolution/W": (6, 12, 3, 3),
        "/convolution/b": (6,),
    }


@pytest.mark.parametrize("arch", ["conv3d-residual", "convlstm-residual", "hourglass"])
def test_hybrids_begin_close_to_the_last_frame(arch):
    future = create(arch)(past()).array
    assert np.abs(future - past()[:, -1:]).max() < 0.1


def test_the_ensemble_begins_with_the_mean_of_its_ways():
    model, rng = create("ensemble"), np.random.default_rng(0)
    for param in model.ways.params():  # new ones all predict the last frame, nearly
        param.array[...] = rng.normal(0, 0.3, param.shape)
    ways = np.stack([way(past()).array for way in model.ways])
    assert len(ways) == 3 and np.ptp(ways, axis=0).mean() > 0.5
    assert model(past()).array == pytest.approx(ways.mean(axis=0), abs=0.1)


def test_skip_autoencoder_has_the_published_maps():
    params = {name: param.shape for name, param in create("skip-autoencoder").namedparams()}
    shapes = [params[f"/{name}/0/W"] for name in ("first", *(f"down/{i}" for i in range(4)))]
    assert [shape[0] for shape in shapes] == [32, 64, 128, 256, 512]
    ups = [params[f"/up/{i}/0/W"] for i in range(4)]  # (inputs, outputs, kernel, kernel)
    assert [shape[:2] for shape in ups] == [(512, 256), (512, 128), (256, 64), (128, 32)]
    assert params["/last/W"][:2] == (64, 6)


def test_multiscale_8to8_has_the_published_layers():
    model = models.create("multiscale-8to8", 8, 8, 3, (64, 64))
    layers = [[(c.W.shape[0], c.W.shape[2]) for c in refiner] for refiner in model.refiners]
    assert model.factors == (8, 4, 2, 1)
    assert layers == [  # the published ones end in 3 maps: one frame at a time
        [(16, 3), (32, 3), (64, 3), (24, 3)],
        [(16, 5), (32, 3), (64, 3), (24, 3)],
        [(32, 5), (64, 5), (128, 5), (24, 5)],
        [(32, 7), (64, 5), (128, 5), (128, 5), (24, 5)],
    ]
