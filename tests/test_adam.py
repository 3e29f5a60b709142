"""Adam in pieces against Chainer's own, to the bit."""

import numpy as np
import pytest

from utils.stack import L, adam, chainer

PLAIN = chainer.optimizers.adam.AdamRule.update_core_cpu.__wrapped__


def train(monkeypatch, update, size, steps=3, dtype=np.float32, order="C", **options):
    monkeypatch.setattr(chainer.optimizers.adam.AdamRule, "update_core_cpu", update)
    random = np.random.default_rng(0)
    link = L.Parameter(np.array(random.normal(size=size), dtype, order=order))
    optimizer = chainer.optimizers.Adam(1e-2, **options).setup(link)
    for _ in range(steps):
        link.W.grad = random.normal(size=size).astype(dtype)
        optimizer.update()
    rule = link.W.update_rule
    return link.W.array, rule.state["m"], rule.state["v"]


@pytest.mark.parametrize("size", [(), (7,), (3, adam.PIECE), (adam.PIECE * 2 + 5,)])
@pytest.mark.parametrize(
    "options",
    [{}, {"beta1": 0.5, "eps": 1e-4}, {"amsgrad": True}, {"weight_decay_rate": 0.1}, {"eta": 0.5}],
    ids=str,
)
def test_same_bits_as_chainers_own(monkeypatch, size, options):
    ours = train(monkeypatch, chainer.optimizers.adam.AdamRule.update_core_cpu, size, **options)
    theirs = train(monkeypatch, PLAIN, size, **options)
    for a, b in zip(ours, theirs, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("dtype, order", [(np.float16, "C"), (np.float64, "C"), (np.float32, "F")])
def test_other_types_and_orders_stay_with_chainer(monkeypatch, dtype, order):
    update = chainer.optimizers.adam.AdamRule.update_core_cpu
    options = {"dtype": dtype, "order": order, "eps": 1e-4}
    for a, b in zip(
        train(monkeypatch, update, (5, 3), **options),
        train(monkeypatch, PLAIN, (5, 3), **options),
        strict=True,
    ):
        assert a.dtype == dtype and np.array_equal(a, b)


def test_the_pieces_are_used_for_a_plain_adam(monkeypatch):
    calls = []
    monkeypatch.setattr(adam, "step", lambda *arguments: calls.append(len(arguments[2])))
    update = chainer.optimizers.adam.AdamRule.update_core_cpu
    train(monkeypatch, update, (adam.PIECE + 5,), steps=1)
    assert sorted(calls) == [5, adam.PIECE]


@pytest.mark.filterwarnings("error")
def test_what_overflows_is_told_in_no_thread_where_the_caller_asked_for_silence(monkeypatch):
    monkeypatch.setattr(adam, "threads", lambda: 2)
    arrays = [np.full(2 * adam.PIECE, 1e30, np.float32) for _ in range(2)]
    link = L.Parameter(arrays[0])
    optimizer = chainer.optimizers.Adam(1e300).setup(link)
    link.W.grad = arrays[1]
    with np.errstate(all="ignore"):
        optimizer.update()
    assert not np.isfinite(link.W.array).any()
