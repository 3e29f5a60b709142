"""A few layers in a row, images for them, what comes of both."""

import numpy as np

from models.blocks import sequential
from tests.arrays import put, random
from utils.stack import F, L, chainer


def links(put=put, linear=False):
    """Odd channels, more than a tile of them, strides, pads."""
    np.random.seed(0)
    if linear:
        sizes = (5 * 9 * 8, 33), (33, 7), (7, 1)
        made = [L.Linear(*size, initial_bias=0.1) for size in sizes]
    else:
        made = [
            L.Convolution2D(5, 7, 3, pad=1, initial_bias=0.1),
            L.Convolution2D(7, 40, (3, 2), stride=(1, 2), initial_bias=-0.1),
            L.Convolution2D(40, 3, 1, initial_bias=0.2),
        ]
    for link in made:
        for param in link.params():
            param.array = put(param.array)
    return made


def images(batch, put=put):
    return chainer.Variable(put(random((batch, 5, 9, 8))))


def results(relus, batch=2, put=put, linear=False):
    """What comes out, all gradients."""
    x, made = images(batch, put), links(put, linear)
    y = sequential(F.reshape(x, (batch, -1)) if linear else x, made, relus)
    params = [param for link in made for param in link.params()]
    gradients = chainer.grad([loss(y)], [x, *params])
    return [y.array, *(gradient.array for gradient in gradients)]


def loss(y):
    return F.sum(y * y)


def nodes(y):
    """Labels of the function nodes behind a Variable."""
    found, creators = [], [y.creator]
    while creators:
        node = creators.pop()
        found.append(node.label)
        creators += [v.creator_node for v in node.inputs if v.creator_node]
    return found
