"""A function node that stands for several of Chainer's own, whose Python code takes longer than the
arithmetic of small layers."""

import os
from logging import WARNING

from utils.stack import F, chainer, cudnn_plans, providers
from utils.stack.geometry import Geometry, product
from utils.stack.providers import Unsuitable

OBSTACLES = Unsuitable, cudnn_plans.Error
get_conv_outsize = chainer.utils.conv.get_conv_outsize


def can_fuse(*inputs):
    """Whether nodes with these Variables as inputs can be one: float32, none empty, no function
    hooks; not with CHAINER_LAYERS=0."""
    arrays = [None if x is None else x.array for x in inputs]
    whole = all(array is not None and array.dtype == "f4" and array.size for array in arrays)
    wanted = os.environ.get("CHAINER_LAYERS") != "0"
    return whole and wanted and not chainer.get_function_hooks()


def log_obstacle(obstacle):
    """Log, once for each reason, that layers are computed one by one."""
    if not isinstance(obstacle, Unsuitable):
        obstacle = Unsuitable(WARNING, str(obstacle))
    providers.log_once(obstacle.level, f"layers are not one node: {obstacle.reason}")


def geometry_of(link, images, dtype):
    """The Geometry of a convolution or linear layer for images of this shape."""
    if link.W.ndim == 2:
        return product(images[0], *link.W.shape, dtype)
    stride, pad, dilate, weights = link.stride, link.pad, link.dilate, link.W.shape
    size = map(get_conv_outsize, images[2:], weights[2:], stride, pad, (False, False), dilate)
    outputs = images[0], weights[0], *size
    return Geometry(images, weights, outputs, stride, pad, dilate, link.groups, dtype)


class FusedNode(chainer.FunctionNode):
    """What subclasses share: gradients that are to be differentiated, or that a library cannot
    compute, are those of Chainer's own nodes.

    A subclass has `forward`, which retains all inputs; `gradients(indexes, *arrays)`, which returns
    {index of an input: its gradient}, at least for those indexes, from the outputs' gradients, None
    for one that has none; and `by_nodes(*inputs)`, the outputs by Chainer's own nodes, a list.
    """

    def backward(self, indexes, grad_outputs):
        double_backprop = chainer.config.enable_backprop
        if not double_backprop:
            arrays = [None if grad is None else grad.array for grad in grad_outputs]
            try:
                found = self.gradients(set(indexes), *arrays)
                return tuple(chainer.as_variable(found[i]) for i in indexes)
            except OBSTACLES as obstacle:
                log_obstacle(obstacle)
        with chainer.force_backprop_mode():
            # A path from one input to another, as from a memory to its gates, is not this node's.
            inputs = [F.identity(x) for x in self.get_retained_inputs()]
            outputs = self.by_nodes(*inputs)
        pairs = zip(outputs, grad_outputs, strict=True)
        ys, gys = zip(*((y, gy) for y, gy in pairs if gy is not None), strict=True)
        wanted = [inputs[i] for i in indexes]
        return tuple(chainer.grad(ys, wanted, gys, enable_double_backprop=double_backprop))
