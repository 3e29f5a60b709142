"""A ConvLSTM's steps as one node on a CPU: the same as node by node."""

import logging

import numpy as np
import pytest

from models.convlstm import ConvLSTM
from tests.convolutions import needs_onednn
from tests.layers import nodes
from utils.stack import F, chainer, onednn, providers
from utils.stack.providers import Unsuitable

pytestmark = [needs_onednn, pytest.mark.usefixtures("log_anew")]

BATCH, INPUTS, OUTPUTS, SIZE = 3, 2, 5, (6, 7)


def random(*shape, seed):
    return chainer.Variable(np.random.default_rng(seed).standard_normal(shape, np.float32))


@pytest.fixture
def layer():
    np.random.seed(0)
    return ConvLSTM(INPUTS, OUTPUTS)


def frames(time):
    return random(BATCH, time, INPUTS, *SIZE, seed=time)


def memory():
    return tuple(random(BATCH, OUTPUTS, *SIZE, seed=k) for k in (7, 8))


def results(layer, time, remembers, used):
    """The outputs (hidden states, the last, the cell), then the gradients of all that goes in, from
    random ones of the outputs numbered `used`."""
    seen, before = frames(time), memory() if remembers else None
    made, (h, c) = layer(seen, before)
    outputs = [made, h, c]
    sources = [seen, *layer.params(), *(before or ())]
    some = [outputs[k] for k in used]
    grads = [random(*y.shape, seed=9 + k) for k, y in enumerate(some)]
    found = chainer.grad(some, sources, grads)
    return [None if v is None else v.array for v in (*outputs, *found)]


def assert_alike(found, expected):
    for one, other in zip(found, expected, strict=True):
        if other is None or not other.any():  # Chainer has no gradient where all inputs are zeros
            assert one is None or not one.any()
            continue
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-5 * np.abs(other).max())


@pytest.mark.parametrize("used", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("remembers", [False, True])
@pytest.mark.parametrize("time", [1, 4])
def test_is_the_same_as_node_by_node(monkeypatch, layer, time, remembers, used):
    found = results(layer, time, remembers, used)
    monkeypatch.setenv("CHAINER_LAYERS", "0")
    assert_alike(found, results(layer, time, remembers, used))


def test_is_one_node_unless_turned_off(monkeypatch, layer):
    assert nodes(layer(frames(3))[0]).count("Recurrence") == 1
    assert "LSTM" not in nodes(layer(frames(3))[0])
    monkeypatch.setenv("CHAINER_LAYERS", "0")
    assert "LSTM" in nodes(layer(frames(3))[0])


def test_convolves_no_zeros_and_only_for_the_gradients_asked_for(monkeypatch, layer):
    convolved, asked = onednn.convolved, []
    monkeypatch.setattr(onednn, "convolved", lambda *a: asked.append(a[0]) or convolved(*a))
    made, _ = layer(frames(4))
    assert asked == ["forward"] * (1 + 3)  # input_conv once for all frames
    asked.clear()
    chainer.grad([made], [layer.hidden_conv.W], [made])
    assert asked == ["data_gradient"] * 3 + ["weight_gradient"]
    asked.clear()
    before = memory()
    made, _ = layer(frames(4), before)
    chainer.grad([made], [before[0]], [made])
    assert asked == ["forward"] * (1 + 4) + ["data_gradient"] * 4


def test_a_prediction_keeps_nothing_and_its_outputs_share_no_memory(monkeypatch, layer):
    from utils.stack.recurrence import Recurrence

    kept, forward = [], Recurrence.forward
    monkeypatch.setattr(Recurrence, "forward", lambda *a: kept.append(a[0]) or forward(*a))
    with chainer.no_backprop_mode():
        made, (h, _) = layer(frames(1))
    assert kept[0].kept == [] and kept[0].hidden is None
    assert not np.shares_memory(made.array, h.array)


def test_gradients_leave_what_they_are_given_as_it_was(layer):
    seen, before = frames(2), memory()
    made, _ = layer(seen, before)
    given = random(*made.shape, seed=0)
    copies = [v.array.copy() for v in (seen, *before, given)]
    chainer.grad([made], [seen, *before, layer.hidden_conv.W], [given])
    for v, copy in zip((seen, *before, given), copies, strict=True):
        np.testing.assert_array_equal(v.array, copy)


def test_gradients_have_gradients(monkeypatch, layer):
    def second():
        seen = frames(3)
        made, _ = layer(seen, memory())
        (gx,) = chainer.grad([F.sum(made**2)], [seen], enable_double_backprop=True)
        return chainer.grad([F.sum(gx**2)], [layer.hidden_conv.W])[0].array

    ours = second()
    monkeypatch.setenv("CHAINER_LAYERS", "0")
    np.testing.assert_allclose(ours, second(), rtol=0, atol=1e-4 * np.abs(ours).max())


@pytest.mark.parametrize("fails", ["forward", "data_gradient", "weight_gradient"])
def test_what_onednn_refuses_is_computed_node_by_node(monkeypatch, caplog, layer, fails):
    convolved = onednn.convolved

    def refuse(direction, *arguments):
        if direction == fails:
            raise Unsuitable(logging.INFO, "no kernel")
        return convolved(direction, *arguments)

    expected = results(layer, 3, True, (0, 1, 2))
    caplog.set_level(logging.INFO, providers.__name__)
    monkeypatch.setattr(onednn, "convolved", refuse)
    assert_alike(results(layer, 3, True, (0, 1, 2)), expected)
    assert caplog.text.count("layers are not one node: no kernel") == 1


def test_nan_stays_in_its_clip(layer):
    seen = frames(2)
    seen.array[0, 0, 0, 0, 0] = np.nan
    made, (_, c) = layer(seen)
    for array in (made.array, c.array):
        assert np.isnan(array[0]).any() and not np.isnan(array[1:]).any()
