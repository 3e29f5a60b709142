"""Losses of Mathieu, Couprie and LeCun (ICLR 2016), and others: pure functions of Variables.

Frames are float (..., C, H, W) in [-1, 1]. Each loss is a scalar and a mean, so a weight means the
same at any batch and frame size. (The paper writes sums; its authors' public code takes means.)
Gradients are with respect to `predicted`; lp, gdl and ssim have none with respect to `true`.
"""

import functools

import numpy as np

from utils import gpu_losses
from utils.errors import UserError
from utils.metrics import SSIM_RADIUS, SSIM_SIGMA, similarity
from utils.stack import F, chainer, kernels
from utils.stack.precision import using_dtype

# Slices of (..., H, W): pixels and their neighbours above, then pixels and those to the left.
NEIGHBOURS = (np.s_[..., 1:, :], np.s_[..., :-1, :]), (np.s_[..., 1:], np.s_[..., :-1])
EPSILON = 1e-6  # pixel_bce clips probabilities to [EPSILON, 1 - EPSILON]


def lp(predicted, true, p):
    """Mean of |predicted - true| ** p, the paper's l_p loss; p is at least 1."""
    if fit_kernels(predicted, true):
        return gpu_losses.lp(predicted, true, p)

    def value_and_gradient(predicted, true):
        error = predicted - true
        return power(error, p).mean(), slope(error, p) / error.size

    return FusedLoss(value_and_gradient).apply((predicted, chainer.as_array(true)))[0]


def gdl(predicted, true, alpha):
    """The paper's gradient difference loss (GDL), the mean over pixels of

        | |true gradient| - |predicted gradient| | ** alpha

    for the differences between neighbours along H and along W, added. alpha is at least 1. The
    metric of this name leaves out the first row and column, which have but one neighbour.
    """
    if fit_kernels(predicted, true):
        return gpu_losses.gdl(predicted, true, alpha)

    def value_and_gradient(predicted, true):
        loss = 0
        gradient = chainer.backend.get_array_module(predicted).zeros_like(predicted)
        for after, before in NEIGHBOURS:
            step = predicted[after] - predicted[before]
            error = abs(step) - abs(true[after] - true[before])
            loss += power(error, alpha).mean()
            by_step = slope(error, alpha) * slope(step, 1) / step.size  # d loss / d step
            gradient[after] += by_step
            gradient[before] -= by_step
        return loss, gradient

    return FusedLoss(value_and_gradient).apply((predicted, chainer.as_array(true)))[0]


class FusedLoss(chainer.FunctionNode):
    """predicted, true -> loss, as one function node.

    value_and_gradient(predicted, true) returns the loss and its gradient with respect to
    `predicted`. `true` gets no gradient, and the gradient cannot be differentiated again:
    NotImplementedError.

    Chainer's functions would be seven to forty nodes, each of which costs as much time as the
    arithmetic of some ten thousand pixels.
    """

    def __init__(self, value_and_gradient):
        self.value_and_gradient = value_and_gradient

    def check_type_forward(self, in_types):
        predicted, true = in_types
        same = predicted.shape == true.shape, predicted.dtype == true.dtype
        chainer.utils.type_check.expect(*same)  # else NumPy would broadcast one of them

    def forward(self, inputs):
        loss, self.gradient = self.value_and_gradient(*inputs)
        return (chainer.utils.force_array(loss),)

    def backward(self, indexes, grad_outputs):
        if chainer.config.enable_backprop:  # set in a backward pass if it is to be differentiated
            raise NotImplementedError("gradients of a loss have no gradients")
        return chainer.as_variable(grad_outputs[0].array * self.gradient), None


def bce(logits, target):
    """Mean binary cross-entropy (natural logarithm) between sigmoid(logits) and target.

    target is 1 (real) or 0 (fake). The sigmoid is part of the formula, so that no logit overflows.
    """
    xp = chainer.backend.get_array_module(logits)
    if xp is not np and kernels.usable():
        return gpu_losses.bce(logits, target)
    return F.sigmoid_cross_entropy(logits, xp.full(logits.shape, target, np.int32))


def pixel_bce(predicted, true):
    """Mean binary cross-entropy of pixels taken as probabilities, from [-1, 1] mapped to [0, 1].

    Probabilities are clipped: a wholly wrong pixel costs log(1 / EPSILON), not infinity. Where
    they are clipped, the gradient is 0: a network does not learn from pixels that it puts beyond
    the range, as only one whose output is linear can. ValueError for arrays of different shapes.
    """
    if predicted.shape != true.shape:  # else NumPy would broadcast one of them
        raise ValueError(f"{predicted.shape} predicted, {true.shape} true")
    probability = F.clip((predicted + 1) / 2, EPSILON, 1 - EPSILON)
    target = (true + 1) / 2
    return -F.mean(target * F.log(probability) + (1 - target) * F.log(1 - probability))


def ssim(predicted, true):
    """1 - structural similarity (Wang et al. 2004), mean over channels and windows in the frame.

    The window is the 11 x 11 Gaussian of utils/metrics.py, cut to the frame where that is smaller.
    """

    def value_and_gradient(predicted, true):
        predicted = chainer.Variable(predicted)
        # Not in a shorter type: variances are small differences of large numbers.
        exact = using_dtype("float32", predicted.device)
        with exact, chainer.force_backprop_mode():
            loss = dissimilarity(predicted, true)
            (gradient,) = chainer.grad([loss], [predicted])
        return loss.array, gradient.array

    return FusedLoss(value_and_gradient).apply((predicted, chainer.as_array(true)))[0]


def dissimilarity(predicted, true):
    """`ssim` of a Variable and an array, by Chainer's functions."""
    p, t = (F.reshape((x + 1) / 2, (-1, 1, *x.shape[-2:])) for x in (predicted, true))
    xp = chainer.backend.get_array_module(p)
    lengths = [min(2 * SSIM_RADIUS + 1, n - 1 + n % 2) for n in p.shape[-2:]]
    column, row = (gaussian(xp, length, p.dtype) for length in lengths)

    def mean(x):
        x = F.convolution_2d(x, column.reshape(1, 1, -1, 1))
        return F.convolution_2d(x, row.reshape(1, 1, 1, -1))

    return 1 - F.mean(similarity(p, t, mean, 0.01**2, 0.03**2))


def gaussian(xp, length, dtype):
    """SSIM's Gaussian window along one axis: (length,), odd, with a sum of 1."""
    x = xp.arange(length) - length // 2
    heights = xp.exp(-(x**2) / (2 * SSIM_SIGMA**2))
    return (heights / heights.sum()).astype(dtype)


LOSSES = {  # {name in --loss: function}; gdl with the paper's alpha
    "l1": functools.partial(lp, p=1),
    "l2": functools.partial(lp, p=2),
    "mse": functools.partial(lp, p=2),  # another name for l2
    "bce": pixel_bce,
    "gdl": functools.partial(gdl, alpha=1),
    "ssim": ssim,
}


def by_name(text, alpha):
    """Parse --loss, a text such as "l2=1,gdl=1,adversarial=0.05".

    Returns ({name: (weight, loss)}, the weight of "adversarial" or 0); gdl has the exponent alpha.
    UserError for an unknown or repeated name, or a weight that is not a number from 0 up.
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


def fit_kernels(predicted, true):
    """Whether gpu_losses can take these: on a GPU, of one shape and dtype, float32 or wider."""
    on_gpu = chainer.backend.get_array_module(predicted) is not np and kernels.usable()
    alike = predicted.shape == true.shape and predicted.dtype == true.dtype
    return on_gpu and alike and predicted.dtype.itemsize >= 4


def power(x, exponent):
    """|x| ** exponent of an array, by the cheapest way for exponents of 1 and 2."""
    return x * x if exponent == 2 else abs(x) if exponent == 1 else abs(x) ** exponent


def slope(x, exponent):
    """The derivative of |x| ** exponent, 0 at 0."""
    if exponent == 2:
        return 2 * x
    sign = chainer.backend.get_array_module(x).sign(x)
    return sign if exponent == 1 else sign * exponent * abs(x) ** (exponent - 1)
