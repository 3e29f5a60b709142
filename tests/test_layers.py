"""Layers in a row as one node on a CPU: the same as node by node, to the bit."""

import logging

import numpy as np
import pytest

from models.blocks import sequential
from tests.convolutions import needs_onednn
from tests.layers import images, links, loss, nodes, results
from utils.stack import F, L, chainer, cpu_layers, onednn, providers
from utils.stack.providers import Unsuitable

pytestmark = [needs_onednn, pytest.mark.usefixtures("log_anew")]


def plain(array):
    return array


@pytest.mark.parametrize("relus", [1, 2, 3])
@pytest.mark.parametrize("how", [{"batch": 1}, {"batch": 9}, {"batch": 9, "linear": True}])
def test_is_the_same_as_node_by_node(monkeypatch, relus, how):
    ours = results(relus, put=plain, **how)
    monkeypatch.setenv("CHAINER_LAYERS", "0")
    for found, other in zip(ours, results(relus, put=plain, **how), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, other)


def test_is_one_node_unless_turned_off_or_watched(monkeypatch):
    from utils.cost import Count

    assert nodes(sequential(images(2, plain), links(plain), 2)) == ["Layers"]
    with Count():
        y = sequential(images(2, plain), links(plain), 2)
    assert nodes(y).count("Convolution2DFunction") == 3
    monkeypatch.setenv("CHAINER_LAYERS", "0")
    y = sequential(images(2, plain), links(plain), 2)
    assert nodes(y).count("Convolution2DFunction") == 3


@pytest.mark.parametrize("linear", [False, True])
def test_a_wrong_number_of_channels_is_chainers_error(caplog, linear):
    from chainer.utils.type_check import InvalidType  # only after utils.stack has patched Chainer

    caplog.set_level(logging.INFO, providers.__name__)
    first, second, third = links(plain, linear=linear)
    x = images(2, plain)
    x = F.reshape(x, (2, -1)) if linear else x
    with pytest.raises(InvalidType, match="LinearFunction" if linear else "Convolution2DFunction"):
        sequential(x, [first, third, second], 3)
    assert "layers" not in caplog.text


def test_only_the_gradients_asked_for_are_computed(monkeypatch):
    made, x, convolved, asked = links(plain), images(2, plain), onednn.convolved, []
    monkeypatch.setattr(onednn, "convolved", lambda *a: asked.append(a[0]) or convolved(*a))
    chainer.grad([loss(sequential(x, made, 3))], [x])
    assert asked == ["forward"] * 3 + ["data_gradient"] * 3
    asked.clear()
    chainer.grad([loss(sequential(x, made, 3))], [made[2].W])
    assert asked == ["forward"] * 3 + ["weight_gradient"]
    asked.clear()
    chainer.grad([loss(sequential(x, made, 3))], [made[1].b])
    assert asked == ["forward"] * 3 + ["data_gradient", "weight_gradient"]


def test_a_prediction_keeps_no_array(monkeypatch):
    made, kind = [], cpu_layers.CpuLayers
    monkeypatch.setattr(kind, "__init__", keeping(made, kind.__init__))
    with chainer.no_backprop_mode():
        y = sequential(images(2, plain), links(plain), 2)
    assert [m.shape for m in made[0].maps] == [y.shape]


def keeping(made, init):
    """An __init__ that also appends what it makes."""

    def wrapped(self, *arguments):
        made.append(self)
        init(self, *arguments)

    return wrapped


def test_gradients_leave_what_they_are_given_as_it_was():
    x, made = images(2, plain), links(plain)
    before = x.array.copy()
    y = sequential(x, made, 3)
    gy = chainer.Variable(np.ones_like(y.array))
    chainer.grad([y], [x, made[0].W], [gy])
    assert (gy.array == 1).all()
    np.testing.assert_array_equal(x.array, before)


def test_gradients_have_gradients(monkeypatch):
    def second():
        made, x = links(plain), images(2, plain)
        y = sequential(x, made, 2)
        (gx,) = chainer.grad([y], [x], [y * y], enable_double_backprop=True)
        return chainer.grad([gx], [made[0].W], [gx])[0].array

    ours = second()
    monkeypatch.setenv("CHAINER_LAYERS", "0")
    np.testing.assert_allclose(ours, second(), rtol=0, atol=1e-5 * np.abs(ours).max())


def of_a_layer_applied_twice(double=False):
    """Gradients of the image, the weights, the bias."""
    np.random.seed(0)
    x, layer = images(2, plain), L.Convolution2D(5, 5, 3, pad=1, initial_bias=0.1)
    y = sequential(sequential(x, [layer], 1), [layer], 1)
    found = chainer.grad([loss(y)], [x, layer.W, layer.b], enable_double_backprop=double)
    return [gradient.array for gradient in found]


def assert_close(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())


@pytest.mark.parametrize("double", [False, True])
def test_a_layer_may_be_applied_to_what_it_has_made(monkeypatch, double):
    found = of_a_layer_applied_twice(double)
    monkeypatch.setenv("CHAINER_LAYERS", "0")
    assert_close(found, of_a_layer_applied_twice(double))


def test_a_layer_applied_twice_may_meet_an_obstacle(monkeypatch):
    def refuse(*_):
        raise Unsuitable(logging.INFO, "no kernel")

    expected = of_a_layer_applied_twice()
    monkeypatch.setattr(cpu_layers.CpuLayers, "gradients", refuse)
    assert_close(of_a_layer_applied_twice(), expected)


def test_nan_passes_through():
    x = images(1, plain)
    x.array[0, 0, 0, 0] = np.nan
    y = sequential(x, links(plain), 3).array
    assert np.isnan(y).any() and not np.isnan(y).all()


@pytest.mark.parametrize("fails", ["forward", "data_gradient", "weight_gradient"])
def test_what_onednn_refuses_is_computed_node_by_node(monkeypatch, caplog, fails):
    convolved = onednn.convolved

    def refuse(direction, *arguments):
        if direction == fails:
            raise Unsuitable(logging.INFO, "no kernel")
        return convolved(direction, *arguments)

    expected = results(2, put=plain)
    caplog.set_level(logging.INFO, providers.__name__)
    monkeypatch.setattr(onednn, "convolved", refuse)
    ours, again = results(2, put=plain), results(2, put=plain)
    assert len(ours) == len(again) and caplog.text.count("layers are not one node: no kernel") == 1
    for found, other in zip(ours, expected, strict=True):
        np.testing.assert_allclose(found, other, rtol=0, atol=1e-4 * np.abs(other).max())


def test_without_onednn_nobody_is_told_of_layers(monkeypatch, caplog):
    monkeypatch.setattr(onednn, "_obstacle", (logging.INFO, "a test"))
    caplog.set_level(logging.INFO, providers.__name__)
    y = sequential(images(2, plain), links(plain), 2)
    assert nodes(y).count("Convolution2DFunction") == 3
    assert "layers" not in caplog.text and "a test" in caplog.text


def test_arrays_of_any_strides_are_taken():
    made, x = links(plain), images(2, plain)
    turned = chainer.Variable(np.asfortranarray(x.array))
    np.testing.assert_array_equal(sequential(turned, made, 2).array, sequential(x, made, 2).array)
    linear = links(plain, linear=True)
    once = np.ones((1, 5 * 9 * 8), np.float32)
    several = np.broadcast_to(once, (3, once.size))
    y = sequential(chainer.Variable(several), linear, 2)
    ones = np.broadcast_to(np.float32(1), y.shape)
    (gw,) = chainer.grad([y], [linear[0].W], [chainer.Variable(ones)])
    whole = sequential(chainer.Variable(several.copy()), linear, 2)
    (other,) = chainer.grad([whole], [linear[0].W], [chainer.Variable(ones.copy())])
    np.testing.assert_array_equal(y.array, whole.array)
    np.testing.assert_array_equal(gw.array, other.array)
