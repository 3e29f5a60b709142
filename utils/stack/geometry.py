"""The shapes of a convolution, with all else that tells what it means."""

from typing import NamedTuple


def steps(node):
    """Stride, padding, dilation of one of Chainer's function nodes: each a tuple over the axes."""
    if hasattr(node, "ndim"):
        return node.stride, node.pad, node.dilate
    return (node.sy, node.sx), (node.ph, node.pw), (node.dy, node.dx)


class Geometry(NamedTuple):
    """A convolution over any number of axes, of which most have two: height, width."""

    images: tuple  # (B, I, H, W)
    weights: tuple  # (O, I / groups, kernel height, kernel width)
    outputs: tuple  # (B, O, output height, output width)
    stride: tuple
    pad: tuple  # before the first row, before the first column
    dilate: tuple
    groups: int = 1
    dtype: str = "float32"  # of the numbers multiplied; arrays are always float32

    @property
    def pad_after(self):
        """After the last row, column: as much as before if that gives these outputs, else just
        what they need, maybe less than nothing."""
        return tuple(map(_pad_after, *(part[2:] for part in self[:3]), *self[3:6]))


def _pad_after(size, kernel, output, stride, pad, dilate):
    reach = dilate * (kernel - 1) + 1
    if (size + 2 * pad - reach) // stride + 1 == output:
        return pad
    return stride * (output - 1) + reach - size - pad
