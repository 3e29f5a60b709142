"""What gates let through, as one node on a CPU: the same as node by node."""

import numpy as np
import pytest

from tests.arrays import random
from tests.layers import nodes
from utils.stack import F, chainer
from utils.stack.gates import gated, renewed

MAPS = 3


def inputs(function, sums):
    """What goes in: x or a memory, then so many arrays whose sum is the gates."""
    x, gates = (2, MAPS, 4, 5), (2, MAPS if function is gated else 3 * MAPS, 4, 5)
    return [chainer.Variable(random(shape, k)) for k, shape in enumerate((x, *[gates] * sums))]


def results(function, sums, wanted):
    """What comes out, the gradients with respect to the inputs numbered `wanted`, theirs."""
    going_in = inputs(function, sums)
    y = function(*going_in)
    some = [going_in[k] for k in wanted]
    once = chainer.grad([F.sum(y * y)], some, enable_double_backprop=True)
    twice = chainer.grad([sum(F.sum(g * g) for g in once)], some)
    plain = chainer.grad([function(*going_in)], some, [chainer.Variable(random(y.shape, 9))])
    return [v.array for v in (y, *once, *twice, *plain)]


@pytest.mark.parametrize("wanted", [(0,), (1,), (0, 2), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("function", [gated, renewed])
def test_is_the_same_as_node_by_node(monkeypatch, function, wanted):
    found = results(function, 2, wanted)
    monkeypatch.setenv("CHAINER_LAYERS", "0")
    for one, other in zip(found, results(function, 2, wanted), strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("function", [gated, renewed])
def test_gates_may_be_made_from_what_they_are_for(monkeypatch, function):
    """A path from one input to another is not part of the node's own gradient."""

    def gradients():
        x, gates = inputs(function, 1)
        loss = F.sum(function(x, gates * F.tile(x, (1, gates.shape[1] // MAPS, 1, 1))) ** 2)
        once = chainer.grad([loss], [x, gates], enable_double_backprop=True)
        return [g.array for g in (*once, *chainer.grad([F.sum(once[0] ** 2)], [x, gates]))]

    found = gradients()
    monkeypatch.setenv("CHAINER_LAYERS", "0")
    for one, other in zip(found, gradients(), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())


@pytest.mark.parametrize("function", [gated, renewed])
@pytest.mark.parametrize("which", [(1,), (1, 2), (2,)], ids=str)
def test_gates_may_be_the_same_everywhere(monkeypatch, function, which):
    def gradients():
        going_in = inputs(function, 2)
        for k in which:
            going_in[k] = chainer.Variable(going_in[k].array[..., :1])
        y = function(*going_in)
        return [g.array for g in chainer.grad([F.sum(y * y)], going_in)]

    found = gradients()
    monkeypatch.setenv("CHAINER_LAYERS", "0")
    for one, other in zip(found, gradients(), strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sums", [1, 3])
@pytest.mark.parametrize("function", [gated, renewed])
def test_is_one_node_unless_turned_off(monkeypatch, function, sums):
    assert len(nodes(function(*inputs(function, sums)))) == 1
    monkeypatch.setenv("CHAINER_LAYERS", "0")
    assert len(nodes(function(*inputs(function, sums)))) >= 3


@pytest.mark.parametrize("function", [gated, renewed])
def test_leaves_what_it_is_given_as_it_was(function):
    going_in = inputs(function, 1)
    before = [v.array.copy() for v in going_in]
    y = function(*going_in)
    given = chainer.Variable(np.ones_like(y.array))
    chainer.grad([y], going_in, [given])
    for v, copy in zip((*going_in, given), (*before, np.ones_like(y.array)), strict=True):
        np.testing.assert_array_equal(v.array, copy)
