"""Metrics against independent references and hand-made cases."""

import numpy as np
import pytest

from utils import metrics
from utils.conventions import CONVENTIONS


@pytest.fixture
def frames():
    random = np.random.default_rng(0)
    true = random.uniform(0, 1, (2, 3, 40, 32))
    return np.clip(true + random.normal(0, 0.1, true.shape), 0, 1), true


def test_psnr_of_a_known_error():
    true = np.zeros((3, 8, 8))
    assert metrics.psnr(true + 0.1, true) == pytest.approx(20)
    assert metrics.psnr(true, true) == np.inf


def test_ssim_and_psnr_agree_with_scikit_image(frames):
    skimage = pytest.importorskip("skimage.metrics")
    for predicted, true in zip(*frames, strict=True):
        ssim = skimage.structural_similarity(
            predicted,
            true,
            channel_axis=0,
            data_range=1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert metrics.ssim(predicted, true) == pytest.approx(ssim, abs=1e-6)
        psnr = skimage.peak_signal_noise_ratio(true, predicted, data_range=1)
        assert metrics.psnr(predicted, true) == pytest.approx(psnr, abs=1e-9)


def test_ssim_of_frames_smaller_than_its_window_is_not_a_number():
    assert np.isnan(metrics.ssim(np.zeros((3, 8, 8)), np.zeros((3, 8, 8))))


def test_sharpness_is_the_formula_of_the_paper(frames):
    predicted, true = (f[0] for f in frames)
    total, count = 0.0, 0
    for c in range(3):
        for i in range(1, 40):
            for j in range(1, 32):
                steep = [
                    abs(f[c, i, j] - f[c, i - 1, j]) + abs(f[c, i, j] - f[c, i, j - 1])
                    for f in (true, predicted)
                ]
                total += abs(steep[0] - steep[1])
                count += 1
    expected = 10 * np.log10(1 / (total / count))
    assert metrics.sharpness(predicted, true) == pytest.approx(expected)


def test_a_blurred_frame_is_less_sharp_and_differs_more_in_gradient(frames):
    _, true = frames
    blurred = metrics.blur(true)
    nearly = 0.9 * true + 0.1 * blurred
    assert (metrics.sharpness(blurred, true) < metrics.sharpness(nearly, true)).all()
    assert (
        metrics.gradient_difference(blurred, true) > metrics.gradient_difference(nearly, true)
    ).all()


def test_gradient_difference_of_a_known_edge():
    true, predicted = np.zeros((1, 5, 5)), np.zeros((1, 5, 5))
    predicted[..., 3:] = 0.5  # one column of four differs to its left, in four rows of four
    assert metrics.gradient_difference(predicted, true) == pytest.approx(0.5 / 4)


@pytest.mark.parametrize("name", sorted(metrics.METRICS))
def test_a_mask_of_everything_changes_nothing_and_a_mask_of_nothing_has_no_value(name, frames):
    predicted, true = frames
    metric = metrics.METRICS[name]
    everything = np.ones((2, 40, 32), bool)
    assert metric(predicted, true, everything) == pytest.approx(metric(predicted, true))
    assert np.isnan(metric(predicted, true, ~everything)).all()


def test_a_mask_is_also_the_denominator(frames):
    """Errors outside the mask do not count, and the mean is over the mask's pixels alone."""
    _, true = frames
    mask = np.zeros((2, 40, 32), bool)
    mask[:, :4] = True
    predicted = true.copy()
    predicted[:, :, :4] += 0.1
    predicted[:, :, 20:] += 0.7
    assert metrics.mse(predicted, true, mask) == pytest.approx(0.01)


def test_moving_marks_what_changed_and_its_neighbourhood():
    frames = np.zeros((3, 3, 30, 30))
    frames[1, 2, 10, 10] = 11 / 255  # appears in one channel, then vanishes
    frames[2, :, 25, 25] = 10 / 255  # too faint to count
    moving = metrics.moving(frames)
    expected = np.zeros((2, 30, 30), bool)
    expected[:, 6:15, 6:15] = True
    assert (moving == expected).all()


@pytest.mark.parametrize("name", ["psnr", "sharpness", "psnr_dyelax", "sharpness_dyelax"])
def test_mean_counts_no_frame_as_more_than_60_db(name):
    assert metrics.mean(name, [np.inf, 20.0, np.nan]) == 40
    true = np.random.default_rng(0).uniform(0, 1, (3, 9, 9))
    (close,) = {**metrics.METRICS, **CONVENTIONS}[name](
        true[None] + 1e-9 * (true > 0.5), true[None]
    )
    assert close > 60 and metrics.mean(name, [close, np.inf]) == 60


def test_mean_of_other_metrics_has_no_bound_and_leaves_out_what_has_no_value():
    assert metrics.mean("mae_openstl", [5000.0, 20.0, np.nan]) == 2510
    assert np.isnan(metrics.mean("mse", [np.nan]))
    assert metrics.mean("mse", np.array([[1.0, np.nan], [3.0, np.nan]]), axis=0)[0] == 2


def test_to_unit_clips_to_the_range_of_the_metrics():
    assert metrics.to_unit([-2, -1, 0, 1, 3]).tolist() == [0, 0, 0.5, 1, 1]


def test_frames_too_small_for_a_gradient_have_none():
    frame = np.zeros((2, 3, 1, 1))
    for metric in (metrics.sharpness, metrics.gradient_difference, metrics.edge_contrast):
        assert np.isnan(metric(frame, frame)).all()


def test_a_change_of_ten_levels_is_still_and_of_eleven_moves():
    start = np.arange(244)[None, None] / 255
    for change, moves in ((10, False), (11, True)):
        frames = np.stack([start, start + change / 255])
        assert (metrics.moving(frames) == moves).all()
