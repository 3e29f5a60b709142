"""Windows convolved in one node on a CPU: the same as node by node."""

import logging

import numpy as np
import pytest

from models.e3d_lstm import OverTime
from tests.arrays import random
from tests.convolutions import needs_onednn
from tests.layers import nodes
from utils.stack import F, chainer, onednn, providers
from utils.stack.providers import Unsuitable

pytestmark = [needs_onednn, pytest.mark.usefixtures("log_anew")]

SHAPE = 6, 4, 5, 7  # three windows


@pytest.fixture(params=[None, 0.5], ids=["", "bias"])
def link(request):
    np.random.seed(0)
    return OverTime(4, 3, 3, request.param)


def results(link):
    """What comes out, then the gradients of all that goes in."""
    x = chainer.Variable(random(SHAPE))
    y = link(x)
    found = chainer.grad([F.sum(y**3)], [x, *link.params()])
    return [v.array for v in (y, *found)]


def assert_alike(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-5 * np.abs(other).max())


def test_is_the_same_as_node_by_node(monkeypatch, link):
    found = results(link)
    monkeypatch.setenv("CHAINER_LAYERS", "0")
    assert_alike(found, results(link))


def test_is_one_node_unless_turned_off(monkeypatch, link):
    assert nodes(link(random(SHAPE))) == ["OverTime"]
    monkeypatch.setenv("CHAINER_LAYERS", "0")
    assert "OverTime" not in nodes(link(random(SHAPE)))


def test_convolves_only_for_the_gradients_asked_for(monkeypatch, link):
    convolved, asked = onednn.convolved, []
    y = link(random(SHAPE))
    monkeypatch.setattr(onednn, "convolved", lambda *a: asked.append(a[0]) or convolved(*a))
    chainer.grad([y], [link.same.W, link.ahead.W], [y])
    assert asked == ["weight_gradient"] * 2


def test_gradients_leave_what_they_are_given_as_it_was(link):
    x = chainer.Variable(random(SHAPE))
    y = link(x)
    given = chainer.Variable(random(y.shape, seed=1))
    copies = [v.array.copy() for v in (x, y, given)]
    chainer.grad([y], [x, *link.params()], [given])
    for v, copy in zip((x, y, given), copies, strict=True):
        np.testing.assert_array_equal(v.array, copy)


def test_gradients_have_gradients(monkeypatch, link):
    def second():
        x = chainer.Variable(random(SHAPE))
        (gx,) = chainer.grad([F.sum(link(x) ** 2)], [x], enable_double_backprop=True)
        return [g.array for g in chainer.grad([F.sum(gx**2)], [link.same.W, link.ahead.W])]

    ours = second()
    monkeypatch.setenv("CHAINER_LAYERS", "0")
    assert_alike(ours, second())


@pytest.mark.parametrize("fails", ["forward", "data_gradient", "weight_gradient"])
def test_what_onednn_refuses_is_computed_node_by_node(monkeypatch, caplog, link, fails):
    convolved = onednn.convolved

    def refuse(direction, *arguments):
        if direction == fails:
            raise Unsuitable(logging.INFO, "no kernel")
        return convolved(direction, *arguments)

    expected = results(link)
    caplog.set_level(logging.INFO, providers.__name__)
    monkeypatch.setattr(onednn, "convolved", refuse)
    assert_alike(results(link), expected)
    assert caplog.text.count("layers are not one node: no kernel") == 1
