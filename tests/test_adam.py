"""Adam for a network at once against Chainer's own, to the bit."""

import copy

import numpy as np
import pytest

from utils.stack import adam, chainer

OWN = chainer.optimizers.Adam.update
PLAIN = OWN.__wrapped__.__wrapped__  # without that for a GPU, without this
SIZES = (), (7,), (3, adam.PIECE), (0,), (5, 3), (2 * adam.PIECE + 5,), (1, 4)


def rule(optimizer, number):
    return list(optimizer.target.params())[number].update_rule


def no_change(optimizer):
    pass


def disable(optimizer):
    rule(optimizer, 1).enabled = False


def set_rate(optimizer):
    rule(optimizer, 1).hyperparam.alpha = 0.5


def add_hook(optimizer):
    rule(optimizer, 1).add_hook(lambda rule, param: param.array.fill(1), "one", "post")


def take_away(optimizer):
    list(optimizer.target.params())[1].update_rule = None


class Halving(chainer.optimizers.adam.AdamRule):
    def update_core(self, param):
        param.array *= 0.5


def put_another_rule(optimizer):
    param = list(optimizer.target.params())[1]
    state, param.update_rule = param.update_rule.state, Halving(optimizer.hyperparam)
    param.update_rule._state, param.update_rule.t = state, 1


def begin_anew(optimizer):
    rule(optimizer, 1)._state = None
    rule(optimizer, 2).t = 0


def replace(optimizer):
    list(optimizer.target.params())[1].array = np.arange(7, dtype=np.float32)
    rule(optimizer, 4).state["m"] = np.ones((5, 3), np.float32)


def clear(optimizer):
    list(optimizer.target.params())[4].cleargrad()


def clip(optimizer):
    optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(0.1))


def train(monkeypatch, update, change=no_change, sizes=SIZES, dtype=np.float32, **options):
    """All arrays after three steps, the second of which is after a change."""
    monkeypatch.setattr(chainer.optimizers.Adam, "update", update)
    random, order = np.random.default_rng(0), options.pop("order", "C")
    net = chainer.Link()
    with net.init_scope():
        for k, size in enumerate(sizes):
            array = np.array(random.normal(size=size), dtype, order=order)
            setattr(net, f"p{k}", chainer.Parameter(array))
    optimizer = chainer.optimizers.Adam(1e-2, **options).setup(net)
    for step in range(3):
        for param in net.params():
            param.grad = np.asarray(random.normal(size=param.shape), dtype)
        if step == 1:
            change(optimizer)
        optimizer.update()
    rules = [param.update_rule for param in net.params() if param.update_rule]
    states = [rule.state[name] for rule in rules for name in ("m", "v")]
    return [param.array for param in net.params()] + states + [rule.t for rule in rules]


def compare(monkeypatch, **how):
    ours, theirs = train(monkeypatch, OWN, **how), train(monkeypatch, PLAIN, **how)
    for a, b in zip(ours, theirs, strict=True):
        assert np.array_equal(a, b)
    return ours


@pytest.mark.parametrize(
    "options",
    [{}, {"beta1": 0.5, "eps": 1e-4}, {"amsgrad": True}, {"weight_decay_rate": 0.1}, {"eta": 0.5}],
    ids=str,
)
def test_same_bits_as_chainers_own(monkeypatch, options):
    compare(monkeypatch, **options)


@pytest.mark.parametrize(
    "change",
    [disable, set_rate, add_hook, take_away, put_another_rule, begin_anew, replace, clear, clip],
)
def test_a_parameter_may_have_a_rule_or_arrays_of_its_own(monkeypatch, change):
    compare(monkeypatch, change=change)


@pytest.mark.parametrize("dtype, order", [(np.float16, "C"), (np.float64, "C"), (np.float32, "F")])
def test_other_types_and_orders_stay_with_chainer(monkeypatch, dtype, order):
    assert compare(monkeypatch, dtype=dtype, order=order, eps=1e-4)[4].dtype == dtype


def test_a_loss_function_that_is_given_is_followed_as_by_chainers_own(monkeypatch):
    def following(update):
        def loss(net):
            return sum(chainer.functions.sum(param * param) for param in net.params())

        return lambda optimizer: update(optimizer, loss, optimizer.target)

    ours, theirs = (train(monkeypatch, following(update)) for update in (OWN, PLAIN))
    assert all(map(np.array_equal, ours, theirs))
    without = train(monkeypatch, OWN)
    assert not np.array_equal(ours[1], without[1])


def test_a_copy_of_a_network_moves_by_itself():
    net = chainer.links.Linear(3, 2)
    optimizer = chainer.optimizers.Adam().setup(net)
    for each in (optimizer, copy.deepcopy(optimizer)):
        before = net.W.array.copy()
        each.target.cleargrads()
        each.target.W.grad = np.ones((2, 3), np.float32)
        each.update()
        assert (net.W.array != before).all() == (each is optimizer)


def test_small_parameters_are_joined_large_ones_cut(monkeypatch):
    calls, lengths = [], (adam.PIECE + 5, 7, adam.PIECE - 10)
    monkeypatch.setattr(adam, "step", lambda *arguments: calls.append(len(arguments[2])))
    monkeypatch.setattr(adam, "threads", lambda: 1)
    net = chainer.Link()
    with net.init_scope():
        for k, length in enumerate(lengths):
            setattr(net, f"p{k}", chainer.Parameter(np.zeros(length, np.float32)))
    optimizer = chainer.optimizers.Adam().setup(net)
    for param in net.params():
        param.update_rule._init_states(param)
        param.grad = param.array
    optimizer.update()
    assert calls == [adam.PIECE, 12, adam.PIECE - 10]


@pytest.mark.filterwarnings("error")
def test_what_overflows_is_told_in_no_thread_where_the_caller_asked_for_silence(monkeypatch):
    monkeypatch.setattr(adam, "threads", lambda: 2)
    arrays = [np.full(2 * adam.PIECE, 1e30, np.float32) for _ in range(2)]
    link = chainer.links.Parameter(arrays[0])
    optimizer = chainer.optimizers.Adam(1e300).setup(link)
    link.W.update_rule._init_states(link.W)
    link.W.grad = arrays[1]
    with np.errstate(all="ignore"):
        optimizer.update()
    assert not np.isfinite(link.W.array).any()
