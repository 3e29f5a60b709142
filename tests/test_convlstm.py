"""The ConvLSTM beside one written out in NumPy, one sum of products at a time."""

import numpy as np
import pytest

from models.convlstm import ConvLSTM, NormalisedConvLSTM, Stack
from utils.stack import F, chainer

BATCH, TIME, INPUTS, OUTPUTS, SIZE = 2, 3, 2, 3, (5, 4)
KINDS = {
    "plain": {},
    "peepholes": {"peepholes": True},
    "normalised": {"normalised": True},
    "both": {"peepholes": True, "normalised": True},
    "no bias": {"bias": False},
    "kernel 1": {"kernel": 1},
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def layer(request):
    """A float64 layer, none of its weights at a special value."""
    np.random.seed(0)
    with chainer.using_config("dtype", np.float64):
        layer = ConvLSTM(INPUTS, OUTPUTS, **request.param)
    for param in layer.params():
        param.array += np.random.normal(0, 0.3, param.shape)
    return layer


def frames(time=TIME, size=SIZE):
    return np.random.default_rng(0).normal(size=(BATCH, time, INPUTS, *size))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def convolved(x, weights):
    """(B, I, H, W) by (O, I, k, k), the size kept."""
    _, _, height, width = x.shape
    kernel = weights.shape[-1]
    pad = kernel // 2
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    return sum(
        np.einsum("bihw,oi->bohw", x[:, :, r : r + height, c : c + width], weights[:, :, r, c])
        for r in range(kernel)
        for c in range(kernel)
    )


def by_hand(weights, frames):
    """What a ConvLSTM of these {name: array} makes of frames, and its last (h, c)."""
    batch, time, _, height, width = frames.shape
    h = c = np.zeros((batch, OUTPUTS, height, width))
    peep = weights.get("/peepholes", np.zeros((3, 1, OUTPUTS, 1, 1)))
    made = []
    for t in range(time):
        gates = convolved(frames[:, t], weights["/input_conv/W"]) + convolved(
            h, weights["/hidden_conv/W"]
        )
        if "/input_conv/b" in weights:
            gates += weights["/input_conv/b"][:, None, None]
        if "/norm/gamma" in weights:
            mean, variance = (f(gates, axis=(1, 2, 3), keepdims=True) for f in (np.mean, np.var))
            gates = (gates - mean) / np.sqrt(variance + 1e-5)
            gates = gates * weights["/norm/gamma"][:, None, None]
            gates += weights["/norm/beta"][:, None, None]
        g, i, f, o = (gates[:, kind::4] for kind in range(4))
        i, f = sigmoid(i + peep[0] * c), sigmoid(f + peep[1] * c)
        c = f * c + i * np.tanh(g)
        h = sigmoid(o + peep[2] * c) * np.tanh(c)
        made.append(h)
    return np.stack(made, axis=1), (h, c)


def arrays(layer):
    return {name: param.array for name, param in layer.namedparams()}


def test_forward_is_the_equations(layer):
    made, (h, c) = layer(frames())
    hand_made, (hand_h, hand_c) = by_hand(arrays(layer), frames())
    assert made.array == pytest.approx(hand_made, abs=1e-5)
    assert h.array == pytest.approx(hand_h, abs=1e-5)
    assert c.array == pytest.approx(hand_c, abs=1e-5)


def test_gradients_are_those_of_the_equations(layer):
    """Along a random direction of each array the hand-written loss has the slope they say."""
    random = np.random.default_rng(1)
    weight = random.normal(size=(BATCH, TIME, OUTPUTS, *SIZE))

    def loss(given):
        given = dict(given)
        return (by_hand(given, given.pop("frames"))[0] * weight).sum()

    seen = chainer.Variable(frames())
    made, _ = layer(seen)
    layer.cleargrads()
    F.sum(made * weight).backward()
    gradients = {name: param.grad for name, param in layer.namedparams()} | {"frames": seen.grad}
    given = arrays(layer) | {"frames": seen.array}
    for name, gradient in gradients.items():
        way = random.normal(size=gradient.shape)
        ahead, behind = (loss(given | {name: given[name] + s * way}) for s in (1e-5, -1e-5))
        assert (gradient * way).sum() == pytest.approx((ahead - behind) / 2e-5, rel=1e-5), name


def test_memory_goes_on_where_it_stopped(layer):
    whole, (h, c) = layer(frames())
    first, memory = layer(frames()[:, :1])
    rest, (h_later, c_later) = layer(frames()[:, 1:], memory)
    assert np.allclose(np.concatenate([first.array, rest.array], axis=1), whole.array)
    assert np.allclose(h_later.array, h.array) and np.allclose(c_later.array, c.array)


def test_weights_that_see_only_zeros_have_gradients_of_zeros(layer):
    made, _ = layer(frames(time=1))
    layer.cleargrads()
    F.sum(made).backward()
    assert not layer.hidden_conv.W.grad.any() and layer.input_conv.W.grad.any()


def test_any_frame_size(layer):
    made, _ = layer(frames(time=1, size=(1, 9)))
    assert made.shape == (BATCH, 1, OUTPUTS, 1, 9)


def test_the_forget_gate_starts_open():
    bias = ConvLSTM(INPUTS, OUTPUTS).input_conv.b.array
    assert bias.tolist() == [0, 0, 1, 0] * OUTPUTS
    assert ConvLSTM(INPUTS, OUTPUTS, normalised=True).norm.beta.array.tolist() == bias.tolist()


def test_a_stack_feeds_each_layer_what_the_one_below_made():
    np.random.seed(0)
    lower, upper = ConvLSTM(INPUTS, OUTPUTS), NormalisedConvLSTM(OUTPUTS, 2)
    stack = Stack(lower, upper)
    seen = frames().astype(np.float32)
    with chainer.using_config("train", False):
        first, memory = stack(seen[:, :1])
        rest, _ = stack(seen[:, 1:], memory)
        expected, _ = upper(lower(seen)[0])
    together = np.concatenate([first.array, rest.array], axis=1)
    assert np.allclose(together, expected.array, atol=1e-6)
