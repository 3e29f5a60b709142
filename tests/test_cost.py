"""Parameters and operations against hand counts."""

from functools import partial

import numpy as np
import pytest

import models
from utils.cost import Count, flops
from utils.stack import F, L, chainer


def counted(function, *arrays):
    with Count() as count:
        function(*(np.ones(shape, np.float32) for shape in arrays))
    return count.flops


@pytest.mark.parametrize(
    "function, shapes, expected",
    [
        (L.Convolution2D(3, 8, 5, pad=2), [(2, 3, 9, 7)], 2 * 2 * 8 * 9 * 7 * 3 * 25),
        (L.Convolution2D(4, 8, 3, groups=2), [(1, 4, 5, 5)], 2 * 8 * 9 * 2 * 9),
        (L.Deconvolution2D(3, 8, 4, 2, 1), [(1, 3, 5, 5)], 2 * 3 * 25 * 8 * 16),
        (L.ConvolutionND(3, 2, 4, 3), [(1, 2, 3, 5, 5)], 2 * 4 * 9 * 2 * 27),
        (L.Linear(6, 5), [(3, 6)], 2 * 3 * 5 * 6),
        (F.matmul, [(2, 3, 4), (2, 4, 5)], 2 * 2 * 3 * 5 * 4),
        (partial(F.matmul, transa=True, transb=True), [(4, 3), (5, 4)], 2 * 3 * 5 * 4),
        (F.relu, [(2, 3)], 0),
    ],
)
def test_operations_of_one_layer(function, shapes, expected):
    assert counted(function, *shapes) == expected


def test_the_papers_generator_costs_what_its_layers_do():
    """18.6 GFLOP a 32x32 frame; a frame of four times the pixels costs four times as much."""
    gen = models.create("multiscale", 4, 1, 3, (32, 32))
    expected = 0
    for refiner, factor in zip(gen.refiners, gen.factors, strict=True):
        for conv in refiner:
            expected += 2 * conv.W.size * (32 // factor) ** 2
    assert flops(gen, (32, 32)) == expected
    assert expected == pytest.approx(18.65e9, rel=0.01)
    assert flops(gen, (64, 64)) == 4 * expected
    assert gen.count_params() == 12_569_740
    assert chainer.config.train
