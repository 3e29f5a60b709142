"""Images cut into overlapping tiles of one size, and put together again."""

import math

import numpy as np

from utils.stack import dnnl
from utils.stack.products import copy, multiply

LINE = 16  # numbers in a cache line
IN_CACHE = 2**21  # numbers that stay in the cache from one step to the next


def temporary(name, *shape):
    """An uninitialised float32 array, valid until the next temporary of that name."""
    return dnnl.thread.buffers[name].array(*shape)


class Maps:
    """The tiles of several images, stored as one matrix (tiles, channels) for each pixel of a tile.

    shape: of a tile, (rows, columns). Rows of the matrices are padded: at distances of a power of
    two they would compete for the same cache lines.
    """

    def __init__(self, name, shape, tiles, channels):
        self.shape, self.tiles, self.channels = shape, tiles, channels
        self._step = (-(-channels // LINE) + 1) * LINE
        self._rows = temporary(name, *shape, tiles * self._step + LINE)

    def flat(self, tiles=slice(None)):
        """(*shape, numbers) of a range of tiles, padding included."""
        start, stop, _ = tiles.indices(self.tiles)
        return self._rows[..., start * self._step : stop * self._step]

    def all(self):
        """(*shape, tiles, channels)"""
        return self.flat().reshape(*self.shape, self.tiles, -1)[..., : self.channels]

    def by_columns(self, matrix, columns, name):
        """matrix @ each of these columns of each tile, as Maps called `name`, column by column."""
        shape = columns.stop - columns.start, len(matrix)
        result = Maps(name, shape, self.tiles, self.channels)
        evaluate(matrix, self.flat()[:, columns], result.flat().swapaxes(0, 1))
        return result


def evaluate(matrix, columns, out, add=False):
    """out[:, k] = matrix @ columns[:, k] for every k, or with `add` out[:, k] += that."""
    ends = columns.swapaxes(0, 1), out.swapaxes(0, 1)
    multiply(matrix.reshape(1, *matrix.shape), *ends, add)


class Tiling:
    """Divides the images and outputs of a convolution into tiles, `step` pixels apart.

    A "part" of the tiles is a pair of slices: (images, rows of tiles).
    """

    def __init__(self, geometry, side):
        self.side, self.step = side, side - geometry.weights[-1] + 1
        self.pad = geometry.pad
        self.batch, _, *size = geometry.outputs
        self.rows, self.columns = (-(-n // self.step) for n in size)

    def parts(self, tiles):
        """Yield parts that together are all tiles, each of about `tiles` of them."""
        return self._divided((slice(0, self.batch), slice(0, self.rows)), tiles)

    def pieces(self, part, channels):
        """Yield (smaller part that fits the cache, its slice of the tiles of `part`)."""
        start = 0
        for piece in self._divided(part, IN_CACHE // (self.side**2 * channels)):
            stop = start + self.count(piece)
            yield piece, slice(start, stop)
            start = stop

    def _divided(self, part, tiles):
        _, rows, columns = self._counts(part)
        image_step, row_step = max(1, tiles // (rows * columns)), max(1, tiles // columns)
        images, rows = part
        for image in range(images.start, images.stop, image_step):
            for row in range(rows.start, rows.stop, row_step):
                yield (
                    slice(image, min(image + image_step, images.stop)),
                    slice(row, min(row + row_step, rows.stop)),
                )

    def count(self, part):
        """How many tiles a part has."""
        return math.prod(self._counts(part))

    def _counts(self, part):
        """How many images, rows of tiles, columns of tiles a part has."""
        images, rows = part
        return images.stop - images.start, rows.stop - rows.start, self.columns

    def cut(self, images, part, size, pad):
        """Tiles of size x size of images (B, C, H, W), zero-padded, as Maps."""
        buffer, pixels, (y, x) = self._frame(images, part, size, pad)
        buffer[:, : y.start] = buffer[:, y.stop :] = 0
        buffer[:, y, : x.start] = buffer[:, y, x.stop :] = 0
        copy(pixels.transpose(0, 2, 3, 1), buffer[:, y, x])
        tiles = Maps("tiles", (size, size), self.count(part), buffer.shape[3])
        grid = self._grid(tiles, part)
        np.copyto(grid, self._overlapping(buffer, grid.shape))
        return tiles

    def overlap_add(self, tiles, part, images):
        """The transpose of `cut`: write tiles into images (B, C, H, W), summed where they overlap.

        Several parts of one image overlap, too: the first one clears it, and all add to it.
        """
        whole, first = part[1] == slice(0, self.rows), part[1].start == 0
        side, _ = tiles.shape
        buffer, pixels, (y, x) = self._frame(images, part, side, self.pad)
        buffer[...] = 0
        grid = self._grid(tiles, part)
        for down in range(0, side, self.step):  # blocks of `step` pixels of tiles do not overlap
            for right in range(0, side, self.step):
                block = grid[down : down + self.step, right : right + self.step]
                target = self._overlapping(buffer[:, down:, right:], block.shape)
                if self.step > 2:
                    copy(block, target, add=True)
                else:  # oneDNN is slower for such small pieces
                    target += block
        if first and not whole:
            images[part[0]] = 0
        copy(buffer[:, y, x].transpose(0, 3, 1, 2), pixels, add=not whole)

    def paste(self, tiles, part, outputs):
        """Write tiles of step x step, which do not overlap, into outputs (B, C, H, W)."""
        buffer, pixels, (y, x) = self._frame(outputs, part, self.step, (0, 0))
        grid = self._grid(tiles, part)
        np.copyto(self._overlapping(buffer, grid.shape), grid)
        copy(buffer[:, y, x].transpose(0, 3, 1, 2), pixels)

    def _frame(self, images, part, size, pad):
        """(buffer, pixels, place) for the area of the images that a part's tiles span.

        buffer: uninitialised memory for the area, channels last. pixels: a view of the pixels of
        the images that lie in the area. place: their (rows, columns), two slices, in the buffer.
        """
        batch, rows = part
        number, *counts = self._counts(part)
        first = rows.start * self.step - pad[0], -pad[1]
        spans = [(count - 1) * self.step + size for count in counts]
        inside = [
            slice(max(start, 0), min(start + span, edge))
            for start, span, edge in zip(first, spans, images.shape[2:], strict=True)
        ]
        place = [slice(i.start - n, i.stop - n) for i, n in zip(inside, first, strict=True)]
        buffer = temporary("framed", number, *spans, images.shape[1])
        return buffer, images[(batch, slice(None), *inside)], place

    def _grid(self, tiles, part):
        """Maps as (row, column in a tile, image, row, column of tiles, channel)."""
        return tiles.all().reshape(*tiles.shape, *self._counts(part), tiles.channels)

    def _overlapping(self, buffer, shape):
        """A view of the buffer of `_frame` with the axes of `_grid`: the tiles in it."""
        image, down, right, channel = buffer.strides
        strides = down, right, image, self.step * down, self.step * right, channel
        return np.lib.stride_tricks.as_strided(buffer, shape, strides)
