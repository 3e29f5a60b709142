"""The paper's generator with its discriminators, layer by layer."""

import numpy as np
import pytest

import models
from models.discriminators import Discriminators

SIZES = [(4, 4), (8, 8), (16, 16), (32, 32)]


def layers(chain):
    return [(link.W.shape[1], link.W.shape[0], link.W.shape[2]) for link in chain]


def heads(discriminators):
    return [[fc.W.shape[::-1] for fc in d.layers] for d in discriminators]


@pytest.fixture(scope="module")
def gen():
    return models.create("multiscale", 4, 1, 3, (32, 32))


def test_generator_has_the_papers_maps_and_kernels(gen):
    coarse = [(128, 256, 3), (256, 128, 3)]
    assert layers(gen.refiners[0]) == [(12, 128, 3), *coarse, (128, 3, 3)]
    assert layers(gen.refiners[1]) == [(15, 128, 5), *coarse, (128, 3, 5)]
    fine = [(128, 256), (256, 512), (512, 256), (256, 128)]
    assert layers(gen.refiners[2]) == [(15, 128, 5), *((*io, 3) for io in fine), (128, 3, 5)]
    assert layers(gen.refiners[3]) == [(15, 128, 7), *((*io, 5) for io in fine), (128, 3, 7)]


@pytest.mark.parametrize("size", [(16, 32), (32, 16)])
@pytest.mark.parametrize("arch", ["multiscale", "multiscale-8to8", "voxel-flow"])
def test_a_pyramid_names_the_shorter_sides(arch, size):
    gen = models.create(arch, 4, 1, 3, size, pyramid="8-16")
    assert gen.factors == (2, 1)
    past = np.zeros((1, 4, 3, *size), np.float32)
    frames = gen.pyramid(past)
    assert [f.shape[-2:] for f in frames] == [(size[0] // 2, size[1] // 2), size]
    dis = Discriminators.of(gen, size, "small")
    assert [logit.shape for logit in dis(gen.at_scales(past), frames)] == [(1, 1)] * 2


@pytest.mark.parametrize("size", [(32, 48), (48, 32)])
def test_the_usual_pyramid_is_that_of_the_shorter_side(size):
    for arch in "multiscale", "multiscale-8to8":
        square, other = (models.create(arch, 4, 1, 3, clips) for clips in ((32, 32), size))
        assert other.factors == square.factors == (8, 4, 2, 1)
        shapes = [{n: p.shape for n, p in gen.namedparams()} for gen in (square, other)]
        assert shapes[0] == shapes[1]  # weights for the one are weights for the other
    dis = Discriminators.of(other, size)
    assert len(heads(dis)) == 4 and heads(dis)[0][0] == (4 * 2 * 64, 512)
    assert heads(dis)[3][0] == (28 * 12 * 128, 1024)


def test_discriminators_have_the_papers_layers():
    dis = Discriminators(SIZES, 4, 1, 3)
    assert [layers(d.convolutions) for d in dis] == [
        [(15, 64, 3)],
        [(15, 64, 3), (64, 128, 3), (128, 128, 3)],
        [(15, 128, 5), (128, 256, 5), (256, 256, 5)],
        [(15, 128, 7), (128, 256, 7), (256, 512, 5), (512, 128, 5)],
    ]
    assert heads(dis) == [
        [(2 * 2 * 64, 512), (512, 256), (256, 1)],
        [(2 * 2 * 128, 1024), (1024, 512), (512, 1)],
        [(4 * 4 * 256, 1024), (1024, 512), (512, 1)],
        [(12 * 12 * 128, 1024), (1024, 512), (512, 1)],
    ]


@pytest.mark.parametrize("width, head", [("paper", (1024, 512)), ("small", (256, 128))])
def test_discriminators_of_64x64_have_two_strides(width, head):
    (dis,) = Discriminators([(64, 64)], 4, 1, 3, width)
    (smaller,) = Discriminators([(32, 32)], 4, 1, 3, width)
    assert layers(dis.convolutions) == layers(smaller.convolutions)
    assert [conv.stride for conv in dis.convolutions] == [(1, 1), (1, 1), (2, 2), (2, 2)]
    side = 10 // dis.pool
    assert heads([dis]) == [[(side * side * 128, head[0]), head, (head[1], 1)]]


@pytest.mark.parametrize("width", ["paper", "small"])
@pytest.mark.parametrize("size", [(39, 39), (40, 52), (48, 48), (64, 64), (95, 96), (128, 160)])
def test_no_size_needs_a_first_connected_layer_far_larger_than_the_papers(width, size):
    (dis,) = Discriminators([size], 4, 1, 3, width)
    ((inputs, units), *_) = heads([dis])[0]
    (papers,) = Discriminators([(32, 32)], 4, 1, 3, width)
    ((usual, _), *_) = heads([papers])[0]
    assert inputs * units <= 4 * usual * units


def test_small_is_the_authors_public_script():
    gen = models.create("multiscale", 4, 1, 3, (32, 32), width="small")
    maps = [[conv.W.shape[0] for conv in refiner] for refiner in gen.refiners]
    assert maps == [[16, 32, 16, 3]] * 2 + [[16, 32, 64, 32, 16, 3]] * 2
    dis = Discriminators(SIZES, 4, 1, 3, "small")
    assert [[conv.W.shape[0] for conv in d.convolutions] for d in dis] == [
        [32],
        [32, 32, 64],
        [32, 32, 64],
        [32, 32, 64, 128],
    ]
    assert [[fc.W.shape[0] for fc in d.layers] for d in dis] == [[256, 128, 1]] * 4
    assert dis[3].layers[0].W.shape[1] == 6 * 6 * 128  # after 2x2 pooling


@pytest.mark.parametrize(
    "pyramid, factors",
    [(None, (16, 8, 4, 2, 1)), ("4-16-32-64", (16, 4, 2, 1)), ("8-64", (8, 1))],
)
def test_pyramids_for_64x64_clips(pyramid, factors):
    gen = models.create("multiscale", 4, 1, 3, (64, 64), pyramid=pyramid, width="small")
    assert gen.factors == factors
    frames = gen.pyramid(np.zeros((1, 4, 3, 64, 64), np.float32))
    assert [f.shape for f in frames] == [(1, 1, 3, 64 // f, 64 // f) for f in factors]
    dis = Discriminators([(64 // f, 64 // f) for f in factors], 4, 1, 3)
    assert max(p.size for p in dis.params()) < 20e6
    logits = dis(gen.at_scales(np.zeros((1, 4, 3, 64, 64), np.float32)), frames)
    assert [logit.shape for logit in logits] == [(1, 1)] * len(factors)


@pytest.mark.parametrize(
    "pyramid", ["4-8-16", "8-4-32", "4-6-32", "0-32", "1-32", "a-32", "", "-", "32-32"]
)
def test_a_pyramid_that_does_not_end_in_the_clips_size_is_refused(pyramid):
    with pytest.raises(ValueError, match=f"--pyramid {pyramid}: list sizes"):
        models.create("multiscale", 4, 1, 3, (32, 32), pyramid=pyramid)


@pytest.mark.parametrize(
    "size, told",
    [
        ((48, 48), "6-12-24-48"),
        ((128, 160), "4-8-16-32-64-128"),
        ((48, 54), "24-48"),
        ((17, 34), "17"),
    ],
)
def test_clips_of_an_unusual_size_need_a_pyramid_and_are_told_one(size, told):
    with pytest.raises(ValueError, match=f"{size[0]}x{size[1]}.*--pyramid {told}$"):
        models.create("multiscale", 4, 1, 3, size)
    gen = models.create("multiscale", 4, 1, 3, size, pyramid=told, width="small")
    assert len(gen.factors) == told.count("-") + 1


def test_a_longer_side_that_a_scale_does_not_divide_is_refused():
    for pyramid in None, "4-32":
        with pytest.raises(ValueError, match="of 8, these are 32x52; .* another --pyramid"):
            models.create("multiscale", 4, 1, 3, (32, 52), pyramid=pyramid)
    models.create("multiscale", 4, 1, 3, (32, 52), pyramid="8-16-32", width="small")


def test_a_refiner_that_does_nothing_leaves_the_enlarged_guess():
    """The residual: guess_k = tanh(enlarged guess_{k-1} + what the refiner adds)."""
    gen = models.create("multiscale", 4, 1, 3, (32, 32), width="small")
    for refiner in gen.refiners[1:]:
        refiner[-1].W.array[...] = 0
        refiner[-1].b.array[...] = 0
    past = np.random.default_rng(0).uniform(-1, 1, (1, 4, 3, 32, 32)).astype(np.float32)
    first, second, *_ = gen.pyramid(past)
    assert second.array[0, 0] == pytest.approx(np.tanh(first.array[0, 0].repeat(2, 1).repeat(2, 2)))


def test_every_scale_sees_the_past_at_its_own_size(gen):
    past = np.random.default_rng(0).uniform(-1, 1, (1, 4, 3, 32, 32)).astype(np.float32)
    coarse = gen.at_scales(past)[0]
    assert coarse.array[0, 0, 0, 0, 0] == pytest.approx(past[0, 0, 0, :8, :8].mean(), abs=1e-6)


def test_discriminators_of_an_unknown_width_are_refused():
    """As an edited record of a run may name it for a network that has a single one."""
    with pytest.raises(ValueError, match="--width huge: choose from paper, small"):
        Discriminators(SIZES, 4, 1, 3, "huge")


def test_clips_that_no_discriminator_fits_are_refused():
    gen = models.create("multiscale", 4, 1, 3, (32, 32), pyramid="2-8-32", width="small")
    for width in ("paper", "small"):
        with pytest.raises(ValueError, match="from 3x3 up, not of 2x2"):
            Discriminators.of(gen, (32, 32), width)
        sizes = [[side, side] for side in (3, 5, 8, 16, 32, 64)]
        Discriminators(sizes, 1, 1, 3, width)  # all others have layers
