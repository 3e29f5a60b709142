"""Successive convolutions or linear layers, with ReLU between them, as one function node.

With Chainer's own nodes a layer takes six of them in a training step.  Their Python code takes
longer than the arithmetic of small layers, and on a GPU arrays would be transposed for each layer.
"""

import os
from logging import WARNING

from utils.stack import F, chainer, cudnn_plans, providers
from utils.stack.cpu_layers import CpuLayers
from utils.stack.geometry import Geometry, product
from utils.stack.gpu_layers import GpuLayers
from utils.stack.providers import Unsuitable

OBSTACLES = Unsuitable, cudnn_plans.Error
get_conv_outsize = chainer.utils.conv.get_conv_outsize


def fused(x, links, relus):
    """x (B, C, H, W) after the Convolution2D `links`, or (B, C) after the Linear ones, ReLU after
    the first `relus` of them.

    None if they cannot be one node: without oneDNN or cuDNN, for what these cannot do, if there are
    function hooks, or with CHAINER_LAYERS=0.
    """
    x = chainer.as_variable(x)
    params = [param for link in links for param in (link.W, link.b)]
    backend = next((b for b in (CpuLayers, GpuLayers) if b.accepts(x.array)), None)
    if backend is None or not can_fuse(x, params):
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


def log_obstacle(obstacle):
    """Log, once for each reason, that layers are computed one by one."""
    level, reason = obstacle.args if isinstance(obstacle, Unsuitable) else (WARNING, str(obstacle))
    providers.log_once(level, f"layers are not one node: {reason}")


def geometry_of(link, images, dtype):
    """The Geometry of a convolution or linear layer for images of this shape."""
    if link.W.ndim == 2:
        return product(images[0], *link.W.shape, dtype)
    stride, pad, dilate, weights = link.stride, link.pad, link.dilate, link.W.shape
    size = map(get_conv_outsize, images[2:], weights[2:], stride, pad, (False, False), dilate)
    outputs = images[0], weights[0], *size
    return Geometry(images, weights, outputs, stride, pad, dilate, link.groups, dtype)


def can_fuse(x, params):
    """Whether this input and these parameters can be computed as one node."""
    arrays = [x.array, *(None if param is None else param.array for param in params)]
    whole = all(array is not None and array.dtype == "f4" and array.size for array in arrays)
    wanted = os.environ.get("CHAINER_LAYERS") != "0"
    return whole and wanted and not chainer.get_function_hooks()


class Layers(chainer.FunctionNode):
    """x, W, b, W, b, ... -> the output of the last layer; layers: its backend, a CpuLayers or
    GpuLayers."""

    def __init__(self, layers):
        self.layers = layers

    def forward(self, inputs):
        self.retain_inputs(range(len(inputs)))
        return (self.layers.forward(*inputs),)

    def backward(self, indexes, grad_outputs):
        double_backprop = chainer.config.enable_backprop
        if not double_backprop:
            try:
                found = self.layers.gradients(set(indexes), grad_outputs[0].array)
                return tuple(chainer.as_variable(found[i]) for i in indexes)
            except OBSTACLES as obstacle:
                log_obstacle(obstacle)
        inputs = self.get_retained_inputs()
        with chainer.force_backprop_mode():
            y = self.layer_by_layer(*inputs)
        wanted = [inputs[i] for i in indexes]
        options = {"enable_double_backprop": double_backprop}
        return tuple(chainer.grad([y], wanted, grad_outputs, **options))

    def layer_by_layer(self, x, *params):
        """The same by Chainer's own nodes, whose gradients can be differentiated."""
        for k, geometry in enumerate(self.layers.geometries):
            W, b = params[2 * k : 2 * k + 2]
            if W.ndim == 2:
                x = F.linear(x, W, b)
            else:
                how = {"dilate": geometry.dilate, "groups": geometry.groups}
                x = F.convolution_2d(x, W, b, geometry.stride, geometry.pad, **how)
            x = F.relu(x) if k < self.layers.relus else x
        return x
