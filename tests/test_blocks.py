"""Layers that several architectures are made of."""

import numpy as np
import pytest

from models.blocks import deconvolution, transposed_convolution
from tests.arrays import random


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("outputs", [3, 64])
def test_a_transposed_convolution_begins_with_the_variance_of_its_input(stride, outputs):
    np.random.seed(0)
    made = transposed_convolution(64, outputs, stride)(random((8, 64, 16, 16))).array
    assert made.shape == (8, outputs, 16 * stride, 16 * stride)
    assert made[:, :, 2:-2, 2:-2].var() == pytest.approx(1, rel=0.1)


def test_transposed_convolutions_with_relus_keep_what_is_expected_of_a_square():
    np.random.seed(0)
    y = random((8, 64, 8, 8))
    for _ in range(3):
        y = deconvolution(64, 64, stride=2)(y)
    assert (y.array[:, :, 8:-8, 8:-8] ** 2).mean() == pytest.approx(1, rel=0.3)
