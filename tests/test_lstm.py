"""F.lstm on the CPU, bit for bit Chainer's own."""

import numpy as np
import pytest

from utils.stack import F, chainer

NODE = chainer.functions.rnn.lstm.LSTM
RANDOM = np.random.default_rng(0)
C, X = (4 * RANDOM.standard_normal((3, maps, 5, 4), np.float32) for maps in (2, 8))


def by_chainer(monkeypatch):
    for method in "forward", "backward":
        monkeypatch.setattr(NODE, method, getattr(NODE, method).__wrapped__)


def results(c, x, given, twice=False):
    """[c_next, h, the gradients of c and x] for gradients given of those numbered `given`."""
    seen = [chainer.Variable(a) for a in (c, x)]
    made = F.lstm(*seen)
    some = [made[k] for k in given]
    grads = [chainer.Variable(y.array[::-1] + 1) for y in some]
    found = chainer.grad(some, seen, grads, enable_double_backprop=twice)
    if twice:
        found += chainer.grad(found, seen, found)
    return [v.array for v in (*made, *found)]


@pytest.mark.parametrize("given", [(0, 1), (0,), (1,)])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_results_are_the_same_to_the_bit(monkeypatch, given, dtype):
    inputs = C.astype(dtype), X.astype(dtype), given
    found = results(*inputs)
    by_chainer(monkeypatch)
    for ours, theirs in zip(found, results(*inputs), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_matrices_shorter_batches_and_gradients_of_gradients_are_the_same(monkeypatch):
    cases = [
        (C[..., 0, 0], X[..., 0, 0], (0, 1)),
        (C, X[:2], (0, 1)),
        (C, X, (0, 1), True),
        (C[..., ::2], X[..., ::2], (0, 1)),
    ]
    found = [results(*case) for case in cases]
    by_chainer(monkeypatch)
    for case, ours in zip(cases, found, strict=True):
        for one, other in zip(ours, results(*case), strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_gates_are_kept_for_a_gradient_alone():
    with chainer.no_backprop_mode():
        node = NODE()
        node.apply((C, X))
    assert node.kept is None
    node = NODE()
    node.apply((C, X))
    gates, shown = node.kept
    assert gates.shape == X.shape and shown.shape == C.shape
