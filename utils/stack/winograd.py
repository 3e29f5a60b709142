"""Convolutions by minimal filtering (Winograd 1980; Lavin and Gray, CVPR 2016).

Images are cut into overlapping tiles of 8x8.  Taken as polynomials, tile and kernel are evaluated
at eight points for each axis, where their convolution is one multiplication a point, summed over
channels by 64 matrix products: 4 multiplications for an output of a 5x5 kernel instead of 25.  A
number that is not finite makes all outputs of its tile NaN.
"""

import functools
import math
import os

import numpy as np

from utils.stack import dnnl
from utils.stack.products import copy, multiply

POINTS = 0, 1, -1, 2, -2, 1 / 2, -1 / 2  # the eighth is infinity
TILE = len(POINTS) + 1  # rows, columns
ONES = TILE + 1  # the place of point (1, 1): what is added there is added to every output
GAP = 16  # numbers, a cache line
AT_ONCE = 128  # tiles; what they become stays near the processor
MOVE = 70  # multiplications take as long as one number's way to the points or back (measured)


@functools.cache
def transforms(kernel):
    """Matrices for one axis of a tile, float32: of images (8, 8), weights (8, kernel), outputs
    (step, 8)."""
    scale = [np.prod([p - q for q in POINTS if q != p]) for p in POINTS]
    scale = np.abs([*scale, 1])[:, None]
    images = np.linalg.inv(powers(TILE)).T * scale
    return [aligned(m) for m in (images, powers(kernel) / scale, powers(TILE - kernel + 1).T)]


def powers(count):
    """Each point to the powers 0 to count - 1, (8, count); of infinity only the highest counts."""
    finite = [[float(p) ** k for k in range(count)] for p in POINTS]
    return np.array([*finite, [0] * (count - 1) + [1]])


def aligned(array):
    result = dnnl.empty(array.shape)
    result[...] = array
    return result


def room(name, *shape):
    """A temporary, good until the next of its name."""
    return dnnl.thread().rooms[name].array(*shape)


class Maps:
    """Tiles of `side` x `side` numbers, each number a row of the tiles' channels.

    Rows are longer than what is in them: with powers of two between them they would push each
    other out of the cache.
    """

    def __init__(self, name, side, tiles, channels):
        self.side, self.tiles, self.channels = side, tiles, channels
        self.rows = room(name, side, side, tiles * (channels + GAP) + GAP)

    def all(self):
        """(side**2, tiles, channels)"""
        step = self.channels + GAP
        rows = self.rows.reshape(self.side**2, -1)[:, : self.tiles * step]
        return rows.reshape(self.side**2, self.tiles, step)[..., : self.channels]

    def transformed(self, matrix, name):
        """matrix @ each tile @ matrix.T"""
        (side, _), row = matrix.shape, self.rows.shape[2]
        half = room("between", side, self.side, row)
        multiply(matrix, self.rows.reshape(self.side, -1), half.reshape(side, -1))
        found = Maps(name, side, self.tiles, self.channels)
        multiply(matrix.reshape(1, side, -1), half, found.rows)
        return found


def pays(direction, geometry):
    """Whether it is likely to be clearly faster than the direct way.

    Counts multiplications, which in bfloat16 take half as long, and the numbers moved.
    CHAINER_WINOGRAD=0 keeps all convolutions direct.
    """
    if os.environ.get("CHAINER_WINOGRAD") == "0" or not suits(geometry):
        return False
    outputs, inputs, kernel, _ = geometry.weights
    tiling = Tiling(reverse(geometry) if direction == "data_gradient" else geometry)
    tiles = tiling.batch * tiling.rows * tiling.columns
    moved = tiles * (inputs + outputs) + inputs * outputs
    ours = TILE**2 * (tiles * inputs * outputs + MOVE * moved)
    theirs = math.prod(geometry.outputs) * inputs * kernel**2
    return ours < theirs * (0.8 if geometry.dtype == dnnl.F32 else 0.4)


def suits(geometry):
    """Whether a square kernel moves by one pixel, on a processor whose strength are vectors."""
    _, _, height, width = geometry.weights
    plain = {geometry.stride, geometry.dilate, (geometry.groups,) * 2} == {(1, 1)}
    inside = all(0 <= pad < height for pad in geometry.pad)
    has = dnnl.library().has
    vectors = has(dnnl.AVX2) and not (geometry.dtype == dnnl.BF16 and has(dnnl.AMX))
    return plain and inside and 1 < height == width < TILE and vectors


def reverse(geometry):
    """The convolution by which outputs' gradients become images' gradients."""
    pad = tuple(geometry.weights[-1] - 1 - pad for pad in geometry.pad)
    return geometry._replace(images=geometry.outputs, outputs=geometry.images, pad=pad)


class Tiling:
    """How the images and outputs of a convolution lie in tiles, `step` rows or columns apart."""

    def __init__(self, geometry):
        self.kernel = geometry.weights[-1]
        self.step = TILE - self.kernel + 1
        self.batch, _, *self.size = geometry.outputs
        self.pad = geometry.pad
        self.rows, self.columns = (-(-n // self.step) for n in self.size)
        self.to_points, weights_to_points, self.from_points = transforms(self.kernel)
        self.weights_to_points = aligned(np.kron(weights_to_points, weights_to_points))

    def parts(self):
        """Yield (images, rows of tiles) as slices, AT_ONCE tiles together if they can be cut so."""
        images = max(1, AT_ONCE // (self.rows * self.columns))
        rows = min(self.rows, max(1, AT_ONCE // self.columns))
        for image in range(0, self.batch, images):
            for row in range(0, self.rows, rows):
                yield (
                    slice(image, min(image + images, self.batch)),
                    slice(row, min(row + rows, self.rows)),
                )

    def images_at_points(self, images, part):
        """The tiles of images (B, C, H, W), as Maps."""
        return self.cut(images, part, TILE, self.pad).transformed(self.to_points, "points")

    def cut(self, images, part, size, pad):
        """Tiles of size x size, zero beyond the edges, as Maps."""
        batch, rows = part
        images = images[batch]
        number, channels, *edges = images.shape
        counts = rows.stop - rows.start, self.columns
        first = rows.start * self.step - pad[0], -pad[1]
        spans = [(count - 1) * self.step + size for count in counts]
        inside = [
            slice(max(start, 0), min(start + span, edge))
            for start, span, edge in zip(first, spans, edges, strict=True)
        ]
        y, x = (
            slice(i.start - start, i.stop - start) for i, start in zip(inside, first, strict=True)
        )
        framed = room("framed", number, *spans, channels)
        framed[:, : y.start] = framed[:, y.stop :] = 0
        framed[:, :, : x.start] = framed[:, :, x.stop :] = 0
        copy(images[:, :, inside[0], inside[1]].transpose(0, 2, 3, 1), framed[:, y, x])

        image, down, right, channel = framed.strides
        tiles = Maps("operands", size, number * math.prod(counts), channels)
        shape = size, size, number, *counts, channels
        steps = down, right, image, self.step * down, self.step * right, channel
        source = np.lib.stride_tricks.as_strided(framed, shape, steps)
        np.copyto(tiles.all().reshape(shape), source)
        return tiles

    def paste(self, tiles, part, outputs):
        """Put Maps of the outputs into (B, C, rows * step, columns * step)."""
        batch, rows = part
        outputs = outputs[batch, :, rows.start * self.step : rows.stop * self.step]
        number, channels = outputs.shape[:2]
        counts = rows.stop - rows.start, self.columns
        tiles = tiles.all().reshape(self.step, self.step, number, *counts, channels)
        image, channel, down, right = outputs.strides
        shape = number, channels, counts[0], self.step, counts[1], self.step
        steps = image, channel, self.step * down, down, self.step * right, right
        outputs = np.lib.stride_tricks.as_strided(outputs, shape, steps)
        copy(tiles.transpose(2, 5, 3, 0, 4, 1), outputs)


class Forward:
    """(images, weights[, bias]) -> outputs."""

    implementation = "winograd"

    def __init__(self, geometry, bias=False):
        self.tiling = Tiling(geometry)

    def __call__(self, images, weights, bias=None):
        outputs, inputs, *_ = weights.shape
        flat = weights.reshape(outputs * inputs, -1).T
        return self.convolve(images, flat, (outputs, inputs), (0, 2, 1), bias)

    def convolve(self, images, flat, maps, axes, bias=None):
        t = self.tiling
        factors = room("weights", TILE**2, flat.shape[1])
        multiply(t.weights_to_points, flat, factors)
        factors = factors.reshape(TILE**2, *maps).transpose(axes)
        channels = factors.shape[2]
        outputs = dnnl.empty((t.batch, channels, t.rows * t.step, t.columns * t.step))
        for part in t.parts():
            points = t.images_at_points(images, part)
            products = Maps("operands", TILE, points.tiles, channels)
            multiply(points.all(), factors, products.all())
            if bias is not None:
                products.all()[ONES] += bias
            t.paste(products.transformed(t.from_points, "points"), part, outputs)
        return np.ascontiguousarray(outputs[:, :, : t.size[0], : t.size[1]])


class DataGradient(Forward):
    """(outputs' gradient, weights) -> images' gradient, a convolution by the weights reversed."""

    def __init__(self, geometry):
        super().__init__(reverse(geometry))
        self.tiling.weights_to_points = aligned(self.tiling.weights_to_points[:, ::-1])

    def __call__(self, gradient, weights):
        maps = weights.shape[:2]
        return self.convolve(gradient, weights.reshape(maps[0] * maps[1], -1).T, maps, (0, 1, 2))


class WeightGradient:
    """(images, outputs' gradient) -> weights' gradient: each step back, transposed."""

    implementation = "winograd"

    def __init__(self, geometry):
        self.tiling, self.shape = Tiling(geometry), geometry.weights
        self.to_points = aligned(self.tiling.from_points.T)

    def __call__(self, images, gradient):
        t = self.tiling
        maps = self.shape[:2]
        total = room("weights", TILE**2, *maps)
        for number, part in enumerate(t.parts()):
            points = t.images_at_points(images, part)
            slopes = t.cut(gradient, part, t.step, (0, 0)).transformed(self.to_points, "slopes")
            multiply(slopes.all().transpose(0, 2, 1), points.all(), total, add=number > 0)
        result = dnnl.empty(self.shape)
        multiply(
            total.reshape(TILE**2, -1).T, t.weights_to_points, result.reshape(maps[0] * maps[1], -1)
        )
        return result


def forward(geometry, bias):
    """As dnnl.forward."""
    return Forward(geometry)


data_gradient, weight_gradient = DataGradient, WeightGradient
