"""Successive convolutions or linear layers, with ReLU between them, as one function node.

With Chainer's own nodes a layer takes six of them in a training step; on a GPU arrays would be
transposed for each layer.
"""

from utils.stack import F, chainer
from utils.stack.cpu_layers import CpuLayers
from utils.stack.fused_node import OBSTACLES, FusedNode, can_fuse, geometry_of, log_obstacle
from utils.stack.gpu_layers import GpuLayers


def as_one_node(x, links, relus):
    """x (B, C, H, W) after the Convolution2D `links`, or (B, C) after the Linear ones, ReLU after
    the first `relus` of them.

    None if they cannot be one node: without oneDNN or cuDNN, for what these cannot do, or as
    `can_fuse` says.
    """
    x = chainer.as_variable(x)
    params = [param for link in links for param in (link.W, link.b)]
    backend = next((b for b in (CpuLayers, GpuLayers) if b.accepts(x.array)), None)
    if backend is None or not can_fuse(x, *params):
        return None
    geometries, images = [], x.shape
    for link in links:
        if images[1] != link.W.shape[1] * getattr(link, "groups", 1):
            return None  # Chainer's own node will say what is wrong
        geometries.append(geometry_of(link, images, backend.dtype_in_use()))
        images = geometries[-1].outputs
    if any(min(geometry.outputs) < 1 for geometry in geometries):
        return None
    try:
        return Layers(backend(geometries, relus)).apply((x, *params))[0]
    except OBSTACLES as obstacle:
        log_obstacle(obstacle)
        return None


class Layers(FusedNode):
    """x, W, b, W, b, ... -> the output of the last layer; layers: its backend, a CpuLayers or
    GpuLayers."""

    def __init__(self, layers):
        self.layers = layers
        self.gradients = layers.gradients

    def forward(self, inputs):
        self.retain_inputs(range(len(inputs)))
        return (self.layers.forward(*inputs),)

    def by_nodes(self, x, *params):
        for k, geometry in enumerate(self.layers.geometries):
            W, b = params[2 * k : 2 * k + 2]
            if W.ndim == 2:
                x = F.linear(x, W, b)
            else:
                how = {"dilate": geometry.dilate, "groups": geometry.groups}
                x = F.convolution_2d(x, W, b, geometry.stride, geometry.pad, **how)
            x = F.relu(x) if k < self.layers.relus else x
        return [x]
