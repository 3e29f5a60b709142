"""Losses against formulas written out by hand, and their gradients against numerical ones."""

import functools

import numpy as np
import pytest

from utils import losses, metrics
from utils.errors import UserError
from utils.stack import F, chainer

SHAPE = (2, 1, 3, 5, 6)


@pytest.fixture
def frames():
    random = np.random.default_rng(0)
    return [random.uniform(-1, 1, SHAPE) for _ in range(2)]


def plain_gdl(predicted, true, alpha):
    """The GDL of Mathieu et al., pixel by pixel."""
    total = {"down": [], "right": []}
    *lead, height, width = true.shape
    for index in np.ndindex(*lead):
        p, t = predicted[index], true[index]
        for i in range(height):
            for j in range(width):
                if i:
                    gap = abs(abs(t[i, j] - t[i - 1, j]) - abs(p[i, j] - p[i - 1, j]))
                    total["down"].append(gap**alpha)
                if j:
                    gap = abs(abs(t[i, j] - t[i, j - 1]) - abs(p[i, j] - p[i, j - 1]))
                    total["right"].append(gap**alpha)
    return np.mean(total["down"]) + np.mean(total["right"])


@pytest.mark.parametrize("p", [1, 2, 1.5])
def test_lp_is_the_mean_power_of_the_difference(frames, p):
    predicted, true = frames
    expected = np.mean(np.abs(predicted - true) ** p)
    assert losses.lp(predicted, true, p).array == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("alpha", [1, 2, 1.5])
def test_gdl_is_the_papers_formula(frames, alpha):
    predicted, true = frames
    expected = plain_gdl(predicted, true, alpha)
    assert losses.gdl(predicted, true, alpha).array == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("loss", [functools.partial(losses.lp, p=2), losses.LOSSES["gdl"]])
@pytest.mark.parametrize("other", [np.zeros((1, *SHAPE[1:])), np.zeros(SHAPE, np.float32)])
def test_frames_of_unlike_shapes_or_types_are_told(frames, loss, other):
    from chainer.utils.type_check import InvalidType  # only after utils.stack has patched Chainer

    for predicted, true in ((frames[0], other), (other, frames[0])):
        with pytest.raises(InvalidType, match="FusedLoss"):
            loss(predicted, true)


def test_probabilities_of_unlike_shapes_are_told(frames):
    with pytest.raises(ValueError, match="predicted, "):
        losses.LOSSES["bce"](frames[0], frames[1][:, :, :1])


def test_gdl_does_not_see_the_direction_of_an_edge(frames):
    """The inner absolute values, which a well-known port leaves out."""
    _, true = frames
    assert losses.gdl(-true, true, 1).array == 0
    assert losses.gdl(true, true + 0.5, 1).array == pytest.approx(0, abs=1e-12)


def test_gdl_does_not_let_channels_cancel():
    true = np.zeros((1, 1, 2, 4, 4))
    predicted = true.copy()
    predicted[..., 0, :, 2:], predicted[..., 1, :, 2:] = 1, -1
    assert losses.gdl(predicted, true, 1).array > 0


@pytest.mark.parametrize("target", [0, 1])
def test_bce_takes_the_natural_logarithm(target):
    logits = np.linspace(-4, 4, 9)
    chance = 1 / (1 + np.exp(-logits))
    expected = -np.mean(np.log(chance if target else 1 - chance))
    assert losses.bce(logits, target).array == pytest.approx(expected, rel=1e-12)


def test_bce_stays_finite_for_a_discriminator_that_is_sure():
    logits = chainer.Variable(np.array([-1e4, 1e4], np.float32))
    loss = losses.bce(logits, 1) + losses.bce(logits, 0)
    loss.backward()
    assert np.isfinite(loss.array)
    assert np.isfinite(logits.grad).all()


def test_pixel_bce_is_the_cross_entropy_of_chances(frames):
    predicted, true = ((f + 1) / 2 for f in frames)
    expected = -np.mean(true * np.log(predicted) + (1 - true) * np.log(1 - predicted))
    assert losses.pixel_bce(*frames).array == pytest.approx(expected, rel=1e-9)
    assert np.isfinite(losses.pixel_bce(frames[0] * 0 + 1, frames[1] * 0 - 1).array)


@pytest.mark.parametrize("size", [(24, 20), (4, 4), (16, 5)])
def test_ssim_is_one_less_the_metric(size):
    random = np.random.default_rng(0)
    true = random.uniform(-1, 1, (2, 1, 3, *size))
    predicted = np.clip(true + random.normal(0, 0.2, true.shape), -1, 1)
    loss = losses.ssim(predicted, true).array
    assert 0 < loss < 1
    assert losses.ssim(true, true).array == pytest.approx(0, abs=1e-12)
    if min(size) > 10:
        expected = metrics.ssim((predicted + 1) / 2, (true + 1) / 2).mean()
        assert 1 - loss == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    "loss",
    [
        lambda p, t: losses.lp(p, t, 1),
        lambda p, t: losses.lp(p, t, 2),
        lambda p, t: losses.lp(p, t, 1.5),
        lambda p, t: losses.gdl(p, t, 1),
        lambda p, t: losses.gdl(p, t, 2),
        losses.pixel_bce,
        losses.ssim,
        lambda p, t: losses.bce(F.sum(p, axis=(1, 2, 3, 4)), 1),
        lambda p, t: losses.bce(F.sum(p, axis=(1, 2, 3, 4)), 0),
    ],
    ids=["l1", "l2", "l1.5", "gdl1", "gdl2", "pixel bce", "ssim", "real", "fake"],
)
def test_gradients_are_the_numerical_ones(frames, loss):
    from chainer import gradient_check  # only after utils.stack has patched Chainer

    predicted, true = frames
    gradient_check.check_backward(
        lambda p: loss(p, true), predicted, None, dtype=np.float64, eps=1e-6, rtol=1e-5, atol=1e-7
    )


def test_losses_are_taken_by_name_and_weight(frames):
    terms, adversarial = losses.by_name("l1=0.5, gdl=2,adversarial=0.1", 2)
    assert adversarial == 0.1
    assert {name: weight for name, (weight, _) in terms.items()} == {"l1": 0.5, "gdl": 2}
    assert terms["gdl"][1](*frames).array == losses.gdl(*frames, 2).array
    assert losses.by_name("mse=1", 1)[1] == 0


@pytest.mark.parametrize(
    "text", ["", "l3=1", "l1", "l1=", "l1=-1", "l1=nan", "l1=1,,gdl=1", "l1=1,l1=2"]
)
def test_a_loss_that_is_not_known_is_told_in_one_line(text):
    with pytest.raises(UserError, match="--loss") as caught:
        losses.by_name(text, 1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["l2", "gdl", "ssim"])
def test_gradients_of_a_loss_have_none(name):
    x = chainer.Variable(np.ones((1, 1, 3, 3), np.float32))
    loss = losses.LOSSES[name](x, np.zeros_like(x.array))
    with pytest.raises(NotImplementedError):
        chainer.grad([loss], [x], enable_double_backprop=True)
