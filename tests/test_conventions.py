"""The metrics of other code bases: their formulas written out, their known offsets from ours."""

import numpy as np
import pytest
from scipy import signal

from utils import conventions, metrics


@pytest.fixture
def frames():
    random = np.random.default_rng(0)
    true = random.uniform(0, 1, (2, 3, 24, 20))
    return np.clip(true + random.normal(0, 0.1, true.shape), 0, 1), true


def test_psnr_of_others_is_ours_with_a_known_offset(frames):
    ours = metrics.psnr(*frames)
    twice_the_range, one_of_256 = 20 * np.log10(2), 20 * np.log10(256 / 255)
    assert conventions.psnr_dyelax(*frames) == pytest.approx(ours - twice_the_range)
    assert conventions.psnr_mathieu(*frames) == pytest.approx(ours - one_of_256)
    perfect = 10 * np.log10(255**2 / 1e-4)  # no error counts as less than 1e-4
    assert conventions.psnr_mathieu(frames[0], frames[0]) == pytest.approx(perfect)


def test_ssim_of_openstl_is_scikit_images_with_a_range_of_2(frames):
    skimage = pytest.importorskip("skimage.metrics")
    for predicted, true in zip(*frames, strict=True):
        expected = skimage.structural_similarity(predicted, true, channel_axis=0, data_range=2)
        assert conventions.ssim_openstl(predicted, true) == pytest.approx(expected, abs=1e-6)
    assert np.isnan(conventions.ssim_openstl(predicted[:, :6], true[:, :6]))  # below its window
    assert np.isfinite(conventions.ssim_openstl(predicted[:, :7], true[:, :7]))


def test_ssim_of_mathieu_convolves_luma_with_zeros_around(frames):
    predicted, true = (255 * np.einsum("nchw,c->nhw", f, [0.299, 0.587, 0.114])[0] for f in frames)
    bell = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(bell, bell) / bell.sum() ** 2

    def mean(x):
        return signal.convolve2d(x, window, mode="full")

    mp, mt = mean(predicted), mean(true)
    vp, vt = mean(predicted**2) - mp**2, mean(true**2) - mt**2
    cov, c1, c2 = mean(predicted * true) - mp * mt, 2.55**2, 7.65**2
    expected = (2 * mp * mt + c1) * (2 * cov + c2) / ((mp**2 + mt**2 + c1) * (vp + vt + c2))
    assert expected.shape == (34, 30)
    assert conventions.ssim_mathieu(*frames)[0] == pytest.approx(expected.mean(), abs=1e-9)


def test_sharpness_of_mathieu_pixel_by_pixel(frames):
    predicted, true = (2 * f[0] - 1 for f in frames)
    total = 0
    for c in range(3):
        for y in range(1, 23):
            for x in range(1, 19):
                for dy, dx in ((1, 0), (0, 1)):
                    steep = [abs(f[c, y - dy, x - dx] - f[c, y, x]) for f in (predicted, true)]
                    total += abs(steep[0] - steep[1])
    expected = 10 * np.log10(255**2 / (128**2 * total / true.size))
    assert conventions.sharpness_mathieu(*frames)[0] == pytest.approx(expected)


def padded_slopes(frames):
    """|dy|, |dx| in [-1, 1] to the pixels below and right, zeros beyond the frame."""
    wide = 2 * frames - 1
    padded = np.pad(wide, [(0, 0), (0, 0), (0, 1), (0, 1)])
    return np.abs(padded[..., 1:, :-1] - wide), np.abs(padded[..., :-1, 1:] - wide)


def test_sharpness_of_dyelax_pads_with_zeros_on_the_right_and_below(frames):
    predicted, true = (sum(padded_slopes(f)) for f in frames)
    expected = 10 * np.log10(1 / np.abs(true - predicted).mean(axis=(1, 2, 3)))
    assert conventions.sharpness_dyelax(*frames) == pytest.approx(expected)


def test_sums_of_others(frames):
    predicted, true = frames
    l2 = 0.5 * ((2 * predicted - 2 * true) ** 2).sum(axis=(1, 2, 3))
    pairs = zip(padded_slopes(predicted), padded_slopes(true), strict=True)
    gdl = sum(((p - t) ** 2).sum(axis=(1, 2, 3)) for p, t in pairs)
    assert conventions.l2_chaos(*frames) == pytest.approx(l2)
    assert conventions.gdl_chaos(*frames) == pytest.approx(gdl)
    assert conventions.total_chaos(*frames) == pytest.approx(l2 + gdl)
    assert conventions.mse_openstl(*frames) == pytest.approx(metrics.mse(*frames) * 3 * 24 * 20)
    assert conventions.mae_openstl(*frames) == pytest.approx(metrics.mae(*frames) * 3 * 24 * 20)


def test_perceptual_distance_is_in_units_of_0_to_255():
    black, white = np.zeros((1, 4, 4)), np.ones((1, 4, 4))
    largest = 255 * np.sqrt((512 + 127.5) / 256 + 4 + (767 - 127.5) / 256)
    assert conventions.perceptual(white, black) == pytest.approx(largest)
    red = np.zeros((3, 4, 4))
    red[0] = 1
    for less in 0, 0.5:  # the redder both are, the more red counts
        expected = 255 * (1 - less) * np.sqrt((512 + 127.5 * (1 + less)) / 256)
        assert conventions.perceptual(red, less * red) == pytest.approx(expected)


def test_edge_contrast_is_below_1_for_a_blurred_frame(frames):
    _, true = frames
    assert metrics.edge_contrast(true, true) == pytest.approx(1)
    assert (metrics.edge_contrast(metrics.blur(true), true) < 0.5).all()
    assert np.isnan(metrics.edge_contrast(true, np.ones_like(true))).all()


@pytest.mark.parametrize("name", sorted(conventions.CONVENTIONS))
def test_grey_frames_have_a_value_each(name, frames):
    grey = [f[:, :1] for f in frames]
    values = conventions.CONVENTIONS[name](*grey)
    assert values.shape == (2,) and np.isfinite(values).all()
