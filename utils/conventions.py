"""Metrics as other code bases compute them, so that their tables can be compared with ours.

As in utils/metrics.py frames are float (..., C, H, W) in [0, 1], and functions return one value a
frame, (...). Each converts to the range of its original, whose quirks it reproduces on purpose.
Over the moving area they are not those of Mathieu et al., who find it by optical flow.
"""

import numpy as np
from scipy import ndimage

from utils.metrics import (
    SSIM_RADIUS,
    above,
    blur,
    decibels,
    left,
    mse,
    similarity,
)

LUMA = np.array([0.299, 0.587, 0.114])[:, None, None]


def psnr_mathieu(predicted, true):
    """Mathieu et al., image_error_measures.lua: takes 128 for 127.5, so 0.034 dB too low."""
    return mathieu_decibels(128**2 * 4 * mse(predicted, true))


def sharpness_mathieu(predicted, true):
    """Mathieu et al., the same file, which is not the paper's formula.

    Horizontal and vertical gradients are compared separately, absolute differences are scaled by
    128 squared, and a sum over the inner pixels is divided by the number of all pixels.
    """
    gap = sum(np.abs(np.abs(d(predicted)) - np.abs(d(true))) for d in (above, left))
    inner = gap[..., :-1, :-1].sum(axis=(-3, -2, -1))
    return mathieu_decibels(128**2 * 2 * inner / np.prod(true.shape[-3:]))


def ssim_mathieu(predicted, true):
    """Mathieu et al., the same file: luma in 0..255, Gaussian window, zeros around the frame."""
    edge = [(0, 0)] * (true.ndim - 3) + [(2 * SSIM_RADIUS,) * 2] * 2
    p, t = (np.pad(255 * luma(frames), edge) for frames in (predicted, true))

    likeness = similarity(p, t, blur, (0.01 * 255) ** 2, (0.03 * 255) ** 2)
    inside = slice(SSIM_RADIUS, -SSIM_RADIUS)
    return likeness[..., inside, inside].mean(axis=(-2, -1))


def psnr_dyelax(predicted, true):
    """dyelax/Adversarial_Video_Generation: peak 1 on frames in [-1, 1], so 6.02 dB too low."""
    return decibels(4 * mse(predicted, true))


def sharpness_dyelax(predicted, true):
    """dyelax/Adversarial_Video_Generation: the paper's formula in [-1, 1], grey below and right."""
    return decibels(np.abs(sum(slopes(predicted)) - sum(slopes(true))).mean(axis=(-3, -2, -1)))


def l2_chaos(predicted, true):
    """team-pragmatic-chaos: half the sum of squared errors of a frame in [-1, 1]."""
    return 2 * np.square(predicted - true).sum(axis=(-3, -2, -1))


def gdl_chaos(predicted, true):
    """team-pragmatic-chaos: gradient difference with alpha 2, summed; grey below and right."""
    pairs = zip(slopes(predicted), slopes(true), strict=True)
    return sum(np.square(wanted - steep).sum(axis=(-3, -2, -1)) for steep, wanted in pairs)


def total_chaos(predicted, true):
    """team-pragmatic-chaos: their L2 and gradient difference, added."""
    return l2_chaos(predicted, true) + gdl_chaos(predicted, true)


def mse_openstl(predicted, true):
    """OpenSTL: squared errors of a frame, summed; before predictions are clipped."""
    return np.square(predicted - true).sum(axis=(-3, -2, -1))


def mae_openstl(predicted, true):
    """OpenSTL: absolute errors of a frame, summed; before predictions are clipped."""
    return np.abs(predicted - true).sum(axis=(-3, -2, -1))


def ssim_openstl(predicted, true):
    """OpenSTL: 7x7 uniform window, a range of 2 for frames of range 1, so too high."""
    if min(true.shape[-2:]) < 7:
        return np.full(true.shape[:-3], np.nan)

    def mean(x):
        for axis in (-2, -1):
            x = ndimage.uniform_filter1d(x, 7, axis=axis)
        return x

    likeness = similarity(predicted, true, mean, 0.02**2, 0.06**2, unbias=49 / 48)
    return likeness[..., 3:-3, 3:-3].mean(axis=(-3, -2, -1))


def perceptual(predicted, true):
    """wandb/catz and lukas/ml-class: Riemersma's colour distance (compuphase.com/cmetric.htm).

    0 to about 765, in units of 0..255; a grey frame counts as red, green and blue alike.
    """
    p, t = (255 * np.broadcast_to(f, (*f.shape[:-3], 3, *f.shape[-2:])) for f in (predicted, true))
    red, green, blue = (p[..., c, :, :] - t[..., c, :, :] for c in range(3))
    level = (p[..., 0, :, :] + t[..., 0, :, :]) / 2
    squared = (512 + level) * red**2 / 256 + 4 * green**2 + (767 - level) * blue**2 / 256
    return np.sqrt(squared).mean(axis=(-2, -1))


CONVENTIONS = {
    function.__name__: function
    for function in (
        psnr_mathieu,
        ssim_mathieu,
        sharpness_mathieu,
        psnr_dyelax,
        sharpness_dyelax,
        l2_chaos,
        gdl_chaos,
        total_chaos,
        mse_openstl,
        mae_openstl,
        ssim_openstl,
        perceptual,
    )
}

UNCLIPPED = "mse_openstl", "mae_openstl"  # are given predictions before clipping to [0, 1]


def luma(frames):
    """(..., C, H, W) -> (..., H, W): the Y of an RGB frame, a grey frame as it is."""
    return frames[..., 0, :, :] if frames.shape[-3] == 1 else (frames * LUMA).sum(axis=-3)


def slopes(frames):
    """|dy|, |dx| of frames, here scaled to [-1, 1], to the pixel below and to the right.

    Beyond the frame all is 0, a mid-grey: dyelax and team-pragmatic-chaos use TensorFlow's SAME
    padding.
    """
    return [np.abs(np.diff(2 * frames - 1, axis=axis, append=0)) for axis in (-2, -1)]


def mathieu_decibels(error):
    """10 log10(255^2 / error), which their code limits to 88 dB."""
    return 10 * np.log10(255**2 / np.maximum(error, 1e-4))
