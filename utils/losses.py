"""Losses of Mathieu, Couprie and LeCun (ICLR 2016): pure functions of Variables.

Frames are (..., C, H, W) in [-1, 1]; each loss is a mean, so its weight means the same at any
batch, frame or pyramid size.  The paper writes sums; the authors' public code takes means.
Those of the command line have gradients by `predicted`; lp and gdl have none by `true`.
"""

import functools

import numpy as np

from utils import gpu_losses
from utils.errors import UserError
from utils.metrics import SSIM_RADIUS, SSIM_SIGMA, similarity
from utils.stack import F, chainer, kernels

# Of frames (..., H, W): what has a neighbour above, and that; then, what has one to the left.
NEIGHBOURS = (np.s_[..., 1:, :], np.s_[..., :-1, :]), (np.s_[..., 1:], np.s_[..., :-1])
EPSILON = 1e-6  # the least probability that pixel_bce gives a pixel


def lp(predicted, true, p):
    """Mean of |predicted - true| ** p, the paper's l_p loss; p is not below 1."""
    if are_for_kernels(predicted, true):
        return gpu_losses.lp(predicted, true, p)

    def work_out(predicted, true):
        step = predicted - true
        return power(step, p).mean(), slope(step, p) / step.size

    return PlainLoss(work_out).apply((predicted, chainer.as_array(true)))[0]


def gdl(predicted, true, alpha):
    """The paper's gradient difference loss (GDL), the mean over pixels of

        | |true gradient| - |predicted gradient| | ** alpha

    for the differences between neighbours along H and along W, added.  alpha is not below 1.
    """
    if are_for_kernels(predicted, true):
        return gpu_losses.gdl(predicted, true, alpha)

    def work_out(predicted, true):
        loss = 0
        gradient = chainer.backend.get_array_module(predicted).zeros_like(predicted)
        for after, before in NEIGHBOURS:
            step = predicted[after] - predicted[before]
            much = abs(step) - abs(true[after] - true[before])
            loss += power(much, alpha).mean()
            by_step = slope(much, alpha) * slope(step, 1) / step.size
            gradient[after] += by_step
            gradient[before] -= by_step
        return loss, gradient

    return PlainLoss(work_out).apply((predicted, chainer.as_array(true)))[0]


class PlainLoss(chainer.FunctionNode):
    """predicted, true -> the loss that work_out(predicted, true) returns beside its gradient by
    predicted; `true` has no gradient, and that gradient none: NotImplementedError.

    One node where Chainer's functions would be seven to forty, each of which takes as long as
    some ten thousand pixels.
    """

    def __init__(self, work_out):
        self.work_out = work_out

    def check_type_forward(self, in_types):
        predicted, true = in_types
        same = predicted.shape == true.shape, predicted.dtype == true.dtype
        chainer.utils.type_check.expect(*same)  # else NumPy would repeat one of them

    def forward(self, inputs):
        loss, self.gradient = self.work_out(*inputs)
        return (chainer.utils.force_array(loss),)

    def backward(self, indexes, grad_outputs):
        if chainer.config.enable_backprop:  # so Chainer tells that gradients need some
            raise NotImplementedError("gradients of a loss have no gradients")
        return chainer.as_variable(grad_outputs[0].array * self.gradient), None


def bce(logits, target):
    """Mean binary cross-entropy (natural logarithm) of sigmoid(logits) to target.

    target is 1 (real) or 0 (fake).  The sigmoid is taken inside, so any logit gives finite numbers.
    """
    xp = chainer.backend.get_array_module(logits)
    if xp is not np and kernels.usable():
        return gpu_losses.bce(logits, target)
    return F.sigmoid_cross_entropy(logits, xp.full(logits.shape, target, np.int32))


def pixel_bce(predicted, true):
    """Mean binary cross-entropy of pixels taken as probabilities, [-1, 1] standing for [0, 1].

    A wholly wrong pixel costs log(1 / EPSILON), not infinity, and has no gradient; nor has one
    outside [-1, 1].
    """
    probability = F.clip((predicted + 1) / 2, EPSILON, 1 - EPSILON)
    target = (true + 1) / 2
    return -F.mean(target * F.log(probability) + (1 - target) * F.log(1 - probability))


def ssim(predicted, true):
    """1 - structural similarity (Wang et al. 2004), mean over channels and windows in the frame.

    The window is the 11 x 11 Gaussian of utils/metrics.py, cut to the frame where that is smaller.
    """
    p, t = (F.reshape((x + 1) / 2, (-1, 1, *x.shape[-2:])) for x in (predicted, true))
    xp = chainer.backend.get_array_module(p)
    lengths = [min(2 * SSIM_RADIUS + 1, n - 1 + n % 2) for n in p.shape[-2:]]
    column, row = (gaussian(xp, length, p.dtype) for length in lengths)

    def mean(x):
        x = F.convolution_2d(x, column.reshape(1, 1, -1, 1))
        return F.convolution_2d(x, row.reshape(1, 1, 1, -1))

    return 1 - F.mean(similarity(p, t, mean, 0.01**2, 0.03**2))


def gaussian(xp, length, dtype):
    """The window of SSIM along one axis: it sums to 1 over `length` pixels, an odd number."""
    x = xp.arange(length) - length // 2
    heights = xp.exp(-(x**2) / (2 * SSIM_SIGMA**2))
    return (heights / heights.sum()).astype(dtype)


LOSSES = {  # by the names of the command line; gdl with the paper's alpha
    "l1": functools.partial(lp, p=1),
    "l2": functools.partial(lp, p=2),
    "mse": functools.partial(lp, p=2),  # what others call the same
    "bce": pixel_bce,
    "gdl": functools.partial(gdl, alpha=1),
    "ssim": ssim,
}


def by_name(text, alpha):
    """The losses that a text such as "l2=1,gdl=1,adversarial=0.05" names.

    Returns {name: (weight, loss)}, gdl with the exponent alpha, and the weight of "adversarial", 0
    where it is not named.  UserError for an unknown or repeated name, or a weight that is not a
    number from 0 up.
    """
    weights = {}
    for part in text.split(","):
        name, _, number = part.strip().partition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = -1.0
        if not 0 <= weight < float("inf"):
            raise UserError(f"--loss {text}: {part!r} is not NAME=WEIGHT, a number from 0 up")
        if name not in LOSSES and name != "adversarial":
            known = ", ".join([*LOSSES, "adversarial"])
            raise UserError(f"--loss {text}: no loss is called {name!r}; choose from {known}")
        if name in weights:
            raise UserError(f"--loss {text}: {name} is given twice; give each loss one weight")
        weights[name] = weight
    adversarial = weights.pop("adversarial", 0.0)
    losses = {**LOSSES, "gdl": functools.partial(gdl, alpha=alpha)}
    return {name: (weight, losses[name]) for name, weight in weights.items()}, adversarial


def are_for_kernels(predicted, true):
    """Whether gpu_losses can take these: on a GPU, of one shape and type, float32 or wider."""
    on_gpu = chainer.backend.get_array_module(predicted) is not np and kernels.usable()
    alike = predicted.shape == true.shape and predicted.dtype == true.dtype
    return on_gpu and alike and predicted.dtype.itemsize >= 4


def power(x, exponent):
    """|x| ** exponent of an array, by the cheapest way for the exponents in use."""
    return x * x if exponent == 2 else abs(x) if exponent == 1 else abs(x) ** exponent


def slope(x, exponent):
    """The derivative of |x| ** exponent, 0 at 0."""
    if exponent == 2:
        return 2 * x
    sign = chainer.backend.get_array_module(x).sign(x)
    return sign if exponent == 1 else sign * exponent * abs(x) ** (exponent - 1)
