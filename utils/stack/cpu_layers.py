"""Successive layers on a CPU, by oneDNN, with the same bits as Chainer's own function nodes."""

import numpy as np

from utils.stack import chainer, onednn
from utils.stack.sums import sum_by_map


class CpuLayers:
    """The arithmetic of `layers.Layers` on NumPy arrays."""

    dtype_in_use = staticmethod(onednn.dtype_in_use)

    def __init__(self, geometries, relus):
        self.geometries, self.relus = geometries, relus

    @staticmethod
    def accepts(array):
        """Whether this class can compute layers of such an array."""
        return type(array) is np.ndarray and onednn.usable()

    def forward(self, x, *params):
        """x (B, C, H, W) or (B, C), then weights and bias of each layer, all float32 -> the output
        of the last layer, (B, O, H', W') or (B, O); Unsuitable for what oneDNN cannot do."""
        x, *params = map(np.ascontiguousarray, (x, *params))
        self.maps, self.weights = [x], params[::2]
        for k, (W, b) in enumerate(zip(self.weights, params[1::2], strict=True)):
            if W.ndim == 2:
                y = onednn.multiplied(self.maps[-1], W.T)
                y += b
            else:
                y = onednn.convolved("forward", self.geometries[k], self.maps[-1], W, b)
            if k < self.relus:
                np.maximum(y, 0, out=y)
            self.maps.append(y)
            if not chainer.config.enable_backprop:
                del self.maps[0]
        return y

    def gradients(self, wanted, gy):
        """{index of an input of `forward`: its gradient}, at least for the indexes wanted.

        gy: the gradient of `forward`'s output.
        """
        gy, found = np.ascontiguousarray(gy), {}
        for k in reversed(range(len(self.weights))):
            x, W = self.maps[k], self.weights[k]
            if k < self.relus:
                gy = gy * (self.maps[k + 1] > 0)
            if wanted & {2 * k + 1, 2 * k + 2}:
                found[2 * k + 1] = self.weight_gradient(k, x, gy)
                found[2 * k + 2] = sum_by_map(gy)
            if min(wanted) > 2 * k:
                return found
            if W.ndim == 2:
                gy = onednn.multiplied(gy, W)
            else:
                gy = onednn.convolved("data_gradient", self.geometries[k], gy, W)
        return found | {0: gy}

    def weight_gradient(self, k, x, gy):
        """The gradient of the weights of layer `k`; x: its input, gy: its output's gradient."""
        if gy.ndim == 2:
            return onednn.multiplied(gy.T, x)
        return onednn.convolved("weight_gradient", self.geometries[k], x, gy)
