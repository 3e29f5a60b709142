"""Frames made of existing pixels: reading between pixels, following a motion."""

import itertools

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

import models
from models.voxel_flow import sample
from utils.stack import F, chainer

SIZE = (16, 16)


def images(seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (2, 3, *SIZE)).astype(np.float32)


def test_sample_reads_between_pixels_and_beyond_edges_as_scipy_does():
    flow = np.random.default_rng(1).uniform(-9, 9, (2, 2, *SIZE)).astype(np.float32)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    expected = [
        [
            map_coordinates(image, (rows + down, columns + across), order=1, mode="nearest")
            for image in frame
        ]
        for frame, (across, down) in zip(images(), flow, strict=True)
    ]
    assert sample(images(), chainer.Variable(flow)).array == pytest.approx(
        np.array(expected), abs=1e-4
    )


def test_sample_has_the_gradient_of_its_values():
    flow = np.random.default_rng(1).uniform(-3, 3, (2, 2, *SIZE))
    way = np.random.default_rng(2).normal(size=flow.shape)
    frames = images().astype(np.float64)
    moved = chainer.Variable(flow)
    F.sum(sample(frames, moved) ** 2).backward()
    ahead, behind = (
        (sample(frames, chainer.Variable(flow + s * way)).array ** 2).sum() for s in (1e-7, -1e-7)
    )
    assert (moved.grad * way).sum() == pytest.approx((ahead - behind) / 2e-7, rel=1e-5)


def plainly(images, flow):
    """`sample` node by node."""
    number, _, height, width = images.shape
    across, down = F.separate(flow, axis=1)
    x = F.clip(across + np.arange(width, dtype=flow.dtype), 0.0, width - 1.0)
    y = F.clip(down + np.arange(height, dtype=flow.dtype)[:, None], 0.0, height - 1.0)
    left, top = np.floor(x.array), np.floor(y.array)
    image, column, row = np.arange(number)[:, None, None], left.astype(int), top.astype(int)
    columns = column, np.minimum(column + 1, width - 1)
    rows = row, np.minimum(row + 1, height - 1)
    (a, b), (c, d) = (
        [images[image, :, row, column].transpose(0, 3, 1, 2) for column in columns] for row in rows
    )
    x, y = (x - left)[:, None], (y - top)[:, None]
    upper, lower = a + (b - a) * x, c + (d - c) * x
    return upper + (lower - upper) * y


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sample_is_the_same_as_node_by_node(dtype):
    flow = np.random.default_rng(1).uniform(-9, 9, (2, 2, *SIZE)).astype(dtype)
    flow[0, :, :3] = np.round(flow[0, :, :3])  # on pixels, on edges
    frames = np.moveaxis(images(), -1, 0).copy().transpose(1, 2, 3, 0).astype(dtype)
    found = []
    for way in (sample, plainly):
        moved = chainer.Variable(flow)
        y = way(frames, moved)
        gy = chainer.Variable(np.cos(np.arange(y.size, dtype=dtype)).reshape(y.shape))
        found.append((y.array, chainer.grad([y], [moved], [gy])[0].array))
    (y, gradient), (expected, slope) = found
    assert y.dtype == gradient.dtype == dtype and np.array_equal(y, expected)
    np.testing.assert_allclose(gradient, slope, rtol=0, atol=2e-7 * np.abs(slope).max())


def test_the_gradient_of_sample_has_none():
    flow = chainer.Variable(np.zeros((2, 2, *SIZE), np.float32))
    y = F.sum(sample(images(), flow))
    with pytest.raises(NotImplementedError, match="have no gradients"):
        chainer.grad([y], [flow], enable_double_backprop=True)


def read_by(flow, xp=np):
    """The images read by the flow, their gradient by it, both on the CPU."""
    moved = chainer.Variable(xp.asarray(flow))
    frames = sample(xp.asarray(images()), moved)
    F.sum(frames).backward()
    return [chainer.get_device("@numpy").send(array) for array in (frames.array, moved.grad)]


def broken():
    """(A flow, the same with one pixel of each kind that a network which diverges makes.)"""
    flow = np.random.default_rng(1).uniform(-3, 3, (2, 2, *SIZE)).astype(np.float32)
    wild = flow.copy()
    wild[0, :, 3, 3], wild[0, 0, 5, 5] = np.nan, np.nan
    wild[1, :, 3, 3], wild[1, :, 5, 5] = (np.inf, -np.inf), (3e38, -3e38)
    return flow, wild


def test_flow_that_is_not_finite_is_seen_in_its_pixels_alone():
    flow, wild = broken()
    (true, slope), (frames, gradient) = map(read_by, (flow, wild))
    assert np.isnan(frames[0, :, [3, 5], [3, 5]]).all()
    assert (frames[1, :, 3, 3] == images()[1, :, 0, -1]).all()  # beyond the upper right corner
    assert (frames[1, :, 5, 5] == images()[1, :, 0, -1]).all()
    same = (flow == wild).all(axis=(0, 1))
    assert np.array_equal(frames[..., same], true[..., same])
    assert np.array_equal(gradient[..., same], slope[..., same])


@pytest.mark.gpu
def test_flow_that_is_not_finite_is_seen_on_a_gpu(gpu):
    _, wild = broken()
    (found, _), (expected, _) = read_by(wild, gpu.xp), read_by(wild)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_steady_motion_is_continued_from_both_frames():
    """A picture moves right, a pixel a frame: each pixel was k pixels to the left k frames ago."""
    picture = np.tile(np.sin(np.arange(40) / 3), (SIZE[0], 1)).astype(np.float32)
    video = np.stack([picture[:, 20 - t : 36 - t] for t in range(5)])[None, :, None]
    model = models.create("voxel-flow", 2, 3, 1, (32, 32))
    steps = np.arange(1, 4)[:, None, None]
    for trust, factor in itertools.product((-20, 20), (1, 2)):  # the last but one alone, the last
        maps = np.zeros((1, 3, 3, *SIZE), np.float32)
        maps[0, :, 0] = np.arctanh(-steps * factor / model.reach)  # coarse pixels are wider
        maps[0, :, 2] = trust
        motion = chainer.Variable(maps.reshape(1, 9, *SIZE))
        future = model.follow(video[:, :2], motion, factor).array
        for k in range(3):
            inside = slice(k + 2, None)  # what was in sight two frames before
            there, true = future[0, k, 0, :, inside], video[0, 2 + k, 0, :, inside]
            assert there == pytest.approx(true, abs=1e-4)


def test_every_layer_but_the_last_is_normalised():
    links = [type(link).__name__ for link in models.create("voxel-flow", 4, 1, 3, SIZE).links()]
    assert links.count("Convolution2D") == 7 and links.count("BatchNormalization") == 6


def test_a_single_past_frame_is_refused():
    with pytest.raises(ValueError, match="shows no motion; cut with --history 2"):
        models.create("voxel-flow", 1, 1, 3, SIZE)


def test_no_pixel_is_invented():
    model = models.create("voxel-flow", 3, 2, 3, SIZE, width="small")
    past = np.random.default_rng(0).uniform(-0.3, 0.7, (2, 3, 3, *SIZE)).astype(np.float32)
    future = model(past).array
    assert future.min() >= past.min() - 1e-6 and future.max() <= past.max() + 1e-6


def test_a_pyramid_predicts_at_each_size_and_any_frame():
    model = models.create("voxel-flow", 2, 1, 3, (32, 32), pyramid="8-16-32", width="small")
    assert model.factors == (4, 2, 1) and model.multiple == 32
    past = np.random.default_rng(0).uniform(-1, 1, (1, 2, 3, 32, 32)).astype(np.float32)
    assert [p.shape[-1] for p in model.pyramid(past)] == [8, 16, 32]
    assert model(past[..., :21, :30]).shape == (1, 1, 3, 21, 30)
    future = past[:, :1]
    pairs = zip(model.pyramid(past), model.at_scales(future), strict=True)
    model.cleargrads()
    sum(F.mean_squared_error(p, t) for p, t in pairs).backward()
    assert all(np.abs(param.grad).max() > 0 for param in model.params())
