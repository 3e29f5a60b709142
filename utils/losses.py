"""Losses of Mathieu, Couprie and LeCun (ICLR 2016): pure functions of Variables.

Frames are (..., C, H, W) in [-1, 1]; each loss is a mean, so its weight means the same at any
batch, frame or pyramid size.  The paper writes sums; the authors' public code takes means.
"""

import numpy as np

from utils.stack import F, chainer


def lp(predicted, true, p):
    """Mean of |predicted - true| ** p (equation 5); p is 1 or 2, or any number not below 1."""
    return F.mean(power(predicted - true, p))


def gdl(predicted, true, alpha):
    """Gradient difference loss (equation 6), the mean over pixels of

        | |true gradient| - |predicted gradient| | ** alpha

    for the differences between neighbours along H and along W, added.  alpha is not below 1.
    """
    down = F.absolute(along_height(true)) - F.absolute(along_height(predicted))
    right = F.absolute(along_width(true)) - F.absolute(along_width(predicted))
    return F.mean(power(down, alpha)) + F.mean(power(right, alpha))


def bce(logits, target):
    """Mean binary cross-entropy (equation 2, natural logarithm) of sigmoid(logits) to target.

    target is 1 (real) or 0 (fake).  The sigmoid is taken inside, so any logit gives finite numbers.
    """
    targets = chainer.backend.get_array_module(logits).full(logits.shape, target, np.int32)
    return F.sigmoid_cross_entropy(logits, targets)


def power(x, exponent):
    """|x| ** exponent, by the cheapest way for the exponents in use."""
    if exponent == 1:
        return F.absolute(x)
    if exponent == 2:
        return F.square(x)
    return F.absolute(x) ** exponent


def along_height(frames):
    """Differences between neighbouring rows, (..., H-1, W)."""
    return frames[..., 1:, :] - frames[..., :-1, :]


def along_width(frames):
    """Differences between neighbouring columns, (..., H, W-1)."""
    return frames[..., 1:] - frames[..., :-1]
