"""Windows of two frames convolved in space and time: one function node on the CPU, where Chainer's
own are six, with fourteen more for gradients."""

import numpy as np

from utils.stack import F, chainer, onednn
from utils.stack.cpu_layers import CpuLayers
from utils.stack.fused_node import OBSTACLES, FusedNode, can_fuse, log_obstacle
from utils.stack.geometry import Geometry
from utils.stack.sums import sum_by_map


def convolved(x, same, ahead, *bias):
    """A convolution of windows (x0, x1) to the same size: (same * x0 + ahead * x1, same * x1), to
    both of which the bias is added.

    x: (2 * B, I, H, W), all x0, then all x1. same, ahead: weights (O, I, K, K) for the frame itself
    and for the one after it, K odd. bias: (O,), if any. Returns a Variable, (2 * B, O, H, W).
    """
    inputs, node = list(map(chainer.as_variable, (x, same, ahead, *bias))), OverTime()
    if CpuLayers.accepts(inputs[0].array) and can_fuse(*inputs):
        try:
            return node.apply(inputs)[0]
        except OBSTACLES as obstacle:
            log_obstacle(obstacle)
    return node.by_nodes(*inputs)[0]


class OverTime(FusedNode):
    """The arguments of `convolved` -> what it returns."""

    def forward(self, inputs):
        self.retain_inputs(range(len(inputs)))
        x, same, ahead, *bias = map(np.ascontiguousarray, inputs)
        y = onednn.convolved("forward", geometry_of(x, same), x, same, *bias)
        x1 = x[len(x) // 2 :]
        y[: len(x1)] += onednn.convolved("forward", geometry_of(x1, ahead), x1, ahead)
        return (y,)

    def gradients(self, indexes, gy):
        x, same, ahead, *_ = (np.ascontiguousarray(v.array) for v in self.get_retained_inputs())
        gy, half = np.ascontiguousarray(gy), len(x) // 2
        x1, gy0, found = x[half:], gy[:half], {}
        whole, of_x1 = geometry_of(x, same), geometry_of(x1, ahead)
        if 0 in indexes:
            found[0] = onednn.convolved("data_gradient", whole, gy, same)
            found[0][half:] += onednn.convolved("data_gradient", of_x1, gy0, ahead)
        if 1 in indexes:
            found[1] = onednn.convolved("weight_gradient", whole, x, gy)
        if 2 in indexes:
            found[2] = onednn.convolved("weight_gradient", of_x1, x1, gy0)
        if 3 in indexes:
            found[3] = sum_by_map(gy)
        return found

    def by_nodes(self, x, same, ahead, *bias):
        pad = same.shape[-1] // 2
        y0, y1 = F.split_axis(F.convolution_2d(x, same, *bias, pad=pad), 2, axis=0)
        y0_too = F.convolution_2d(x[len(x) // 2 :], ahead, pad=pad)
        return [F.concat([y0 + y0_too, y1], axis=0)]


def geometry_of(x, W):
    """The Geometry of a convolution to the same size."""
    outputs = len(x), len(W), *x.shape[2:]
    pad = tuple(side // 2 for side in W.shape[2:])
    return Geometry(x.shape, W.shape, outputs, (1, 1), pad, (1, 1), 1, onednn.dtype_in_use())
