"""The layers of PredRNN and E3D-LSTM, against the equations of their papers."""

import numpy as np
import pytest

import models
from models import e3d_lstm
from models.e3d_lstm import EideticLSTM, OverTime, Windows, recall
from models.st_lstm import STLSTM, SameSize, Zigzag
from utils.stack import chainer

INPUTS, MAPS = 3, 4


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def unusual(chain):
    """The chain, none of its parameters at a special value."""
    for k, param in enumerate(chain.params()):
        param.array += 0.1 * draw(*param.shape, seed=k)
    return chain


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def convolved(x, link):
    """A convolution with zeros around, by its definition; OverTime's as one of three axes."""
    if not isinstance(link, OverTime):
        return by_definition(x, link.W.array, link.b)
    weights = np.stack([link.same.W.array, link.ahead.W.array], axis=2)
    return to_windows(by_definition(to_clips(x), weights, link.same.b))


def by_definition(x, weights, bias):
    """A convolution to the same size; ahead along an axis where the kernel is even."""
    kernel = weights.shape[2:]
    pad = [((side - 1) // 2, side // 2) for side in kernel]
    seen = np.lib.stride_tricks.sliding_window_view(
        np.pad(x, [(0, 0), (0, 0), *pad]), kernel, axis=range(2, x.ndim)
    )
    made = np.tensordot(seen, weights, ((1, *range(-len(kernel), 0)), range(1, weights.ndim)))
    made = np.moveaxis(made, -1, 1)
    return made if bias is None else made + bias.array.reshape(-1, *[1] * len(kernel))


def to_clips(x):
    """Windows (2 * B, K, H, W) -> (B, K, 2, H, W)."""
    return np.stack(np.split(x, 2), axis=2)


def to_windows(x):
    """(B, K, 2, H, W) -> windows (2 * B, K, H, W)."""
    return np.concatenate([x[:, :, 0], x[:, :, 1]])


@pytest.mark.parametrize("bias", [None, np.float32([1, -1])], ids=["", "bias"])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("convolution", [SameSize, OverTime])
def test_a_convolution_keeps_the_size(convolution, kernel, bias):
    link, x = convolution(INPUTS, 2, kernel, bias), draw(4, INPUTS, 6, 7)
    np.testing.assert_allclose(link(x).array, convolved(x, link), atol=1e-5)


def test_weights_over_time_begin_as_those_of_one_convolution():
    link = OverTime(16, 64, 5)
    fan_in = 16 * 2 * 5 * 5
    for param in link.params():
        assert param.array.std() == pytest.approx(fan_in**-0.5, rel=0.02)


def gates_of(layer, x, hidden, shared):
    """The inputs of all gates: three of the cell, three of the shared memory, the output's."""
    split = np.split(convolved(x, layer.from_input), 7, axis=1)
    from_hidden = np.split(convolved(hidden, layer.from_hidden), 4, axis=1)
    from_shared = np.split(convolved(shared, layer.from_shared), 3, axis=1)
    own = [a + b for a, b in zip(split[:3], from_hidden[:3], strict=True)]
    common = [a + b for a, b in zip(split[3:6], from_shared, strict=True)]
    return own, common, split[6] + from_hidden[3]


def output_of(layer, cell, shared, gate):
    memories = np.concatenate([cell, shared], axis=1)
    gate = sigmoid(gate + convolved(memories, layer.from_memories))
    return gate * np.tanh(convolved(memories, layer.join))


def renewed(memory, gates):
    candidate, let_in, keep = gates
    return sigmoid(keep) * memory + sigmoid(let_in) * np.tanh(candidate)


def test_a_layer_of_predrnn_computes_the_papers_equation():
    layer = unusual(STLSTM(INPUTS, MAPS, 3))
    x, (hidden, cell, shared) = draw(2, INPUTS, 5, 6), draw(3, 2, MAPS, 5, 6, seed=1)
    (found, cells), found_shared = layer(x, (hidden, [cell]), shared)
    own, common, output = gates_of(layer, x, hidden, shared)
    cell, shared = renewed(cell, own), renewed(shared, common)
    np.testing.assert_allclose(cells[-1].array, cell, atol=1e-5)
    np.testing.assert_allclose(found_shared.array, shared, atol=1e-5)
    np.testing.assert_allclose(found.array, output_of(layer, cell, shared, output), atol=1e-5)


def recalled(query, cells):
    """softmax(query cells^T) cells, (B, K, 2, H, W), one clip and place after the other."""
    query, *cells = map(to_clips, (query, *cells))
    found = np.empty_like(query)
    for clip in range(len(query)):
        held = np.concatenate([cell[clip].reshape(MAPS, -1) for cell in cells], axis=1)
        for place in np.ndindex(query.shape[2:]):
            here = (clip, slice(None), *place)
            likeness = np.exp(query[here] @ held)
            found[here] = held @ (likeness / likeness.sum())
    return found


@pytest.mark.parametrize("piece", [e3d_lstm.PIECE, 7])
def test_cells_are_recalled_where_they_are_like_the_query(monkeypatch, piece):
    monkeypatch.setattr(e3d_lstm, "PIECE", piece)
    query, *cells = draw(3, 4, MAPS, 3, 5)
    found = recall(query, cells).array
    np.testing.assert_allclose(found, recalled(query, cells).reshape(2, MAPS, -1), atol=1e-5)


def test_an_eidetic_layer_computes_the_papers_equations():
    layer = unusual(EideticLSTM(INPUTS, MAPS, 3))
    x = draw(4, INPUTS, 5, 6)
    hidden, shared, *cells = draw(5, 4, MAPS, 5, 6, seed=1)
    (found, kept), found_shared = layer(x, (hidden, cells), shared)
    own, common, output = gates_of(layer, x, hidden, shared)
    candidate, let_in, query = own
    before = to_clips(cells[-1]) + recalled(sigmoid(query), cells)
    axes = tuple(range(1, 5))
    mean, var = before.mean(axes, keepdims=True), before.var(axes, keepdims=True)
    gain, bias = (p.array.reshape(-1, 1, 1, 1) for p in (layer.norm.gamma, layer.norm.beta))
    normal = (before - mean) / np.sqrt(var + layer.norm.eps) * gain + bias
    cell = to_windows(normal) + sigmoid(let_in) * np.tanh(candidate)
    shared = renewed(shared, common)
    np.testing.assert_allclose(kept[-1].array, cell, atol=1e-4)
    assert all(old is new for old, new in zip(cells, kept, strict=False))
    np.testing.assert_allclose(found_shared.array, shared, atol=1e-5)
    np.testing.assert_allclose(found.array, output_of(layer, cell, shared, output), atol=1e-4)


def test_only_so_many_cells_are_kept():
    layer, state, shared = EideticLSTM(INPUTS, MAPS, 3), None, None
    for k in range(e3d_lstm.RECALLED + 2):
        state, shared = layer(draw(2, INPUTS, 4, 4, seed=k), state, shared)
    assert len(state[1]) == e3d_lstm.RECALLED


class Adder(chainer.Link):
    """Adds what it sees to its state and to the shared memory."""

    def forward(self, x, state, shared):
        state = (state[0] if state else 0) + x
        return (state,), state + (0 if shared is None else shared)


def test_the_shared_memory_climbs_and_goes_on_at_the_bottom():
    layers, frames = Zigzag(Adder(), Adder()), np.float32([[[1], [10]]])
    made, (states, shared) = layers(frames)
    assert made.array.ravel().tolist() == [1, 12]  # 1; then 1 + 10 below, 1 + 11 above
    assert [state.array.item() for (state,) in states] == [11, 12]
    assert shared.array.item() == 1 + 1 + 11 + 12
    both, _ = layers(frames[:, 1:], layers(frames[:, :1])[1])
    assert both.array.item() == 12


def test_frames_are_seen_with_the_one_before():
    class Seen(chainer.Link):
        def forward(self, frames, memory=None):
            return frames, memory

    windows, frames = Windows(Seen()), draw(1, 3, 2, 4, 4)
    made, memory = windows(frames)
    assert made.shape == (1, 3, 4, 4, 4)
    before, itself = np.split(made.array, 2, axis=2)
    assert np.array_equal(itself, frames)
    assert np.array_equal(before[:, 1:], frames[:, :-1]) and not before[:, 0].any()
    made, _ = windows(frames, memory)
    assert np.array_equal(made.array[:, 0, :2], frames[:, -1])


def test_predrnn_has_the_weights_that_openstl_publishes():
    model = models.create("predrnn", 10, 10, 1, (64, 64))
    biases = 4 * 7 * 128 + 4 * 4
    assert model.count_params() - biases == pytest.approx(23.8e6, abs=0.05e6)
    assert [layer.from_input.b.array.reshape(7, -1)[:, 0].tolist() for layer in model.encoder] == [
        [0, 0, 1, 0, 0, 1, 0]
    ] * 4


def test_a_query_for_what_to_recall_begins_without_a_bias():
    model = models.create("e3d-lstm", 3, 1, 1, (16, 16), width="small")
    for layer in model.encoder.layer:
        biases = layer.from_input.same.b.array.reshape(7, -1)
        assert biases[:, 0].tolist() == [0, 0, 0, 0, 0, 1, 0]
