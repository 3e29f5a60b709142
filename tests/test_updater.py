"""The training step: what each network learns from, leaving the other untouched."""

import numpy as np
import pytest

import models
from models.discriminators import Discriminators
from utils import losses
from utils.batches import to_past_and_future
from utils.stack import chainer
from utils.updater import AdversarialUpdater, PredictionUpdater, descend

HISTORY, SIZE = 2, (8, 8)
WEIGHTS = {"l2": 1, "gdl": 1, "adversarial": 0.05}


class OneBatch(chainer.dataset.Iterator):
    """The same two clips for ever."""

    def __init__(self):
        random = np.random.default_rng(0)
        self.clips = random.integers(0, 256, (2, HISTORY + 1, 3, *SIZE), np.uint8)

    def next(self):
        return self.clips


def networks():
    np.random.seed(0)
    gen = models.create("multiscale", HISTORY, 1, 3, SIZE, pyramid="4-8", width="small")
    dis = Discriminators([(4, 4), (8, 8)], HISTORY, 1, 3, "small")
    return gen, dis


def adversarial(weights=WEIGHTS, lr_gen=0.0, lr_dis=0.0):
    gen, dis = networks()
    optimizers = {
        "gen": chainer.optimizers.SGD(lr_gen).setup(gen),
        "dis": chainer.optimizers.SGD(lr_dis).setup(dis),
    }
    for optimizer in optimizers.values():
        optimizer.add_hook(LastGradient())
    weighted = {name: weights[name] for name in weights if name != "adversarial"}
    terms = {name: (weight, losses.LOSSES[name]) for name, weight in weighted.items()}
    convert = to_past_and_future(HISTORY)
    device = chainer.get_device("@numpy")
    return AdversarialUpdater(
        OneBatch(), optimizers, terms, convert, device, adversarial_weight=weights["adversarial"]
    )


class LastGradient:
    """An optimizer's hook that keeps what the last step went down; the network forgets it."""

    name, timing, call_for_each_param = "last gradient", "pre", False

    def __call__(self, optimizer):
        optimizer.last_gradient = gradient(optimizer.target)


def state(chain):
    return np.concatenate([p.array.ravel() for p in chain.params()])


def gradient(chain):
    return np.concatenate([p.grad.ravel() for p in chain.params()])


def last_gradient(updater, name):
    return updater.get_optimizer(name).last_gradient


def gen_gradient(**weights):
    updater = adversarial({"adversarial": 0, **weights})
    updater.update()
    return last_gradient(updater, "gen")


def test_each_loss_reaches_the_generator_in_proportion_to_its_weight():
    alone = [gen_gradient(**{name: 1}) for name in ("l2", "gdl", "adversarial")]
    for found in alone:
        assert np.abs(found).max() > 1e-6
    combined = gen_gradient(l2=0.5, gdl=2, adversarial=3)
    expected = 0.5 * alone[0] + 2 * alone[1] + 3 * alone[2]
    assert combined == pytest.approx(expected, abs=1e-6)


def test_every_loss_of_the_command_line_has_a_gradient_of_its_own():
    gradients = {name: gen_gradient(**{name: 1}) for name in losses.LOSSES if name != "mse"}
    for name, found in gradients.items():
        assert np.abs(found).max() > 1e-6, name
    directions = np.array([g / np.linalg.norm(g) for g in gradients.values()])
    likeness = np.triu(directions @ directions.T, 1)
    assert np.abs(likeness).max() < 0.9999  # cross-entropy is nearly l2 for grey


def test_gradients_are_those_of_the_whole_loss_written_out():
    """Against one plain backward pass through both networks, nothing shared or left out."""
    weights = {"l2": 2, "gdl": 3, "adversarial": 0.5}
    updater = adversarial(weights)
    reporter = chainer.Reporter()
    for name in ("gen", "dis"):
        reporter.add_observer(name, updater.get_optimizer(name).target)
    with reporter:
        updater.update()
    gen, dis = networks()
    past, future = updater.converter(OneBatch().next(), chainer.get_device("@numpy"))
    fakes, reals, pasts = gen.pyramid(past), gen.at_scales(future), gen.at_scales(past)

    dis_loss = 0
    for futures, target in ((reals, 1), ([f.array for f in fakes], 0)):
        dis_loss += sum(losses.bce(logit, target) for logit in dis(pasts, futures))
    dis.cleargrads()
    dis_loss.backward()
    assert last_gradient(updater, "dis") == pytest.approx(gradient(dis), abs=1e-6)

    pairs = list(zip(fakes, reals, strict=True))
    terms = {
        "l2": sum(losses.lp(fake, real, 2) for fake, real in pairs),
        "gdl": sum(losses.gdl(fake, real, 1) for fake, real in pairs),
        "adversarial": sum(losses.bce(logit, 1) for logit in dis(pasts, fakes)),
    }
    gen.cleargrads()
    sum(weights[name] * term for name, term in terms.items()).backward()
    assert last_gradient(updater, "gen") == pytest.approx(gradient(gen), abs=1e-6)

    wanted = {f"gen/{name}": term for name, term in terms.items()} | {"dis/loss": dis_loss}
    found, wanted = (
        {name: float(term.array) for name, term in of.items()}
        for of in (reporter.observation, wanted)
    )
    assert found == pytest.approx(wanted, rel=1e-5)


def test_the_generators_loss_is_scored_by_the_discriminators_just_updated():
    still, moved = adversarial(lr_dis=0.0), adversarial(lr_dis=0.5)
    for updater in (still, moved):
        updater.update()
    gradients = [last_gradient(updater, "gen") for updater in (still, moved)]
    assert not np.allclose(*gradients, atol=1e-6)


@pytest.mark.parametrize("trained, kept", [("gen", "dis"), ("dis", "gen")])
def test_a_step_of_one_network_leaves_the_other_untouched(trained, kept):
    rates = {f"lr_{trained}": 0.1}
    updater = adversarial(**rates)
    before = {n: state(updater.get_optimizer(n).target) for n in (trained, kept)}
    updater.update()
    after = {n: state(updater.get_optimizer(n).target) for n in (trained, kept)}
    assert np.array_equal(before[kept], after[kept])
    assert not np.array_equal(before[trained], after[trained])


class Calls(chainer.FunctionHook):
    """Names of the functions that run, those of backward passes included."""

    def __init__(self):
        self.names = []

    def forward_preprocess(self, function, in_data):
        self.names.append(type(function).__name__)


def test_training_the_generator_works_out_no_gradient_of_the_discriminators_weights(monkeypatch):
    monkeypatch.setenv("CHAINER_LAYERS", "0")  # each gradient is a node
    gen, dis = networks()
    past, future = to_past_and_future(HISTORY)(OneBatch().next(), chainer.get_device("@numpy"))
    loss = sum(losses.bce(logit, 1) for logit in dis(gen.at_scales(past), gen.pyramid(past)))
    optimizer = chainer.optimizers.SGD(0.0).setup(gen)
    dis.cleargrads()
    with Calls() as calls:
        descend(optimizer, loss)
    assert all(param.grad is None for param in dis.params())
    assert calls.names.count("Convolution2DGradW") == sum(len(r) for r in gen.refiners)
    assert "LinearGradWeight" not in calls.names


def test_training_the_discriminators_runs_nothing_of_the_generator():
    updater = adversarial()
    gen, dis = networks()
    past, future = updater.converter(OneBatch().next(), chainer.get_device("@numpy"))
    pasts, reals, fakes = gen.at_scales(past), gen.at_scales(future), gen.pyramid(past)
    optimizer = chainer.optimizers.SGD(0.0).setup(dis)
    gen.cleargrads()
    with Calls() as calls:
        descend(optimizer, updater.dis_loss(dis, pasts, reals, fakes))
    assert all(param.grad is None for param in gen.params())
    assert calls.names.count("Convolution2DGradW") == sum(len(d.convolutions) for d in dis)


def test_without_adversary_the_gradient_is_that_of_the_prediction_loss_alone():
    gen, _ = networks()
    optimizer = chainer.optimizers.SGD(0.0).setup(gen)
    optimizer.add_hook(LastGradient())
    device = chainer.get_device("@numpy")
    convert = to_past_and_future(HISTORY)
    terms = {name: (1, losses.LOSSES[name]) for name in ("l2", "gdl")}
    updater = PredictionUpdater(OneBatch(), {"gen": optimizer}, terms, convert, device)
    updater.update()
    assert last_gradient(updater, "gen") == pytest.approx(gen_gradient(l2=1, gdl=1), abs=1e-7)


@pytest.mark.parametrize("conditional", [True, False])
def test_discriminators_see_the_past_only_if_conditional(conditional):
    np.random.seed(0)
    dis = Discriminators([(4, 4), (8, 8)], HISTORY, 1, 3, "small", conditional)
    random = np.random.default_rng(0)
    past, other, future = (
        [random.uniform(-1, 1, (2, t, 3, n, n)).astype(np.float32) for n in (4, 8)]
        for t in (HISTORY, HISTORY, 1)
    )
    logits, others = dis(past, future), dis(other, future)
    assert [logit.shape for logit in logits] == [(2, 1), (2, 1)]
    for logit, changed in zip(logits, others, strict=True):
        assert np.array_equal(logit.array, changed.array) == (not conditional)
