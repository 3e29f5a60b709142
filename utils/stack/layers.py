"""Convolutions or linear layers in a row, ReLU between them, as one function node on a GPU.

From layer to layer their arrays keep channels last, in 16 bits for bfloat16, as cuDNN's engines
want them: only what comes in, what goes out is transposed, by one kernel each.  A layer is two
kernels forward, one of which adds the bias, takes the ReLU; and three backward, one of which makes
the gradients of both.
"""

import os
from logging import WARNING

from utils.stack import F, casts, chainer, cudnn, cudnn_engines, cudnn_plans, kernels, providers
from utils.stack.geometry import Geometry
from utils.stack.providers import Unsuitable

DTYPES = "tf32", "bfloat16"  # float16 would need a power of two beside each array
get_conv_outsize = chainer.utils.conv.get_conv_outsize


def fused(x, links, relus):
    """x (B, C, H, W) after the Convolution2D `links`, or (B, C) after the Linear ones, ReLU after
    the first `relus` of them.

    None where they are not to be one node: on a CPU, without cuDNN, in other types than DTYPES, for
    what cuDNN has no engine, where function hooks watch each, with CHAINER_LAYERS=0.
    """
    x = chainer.as_variable(x)
    params = [param for link in links for param in (link.W, link.b)]
    if not fit(x, params):
        return None
    geometries, images = [], x.shape
    for link in links:
        geometries.append(geometry_of(link, images))
        images = geometries[-1].outputs
    if any(min(geometry.outputs) < 1 for geometry in geometries):
        return None
    try:
        return Layers(geometries, relus).apply((x, *params))[0]
    except (Unsuitable, cudnn_plans.Error) as obstacle:
        tell(obstacle)
        return None


def tell(obstacle):
    """Log, once for each reason, that layers are done one by one."""
    level, reason = obstacle.args if isinstance(obstacle, Unsuitable) else (WARNING, str(obstacle))
    providers.log_once(level, f"layers are not one node: {reason}")


def geometry_of(link, images):
    """The Geometry of a convolution or linear layer for images of this shape."""
    if link.W.ndim == 2:
        return cudnn.product(images[0], *link.W.shape)
    how = link.stride, link.pad, link.dilate
    size = map(get_conv_outsize, images[2:], link.W.shape[2:], *how[:2], (False,) * 2, how[2])
    shapes = images, link.W.shape, (images[0], link.W.shape[0], *size)
    return Geometry(*shapes, *how, link.groups, cudnn.dtype_in_use())


def fit(x, params):
    """Whether this input and these parameters can be computed as one node."""
    dtype = cudnn.dtype_in_use() if isinstance(x.array, chainer.backends.cuda.ndarray) else None
    wanted = kernels.usable() and os.environ.get("CHAINER_LAYERS") != "0"
    if dtype not in DTYPES or not wanted:
        return False
    arrays = [x.array, *(None if param is None else param.array for param in params)]
    whole = all(array is not None and array.dtype == "f4" and array.size for array in arrays)
    return whole and not chainer.get_function_hooks()


class Layers(chainer.FunctionNode):
    """x, W, b, W, b, ... -> x after these layers."""

    def __init__(self, geometries, relus):
        self.geometries, self.relus = geometries, relus
        self.dtype = geometries[0].dtype

    def forward(self, inputs):
        self.retain_inputs(range(len(inputs)))
        self.shapes = [array.shape for array in inputs]
        x, *params = inputs
        shapes = self.geometries[0].images, *(geometry.weights for geometry in self.geometries)
        made = self.packed([x, *params[::2]], shapes)
        self.maps, self.weights = made[:1], made[1:]
        for k, geometry in enumerate(self.geometries):
            factors = {"images": self.maps[-1], "weights": self.weights[k]}
            made = self.computed("forward", geometry, factors)
            bias = kernels.get_cupy().ascontiguousarray(params[2 * k + 1])
            if k < max(self.relus, len(self.geometries) - 1):
                made = casts.activated(made, bias, self.dtype, relu=k < self.relus)
                bias = None  # else it is added to float32 numbers
            self.maps.append(made)
            if not chainer.config.enable_backprop:
                del self.maps[0]
        (y,) = casts.unpacked([made], self.dtype, bias=bias)
        return (y.reshape(geometry.outputs[: x.ndim]),)

    def backward(self, indexes, grad_outputs):
        twice = chainer.config.enable_backprop  # so Chainer tells that gradients need some
        if not twice:
            try:
                found = self.gradients(set(indexes), grad_outputs[0].array)
                return tuple(chainer.as_variable(found[i]) for i in indexes)
            except (Unsuitable, cudnn_plans.Error) as obstacle:
                tell(obstacle)
        inputs = self.get_retained_inputs()
        with chainer.force_backprop_mode():
            y = self.plainly(*inputs)
        wanted = [inputs[i] for i in indexes]
        return tuple(chainer.grad([y], wanted, grad_outputs, enable_double_backprop=twice))

    def gradients(self, wanted, gy):
        """{number of an input: its gradient}, at least of those wanted."""
        groups = [casts.groups(geometry.weights[0]) for geometry in self.geometries]
        counters = kernels.get_cupy().zeros(sum(groups), "int32")
        (gradient,) = self.packed([gy], [self.geometries[-1].outputs])
        sums, products = {}, {}
        for k in reversed(range(len(self.geometries))):
            geometry, made = self.geometries[k], self.maps[k + 1] if k < self.relus else None
            done = counters[sum(groups[:k]) :]
            passed, sums[2 * k + 2] = casts.passed_on(gradient, made, self.dtype, done)
            outputs = {"outputs": passed}
            if 2 * k + 1 in wanted:
                factors = outputs | {"images": self.maps[k]}
                products[2 * k + 1] = self.computed("weight_gradient", geometry, factors)
            if min(wanted) > 2 * k:
                break
            factors = outputs | {"weights": self.weights[k]}
            gradient = self.computed("data_gradient", geometry, factors)
        else:
            products[0] = gradient
        arrays = casts.unpacked(products.values(), self.dtype)
        return sums | {
            i: array.reshape(self.shapes[i]) for i, array in zip(products, arrays, strict=True)
        }

    def packed(self, arrays, shapes):
        rows = [cudnn.as_aligned(a).reshape(shape) for a, shape in zip(arrays, shapes, strict=True)]
        return casts.packed(rows, self.dtype)

    def computed(self, direction, geometry, factors):
        """What cuDNN makes of the factors."""
        (written,) = set(cudnn_engines.OPERANDS) - factors.keys()
        shape = dict(zip(cudnn_engines.OPERANDS, geometry, strict=False))[written]
        made = kernels.get_cupy().empty(shape, casts.KEPT_IN[self.dtype])
        cudnn_engines.compute(direction, geometry, factors | {written: made}, last=True)
        return made

    def plainly(self, x, *params):
        """The same node by node, whose gradients have gradients."""
        for k, geometry in enumerate(self.geometries):
            W, b = params[2 * k : 2 * k + 2]
            if W.ndim == 2:
                x = F.linear(x, W, b)
            else:
                how = {"dilate": geometry.dilate, "groups": geometry.groups}
                x = F.convolution_2d(x, W, b, geometry.stride, geometry.pad, **how)
            x = F.relu(x) if k < self.relus else x
        return x
