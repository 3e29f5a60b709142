"""Function nodes on the CPU with less ado: the same graph, numbers, complaints."""

import numpy as np
import pytest

from utils.stack import F, L, chainer, nodes


@pytest.fixture
def own(monkeypatch):
    """Chainer's own `apply`."""
    return chainer.FunctionNode.apply.__wrapped__


def network(seed=0):
    """A loss of functions that retain inputs, outputs, both, neither; an output that is unused."""
    random = np.random.default_rng(seed)
    x, w = (chainer.Variable(random.standard_normal((3, 4)).astype("f4")) for _ in range(2))
    a, b = F.split_axis(F.sigmoid(x) * F.tanh(w) + x, 2, axis=1)
    c, h = F.lstm(chainer.Variable(np.zeros((3, 1), "f4")), F.concat([x], axis=1))
    loss = F.sum(F.square(F.relu(a))) + F.mean(h * 2 - 1) + F.sum(x[1:] ** 3)
    return loss, (x, w), b


def test_graph_numbers_and_gradients_are_the_same(monkeypatch, own):
    ours, variables, unused = network()
    ranks = ours.rank, unused.rank
    gradients = chainer.grad([ours], variables, enable_double_backprop=True)
    second = chainer.grad([F.sum(gradients[0] ** 2)], variables)
    monkeypatch.setattr(chainer.FunctionNode, "apply", own)
    others, others_variables, unused = network()
    assert ranks == (others.rank, unused.rank)
    others_gradients = chainer.grad([others], others_variables, enable_double_backprop=True)
    others_second = chainer.grad([F.sum(others_gradients[0] ** 2)], others_variables)
    pairs = zip(
        [ours, *gradients, *second], [others, *others_gradients, *others_second], strict=True
    )
    for found, other in pairs:
        np.testing.assert_array_equal(found.array, other.array)


def test_nothing_is_kept_where_no_gradient_is_wanted():
    with chainer.no_backprop_mode():
        y = F.relu(chainer.Variable(np.ones((2, 2), "f4")))
    assert y.creator_node is None
    y = F.relu(np.ones((2, 2), "f4"))
    assert not y.requires_grad


def test_hooks_are_called_and_debug_mode_finds_nan():
    heard = []

    class Hook(chainer.FunctionHook):
        def forward_postprocess(self, function, in_data):
            heard.append(function.label)

    x = np.array([[-1.0, np.nan]], "f4")
    with Hook():
        F.relu(x)
    node = chainer.functions.activation.relu.ReLU()
    node.add_hook(Hook())
    node.apply((x,))
    assert heard == ["ReLU", "ReLU"]
    with chainer.using_config("debug", True), pytest.raises(RuntimeError, match="NaN is detected"):
        F.relu(x)


def test_shapes_that_do_not_fit_are_told():
    from chainer.utils.type_check import InvalidType  # only after utils.stack has patched Chainer

    link = L.Linear(3, 2)
    with pytest.raises(InvalidType, match="LinearFunction"):
        link(np.ones((2, 4), "f4"))


@pytest.mark.parametrize("made", [[np.ones(2)], (1.0,), np.ones(2)])
def test_a_forward_that_returns_something_else_is_told(made):
    class Odd(chainer.FunctionNode):
        def forward(self, inputs):
            return made

    with pytest.raises(TypeError, match="Odd: forward returned"):
        Odd().apply((np.ones(2, "f4"),))


def test_a_node_without_inputs_is_chainers_own():
    class Source(chainer.FunctionNode):
        def forward(self, inputs):
            return (np.ones(2),)

    (y,) = Source().apply(())
    assert y.array.tolist() == [1, 1]


def test_the_fast_way_is_taken(monkeypatch):
    taken = []
    monkeypatch.setattr(nodes, "connect", lambda node, *_: taken.append(node.label))
    F.relu(chainer.Variable(np.ones((2, 2), "f4")))
    assert taken == ["ReLU"]
