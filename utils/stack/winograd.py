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
    return dnnl.thread.rooms[name].array(*shape)


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


def pays(geometry):
    """Whether it is likely to be clearly faster than the direct way.

    Counts multiplications, which in bfloat16 take half as long, and the numbers moved.
    CHAINER_WINOGRAD=0 keeps all convolutions direct.
    """
    if os.environ.get("CHAINER_WINOGRAD") == "0" or not suits(geometry):
        return False
    outputs, inputs, kernel, _ = geometry.weights
    tiling = Tiling(geometry)
    tiles = tiling.batch * tiling.rows * tiling.columns
    moved = tiles * (inputs + outputs) + inputs * outputs
    ours = TILE**2 * (tiles * inputs * outputs + MOVE * moved)
    theirs = math.prod(geometry.outputs) * inputs * kernel**2
    return ours < theirs * (0.8 if geometry.dtype == "float32" else 0.4)


def suits(geometry):
    """Whether a square kernel moves by one pixel, on a processor whose strength are vectors."""
    if len(geometry.stride) != 2:
        return False
    _, _, height, width = geometry.weights
    plain = {geometry.stride, geometry.dilate, (geometry.groups,) * 2} == {(1, 1)}
    inside = geometry.pad == geometry.pad_after and all(0 <= pad < height for pad in geometry.pad)
    has = dnnl.library().has
    vectors = has(dnnl.AVX2) and not (geometry.dtype == "bfloat16" and has(dnnl.AMX))
    return plain and inside and 1 < height == width < TILE and vectors


class Tiling:
    """How the images and outputs of a convolution lie in tiles, `step` rows or columns apart."""

    def __init__(self, geometry):
        self.kernel = geometry.weights[-1]
        self.step = TILE - self.kernel + 1
        self.batch, _, *size = geometry.outputs
        self.pad = geometry.pad
        self.rows, self.columns = (-(-n // self.step) for n in size)
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

    @property
    def splits_images(self):
        return self.rows > max(1, AT_ONCE // self.columns)

    def images_at_points(self, images, part):
        """The tiles of images (B, C, H, W), as Maps."""
        return self.cut(images, part, TILE, self.pad).transformed(self.to_points, "points")

    def cut(self, images, part, size, pad):
        """Tiles of size x size, zero beyond the edges, as Maps."""
        framed, pixels, (y, x) = self.frame(images, part, size, pad)
        framed[:, : y.start] = framed[:, y.stop :] = 0
        framed[:, y, : x.start] = framed[:, y, x.stop :] = 0
        copy(pixels.transpose(0, 2, 3, 1), framed[:, y, x])
        tiles = Maps("operands", size, math.prod(self.counts(part)), framed.shape[3])
        grid = self.grid(tiles, part)
        np.copyto(grid, self.overlapping(framed, grid.shape))
        return tiles

    def lay(self, tiles, part, images):
        """The transpose of `cut`: put tiles into images (B, C, H, W), added up where they overlap.

        Parts of one image overlap, too: they are added to what is in it.
        """
        framed, pixels, (y, x) = self.frame(images, part, tiles.side, self.pad)
        framed[...] = 0
        grid = self.grid(tiles, part)
        for down in range(0, tiles.side, self.step):  # what is this far apart does not overlap
            for right in range(0, tiles.side, self.step):
                block = grid[down : down + self.step, right : right + self.step]
                target = self.overlapping(framed[:, down:, right:], block.shape)
                if self.step > 2:
                    copy(block, target, add=True)
                else:  # in such small pieces oneDNN is slower
                    target += block
        copy(framed[:, y, x].transpose(0, 3, 1, 2), pixels, add=self.splits_images)

    def counts(self, part):
        """How many images, rows of tiles, columns of tiles a part has."""
        batch, rows = part
        return batch.stop - batch.start, rows.stop - rows.start, self.columns

    def frame(self, images, part, size, pad):
        """Room for what tiles of size x size span, channels last; the pixels of images that are
        part of it; the rows and columns that they are."""
        batch, rows = part
        number, *counts = self.counts(part)
        first = rows.start * self.step - pad[0], -pad[1]
        spans = [(count - 1) * self.step + size for count in counts]
        inside = [
            slice(max(start, 0), min(start + span, edge))
            for start, span, edge in zip(first, spans, images.shape[2:], strict=True)
        ]
        place = [slice(i.start - n, i.stop - n) for i, n in zip(inside, first, strict=True)]
        framed = room("framed", number, *spans, images.shape[1])
        return framed, images[(batch, slice(None), *inside)], place

    def grid(self, tiles, part):
        """Maps as (row, column in a tile, image, row, column of tiles, channel)."""
        return tiles.all().reshape(tiles.side, tiles.side, *self.counts(part), tiles.channels)

    def overlapping(self, framed, shape):
        """A view of what `frame` gives, as `grid` has it."""
        image, down, right, channel = framed.strides
        strides = down, right, image, self.step * down, self.step * right, channel
        return np.lib.stride_tricks.as_strided(framed, shape, strides)

    def paste(self, tiles, part, outputs):
        """Put Maps of the outputs into (B, C, H, W)."""
        framed, pixels, (y, x) = self.frame(outputs, part, self.step, (0, 0))
        grid = self.grid(tiles, part)
        np.copyto(self.overlapping(framed, grid.shape), grid)
        copy(framed[:, y, x].transpose(0, 3, 1, 2), pixels)


class Forward:
    """(images, weights[, bias]) -> outputs."""

    implementation = "winograd"

    def __init__(self, geometry):
        self.tiling, self.shape = Tiling(geometry), geometry.outputs

    def __call__(self, images, weights, bias=None):
        t = self.tiling
        made, taken, *_ = weights.shape
        turned = room("turned", t.kernel**2, taken, made)  # as products read them fastest
        copy(weights.reshape(made, taken, -1).transpose(2, 1, 0), turned)
        factors = room("weights", TILE**2, taken, made)
        multiply(t.weights_to_points, turned.reshape(len(turned), -1), factors.reshape(TILE**2, -1))
        outputs = dnnl.empty(self.shape)
        for part in t.parts():
            points = t.images_at_points(images, part)
            products = Maps("operands", TILE, points.tiles, made)
            multiply(points.all(), factors, products.all())
            if bias is not None:
                products.all()[ONES] += bias
            t.paste(products.transformed(t.from_points, "points"), part, outputs)
        return outputs


class DataGradient:
    """(outputs' gradient, weights) -> images' gradient: each step of Forward back, transposed."""

    implementation = "winograd"

    def __init__(self, geometry):
        self.tiling, self.shape = Tiling(geometry), geometry.images
        self.to_points, self.from_points = (
            aligned(m.T) for m in (self.tiling.from_points, self.tiling.to_points)
        )

    def __call__(self, gradient, weights):
        t = self.tiling
        made, taken, *_ = weights.shape
        factors = room("weights", TILE**2, made, taken)
        flat = weights.reshape(made * taken, -1).T
        multiply(t.weights_to_points, flat, factors.reshape(TILE**2, -1))
        images = dnnl.empty(self.shape)
        if t.splits_images:
            images[...] = 0
        for part in t.parts():
            slopes = t.cut(gradient, part, t.step, (0, 0)).transformed(self.to_points, "points")
            products = Maps("operands", TILE, slopes.tiles, taken)
            multiply(slopes.all(), factors, products.all())
            t.lay(products.transformed(self.from_points, "points"), part, images)
        return images


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
