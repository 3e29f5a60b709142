"""Convolutions by minimal filtering (Winograd 1980; Lavin and Gray, CVPR 2016).

Images are cut into overlapping tiles, for instance of 8x8 pixels. Tile and kernel are taken as the
coefficients of polynomials and evaluated at eight points along each axis. Their convolution is the
product of the polynomials, hence one multiplication per point; these are summed over channels by 64
matrix products. An output of a 5x5 kernel then takes 4 multiplications instead of 25. Larger
tiles take fewer but lose precision. A number that is not finite makes all outputs of its tile NaN.

First the rows of all tiles are evaluated, then a few columns at a time, so that a column's values
are multiplied while they are in the cache.
"""

import functools
import math
import os

import numpy as np

from utils.stack import dnnl
from utils.stack.products import copy, multiply
from utils.stack.tiles import Maps, Tiling, evaluate, temporary

POINTS = 0, 1, -1, 2, -2, 1 / 2, -1 / 2, 3 / 4, -4 / 3, -3 / 4, 4 / 3  # and infinity
# The largest side of a tile, which is also its number of points. The error, relative to the root
# mean square of the outputs, is 3e-6 for 8 and 2e-4 for 12. Rounding operands to tf32 has an error
# of 3e-4, to bfloat16 of 2e-3.
MAX_SIDE = {"float32": 8, "tf32": 12, "bfloat16": 12}
AT_ONCE = 16384  # points of the tiles that are processed together
POINTS_IN_CACHE = 2**19  # numbers in the columns that are processed together
EVALUATION_COST = 70  # evaluating one number takes as long as so many multiplications (measured)
# `cost`, as a share of the multiplications of a direct convolution, below which this is used.
# Direct convolutions take half as long in bfloat16. With AVX2, which evaluates more slowly, and
# columns one by one, layers with a share of 0.63 took 0.5 to 0.7 of the direct convolution's time,
# layers of 32 to 64 maps, with a share of 0.7, took 0.9 to 1.5.
MAX_COST_SHARE = {"float32": 0.65, "tf32": 0.65, "bfloat16": 0.4}


@functools.cache
def transforms(side, kernel):
    """Matrices for one axis of a tile, float32: for images (side, side), weights (side, kernel) and
    outputs (step, side). Lavin and Gray call them B^T, G and A^T."""
    points = POINTS[: side - 1]

    def powers(count):  # at infinity only the highest power counts
        finite = [[float(p) ** k for k in range(count)] for p in points]
        return np.array([*finite, [0] * (count - 1) + [1]])

    scale = [np.prod([p - q for q in points if q != p]) for p in points]
    scale = np.abs([*scale, 1])[:, None]
    images = np.linalg.inv(powers(side)).T * scale
    return [aligned(m) for m in (images, powers(kernel) / scale, powers(side - kernel + 1).T)]


def aligned(array):
    """A float32 copy that starts on a cache line."""
    result = dnnl.empty(array.shape)
    result[...] = array
    return result


def pays(geometry):
    """Whether this is likely to be clearly faster than a direct convolution for a Geometry.

    CHAINER_WINOGRAD=0 turns it off.
    """
    if os.environ.get("CHAINER_WINOGRAD") == "0" or not suits(geometry):
        return False
    direct = math.prod(geometry.outputs) * math.prod(geometry.weights[1:])
    return cost(geometry, best_side(geometry)) < MAX_COST_SHARE[geometry.dtype] * direct


def suits(geometry):
    """Whether this can compute a Geometry: a square kernel, stride 1, no dilation, one group; and
    the processor has no faster way, as AMX is for bfloat16."""
    if len(geometry.stride) != 2:
        return False
    _, _, height, width = geometry.weights
    plain = {geometry.stride, geometry.dilate, (geometry.groups,) * 2} == {(1, 1)}
    inside = geometry.pad == geometry.pad_after and all(0 <= pad < height for pad in geometry.pad)
    has = dnnl.library().has
    vectors = has(dnnl.AVX2) and not (geometry.dtype == "bfloat16" and has(dnnl.AMX))
    return plain and inside and 1 < height == width < MAX_SIDE[geometry.dtype] and vectors


def best_side(geometry):
    """The side of the cheapest tiles."""
    sides = range(geometry.weights[-1] + 1, MAX_SIDE[geometry.dtype] + 1)
    return min(sides, key=functools.partial(cost, geometry))


def cost(geometry, side):
    """The cost with tiles of this side, in multiplications, evaluations included."""
    outputs, inputs, kernel, _ = geometry.weights
    batch, _, *size = geometry.outputs
    tiles = batch * math.prod(-(-n // (side - kernel + 1)) for n in size)
    moved = tiles * (inputs + outputs) + inputs * outputs
    return side**2 * (tiles * inputs * outputs + EVALUATION_COST * moved)


class Winograd:
    """What a convolution, its data gradient and its weight gradient share."""

    implementation = "winograd"

    def __init__(self, geometry):
        self.kernel, self.side = geometry.weights[-1], best_side(geometry)
        self.tiling, self.pad = Tiling(geometry, self.side), geometry.pad
        self.of_images, self.of_weights, self.of_outputs = transforms(self.side, self.kernel)
        self.parts = list(self.tiling.parts(AT_ONCE // self.side**2))

    def by_rows(self, images, part, pad, matrix, name):
        """(each tile of images (B, C, H, W)) @ matrix.T, as Maps called `name`."""
        (side, size), channels = matrix.shape, images.shape[1]
        result = Maps(name, (size, side), self.tiling.count(part), channels)
        for piece, place in self.tiling.pieces(part, channels):
            tiles = self.tiling.cut(images, piece, size, pad)
            multiply(matrix.reshape(1, *matrix.shape), tiles.flat(), result.flat(place))
        return result

    def weights_by_rows(self, weights):
        """Each row of weights (kernel, kernel, M, N) at the points: (kernel, side, M, N)."""
        result = temporary("weights", self.kernel, self.side, *weights.shape[2:])
        matrix = self.of_weights.reshape(1, self.side, self.kernel)
        multiply(matrix, flat(weights), flat(result))
        return result

    def columns(self, tiles, channels):
        """Slices of a tile's columns, each of as many as fit the cache for so many tiles."""
        count = max(1, POINTS_IN_CACHE // (self.side * tiles * channels))
        return [slice(k, min(k + count, self.side)) for k in range(0, self.side, count)]

    def multiplied(self, tiles, weights, to_points, from_points, bias=None):
        """from_points @ (tiles * weights at all points), both given by rows, as Maps."""
        inputs, outputs = weights.shape[2:]
        sums = Maps("sums", from_points.shape, tiles.tiles, outputs)
        for columns in self.columns(tiles.tiles, max(inputs, outputs)):
            points = tiles.by_columns(to_points, columns, "points")
            factors = temporary("factors", *points.shape, inputs, outputs)
            evaluate(self.of_weights, flat(weights)[:, columns], flat(factors).swapaxes(0, 1))
            products = Maps("products", points.shape, tiles.tiles, outputs)
            multiply(points.all(), factors, products.all())
            if bias is not None and columns.start <= 1 < columns.stop:
                # A number added at the point (1, 1) is added to every output.
                products.all()[1 - columns.start, 1] += bias
            evaluate(from_points, products.flat().swapaxes(0, 1), sums.flat()[:, columns])
        return sums

    def finished(self, sums, part, matrix):
        """Yield (smaller part, its tiles @ matrix.T as Maps)."""
        for piece, place in self.tiling.pieces(part, sums.channels):
            shape = sums.shape[0], len(matrix)
            tiles = Maps("tiles", shape, self.tiling.count(piece), sums.channels)
            multiply(matrix.reshape(1, *matrix.shape), sums.flat(place), tiles.flat())
            yield piece, tiles


def flat(array):
    """A view of an array with its last two axes as one."""
    return array.reshape(*array.shape[:-2], -1)


class Forward(Winograd):
    """(images, weights[, bias]) -> outputs."""

    def __init__(self, geometry):
        super().__init__(geometry)
        self.shape = geometry.outputs

    def __call__(self, images, weights, bias=None):
        transposed = weights.transpose(2, 3, 1, 0)
        turned = temporary("turned", *transposed.shape)  # the order that products read fastest
        copy(transposed, turned)
        weights = self.weights_by_rows(turned)
        outputs = dnnl.empty(self.shape)
        for part in self.parts:
            tiles = self.by_rows(images, part, self.pad, self.of_images, "rows")
            sums = self.multiplied(tiles, weights, self.of_images, self.of_outputs, bias)
            for piece, tiles in self.finished(sums, part, self.of_outputs):
                self.tiling.paste(tiles, piece, outputs)
        return outputs


class DataGradient(Winograd):
    """(outputs' gradient, weights) -> images' gradient: Forward's steps, transposed, backwards."""

    def __init__(self, geometry):
        super().__init__(geometry)
        self.shape = geometry.images
        self.to_points, self.from_points = aligned(self.of_outputs.T), aligned(self.of_images.T)

    def __call__(self, gradient, weights):
        weights = self.weights_by_rows(weights.transpose(2, 3, 0, 1))
        images = dnnl.empty(self.shape)
        for part in self.parts:
            tiles = self.by_rows(gradient, part, (0, 0), self.to_points, "rows")
            sums = self.multiplied(tiles, weights, self.to_points, self.from_points)
            for piece, tiles in self.finished(sums, part, self.from_points):
                self.tiling.overlap_add(tiles, piece, images)
        return images


class WeightGradient(Winograd):
    """(images, outputs' gradient) -> weights' gradient, by transposed steps of Forward, too."""

    def __init__(self, geometry):
        super().__init__(geometry)
        self.shape = geometry.weights
        self.to_points, self.from_points = aligned(self.of_outputs.T), aligned(self.of_weights.T)

    def __call__(self, images, gradient):
        maps = self.shape[:2]
        total = temporary("weights", self.kernel, self.side, *maps)
        for number, part in enumerate(self.parts):
            tiles = self.by_rows(images, part, self.pad, self.of_images, "rows")
            gradients = self.by_rows(gradient, part, (0, 0), self.to_points, "sums")
            for columns in self.columns(tiles.tiles, max(maps)):
                a = gradients.by_columns(self.to_points, columns, "products")
                b = tiles.by_columns(self.of_images, columns, "points")
                factors = temporary("factors", *b.shape, *maps)
                multiply(a.all().swapaxes(2, 3), b.all(), factors)
                by_column = flat(factors).swapaxes(0, 1)
                evaluate(self.from_points, by_column, flat(total)[:, columns], add=number > 0)
        weights = dnnl.empty(self.shape)
        matrix = self.of_weights.reshape(1, self.side, self.kernel)
        rows = weights.reshape(-1, self.kernel, self.kernel).transpose(1, 0, 2)
        multiply(flat(total).transpose(0, 2, 1), matrix, rows)
        return weights


def forward(geometry, bias):
    """As direct.forward."""
    return Forward(geometry)


data_gradient, weight_gradient = DataGradient, WeightGradient
