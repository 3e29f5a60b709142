"""How close predicted frames are to the true ones: pure functions of arrays in [0, 1].

Frames are float (..., C, H, W) in [0, 1]; every function returns one value a frame, (...).
`mask`, where given, is bool (..., H, W): the mean is then over its pixels only, and a frame
with an empty mask gives NaN.
"""

import numpy as np
from scipy import ndimage

SSIM_SIGMA, SSIM_RADIUS = 1.5, 5  # the 11 x 11 Gaussian of Wang et al. 2004
BEST_DECIBELS = 60.0  # cap of a frame's value in means; rounding to 8 bits alone gives 58.9 dB
MOVING_LEVEL = 10.5 / 255  # a change of more than 10 levels: visible, and above usual noise
MOVING_REACH = 4  # pixels around a change that count as moving, too


def to_unit(frames):
    """Frames in [-1, 1] -> float64 in [0, 1], clipped: the one range of every metric."""
    return np.clip((np.asarray(frames, np.float64) + 1) / 2, 0, 1)


def mse(predicted, true, mask=None):
    """Mean squared error over channels and pixels."""
    return pixel_mean(np.square(predicted - true), mask)


def psnr(predicted, true, mask=None):
    """Peak signal-to-noise ratio in dB, peak 1; infinite for equal frames."""
    return decibels(mse(predicted, true, mask))


def ssim(predicted, true, mask=None):
    """Structural similarity (Wang et al. 2004): Gaussian window, data range 1, mean over channels.

    Only windows that lie inside the frame count, as in the authors' own code; frames smaller than
    the 11 x 11 window give NaN.
    """
    inside = (..., slice(SSIM_RADIUS, -SSIM_RADIUS), slice(SSIM_RADIUS, -SSIM_RADIUS))
    if min(true.shape[-2:]) <= 2 * SSIM_RADIUS:
        return np.full(true.shape[:-3], np.nan)
    likeness = similarity(predicted, true, blur, 0.01**2, 0.03**2)
    return pixel_mean(likeness[inside], None if mask is None else mask[inside])


def sharpness(predicted, true, mask=None):
    """Sharpness difference of Mathieu et al. in dB, peak 1, higher is better.

    10 log10(1 / mean | (|dx t| + |dy t|) - (|dx p| + |dy p|) |) with differences to the pixel
    above and to the left, over the pixels that have both.
    """
    gap = np.abs(edges(true) - edges(predicted))
    return decibels(pixel_mean(gap, None if mask is None else mask[..., 1:, 1:]))


def gradient_difference(predicted, true, mask=None):
    """Mean over pixels of | |dy t| - |dy p| | + | |dx t| - |dx p| |: the GDL with alpha 1."""
    gap = sum(
        np.abs(np.abs(gradient(true)) - np.abs(gradient(predicted))) for gradient in (above, left)
    )
    return pixel_mean(gap, None if mask is None else mask[..., 1:, 1:])


def mae(predicted, true, mask=None):
    """Mean absolute error over channels and pixels."""
    return pixel_mean(np.abs(predicted - true), mask)


def edge_contrast(predicted, true, mask=None):
    """Mean |dx| + |dy| of the prediction over that of the truth: below 1 is blurred."""
    counted = None if mask is None else mask[..., 1:, 1:]
    steep, wanted = (pixel_mean(edges(frames), counted) for frames in (predicted, true))
    return np.divide(steep, wanted, out=np.full(wanted.shape, np.nan), where=wanted > 0)


def moving(frames):
    """Which pixels lie where something moved: frames (..., T, C, H, W) -> bool (..., T-1, H, W).

    A pixel moves when a channel changed by more than 10 levels of 255 since the frame before; the
    pixels up to 4 away belong to the area, so that what stands still beside it is judged as well.
    """
    changed = (np.abs(np.diff(frames, axis=-4)) > MOVING_LEVEL).any(axis=-3)
    window = (1,) * (changed.ndim - 2) + (2 * MOVING_REACH + 1,) * 2
    return ndimage.maximum_filter(changed, window, mode="constant", cval=False)


def mean(name, values, axis=None):
    """Mean over frames of the values of the metric called `name`; NaN values do not count.

    Values in decibels are capped at 60: a frame predicted exactly, at infinity, would outweigh all
    others. NaN if no frame has a value.
    """
    values = np.asarray(values)
    if name in DECIBELS:
        values = np.minimum(values, BEST_DECIBELS)
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis)
    count = known.sum(axis)
    return np.divide(total, count, out=np.full(np.shape(count), np.nan), where=count > 0)[()]


METRICS = {
    "psnr": psnr,
    "ssim": ssim,
    "sharpness": sharpness,
    "mse": mse,
    "gdl": gradient_difference,
    "mae": mae,
    "edge_contrast": edge_contrast,
}
HIGHER = ("psnr", "ssim", "sharpness")  # prefixes of the names of metrics where higher is better
DECIMALS = {"psnr": 2, "ssim": 4, "sharpness": 2, "mse": 5, "gdl": 4}  # in the table of a test
DECIBELS = ("psnr", "sharpness", "psnr_dyelax", "sharpness_dyelax")  # unbounded, capped in means


def pixel_mean(values, mask):
    """Mean of values (..., C, H, W) over channels and over the pixels of mask (..., H, W)."""
    if mask is None:
        values = values if values.size else np.full((*values.shape[:-3], 1, 1, 1), np.nan)
        return values.mean(axis=(-3, -2, -1))
    counted = mask.sum(axis=(-2, -1)) * values.shape[-3]
    total = (values * mask[..., None, :, :]).sum(axis=(-3, -2, -1))
    return np.divide(total, counted, out=np.full(counted.shape, np.nan), where=counted > 0)


def decibels(error):
    """10 log10(1 / error); infinite where the error is 0."""
    with np.errstate(divide="ignore"):
        return -10 * np.log10(error)


def similarity(predicted, true, window_mean, c1, c2, unbias=1):
    """SSIM of each pixel (Wang et al. 2004, equation 13), for arrays or Variables.

    window_mean: averages over each pixel's window. c1, c2: the constants (K L)^2. unbias: factor
    that makes variances sample variances, n / (n - 1).
    """
    mean_p, mean_t = window_mean(predicted), window_mean(true)
    var_p = unbias * (window_mean(predicted * predicted) - mean_p * mean_p)
    var_t = unbias * (window_mean(true * true) - mean_t * mean_t)
    covariance = unbias * (window_mean(predicted * true) - mean_p * mean_t)
    return ((2 * mean_p * mean_t + c1) * (2 * covariance + c2)) / (
        (mean_p * mean_p + mean_t * mean_t + c1) * (var_p + var_t + c2)
    )


def blur(frames):
    """Gaussian-weighted mean of each pixel's 11 x 11 neighbourhood, mirrored at the edges."""
    for axis in (-2, -1):
        frames = ndimage.gaussian_filter1d(frames, SSIM_SIGMA, axis=axis, radius=SSIM_RADIUS)
    return frames


def above(frames):
    """Differences to the pixel above, (..., H-1, W-1)."""
    return frames[..., 1:, 1:] - frames[..., :-1, 1:]


def left(frames):
    """Differences to the pixel to the left, (..., H-1, W-1)."""
    return frames[..., 1:, 1:] - frames[..., 1:, :-1]


def edges(frames):
    """|dx| + |dy| of each pixel, (..., H-1, W-1)."""
    return np.abs(above(frames)) + np.abs(left(frames))
