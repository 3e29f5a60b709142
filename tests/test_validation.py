"""The numbers of a training's test clips, beside the metrics of all their frames at once."""

import numpy as np
import pytest

import models
from tests.stores import make_store, noise
from utils import metrics
from utils.batches import to_past_and_future
from utils.errors import UserError
from utils.stack import chainer
from utils.store import ClipStore
from utils.validation import CLIPS, SHOWN, Validation, find_test_clips

HISTORY, HORIZON = 3, 2
CPU = chainer.get_device("@numpy")


class Store:
    """More clips of noise than are judged, later ones brighter."""

    def __init__(self):
        random = np.random.default_rng(0)
        level = np.linspace(0, 200, CLIPS + 9)[:, None, None, None, None]
        noise = random.integers(0, 56, (CLIPS + 9, HISTORY + HORIZON, 3, 16, 16))
        self.clips = (level + noise).astype(np.uint8)

    def __len__(self):
        return len(self.clips)

    def read(self, indices):
        return self.clips[indices]


def test_the_generator_is_judged_beside_the_last_frame_on_clips_from_the_whole_store():
    np.random.seed(0)
    gen, store = models.create("conv2d", HISTORY, HORIZON, 3, (16, 16)), Store()
    convert, reporter = to_past_and_future(HISTORY), chainer.Reporter()
    with reporter:
        Validation(store, gen)(None)

    judged = store.clips[np.linspace(0, len(store) - 1, CLIPS).round().astype(int)]
    past, future = convert(judged, CPU)
    guesses = {"val": gen(past).array, "copy": past[:, -1:].repeat(HORIZON, axis=1)}
    expected = {}
    for kind, guess in guesses.items():
        for name, metric in SHOWN.items():
            values = metric(metrics.to_unit(guess), metrics.to_unit(future))
            expected[f"{kind}/{name}"] = values.mean()
    assert reporter.observation == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("made", [False, True])
def test_clips_that_are_not_there_yet_are_none(tmp_path, made):
    clips = ClipStore.create(tmp_path / "clips", HISTORY, HORIZON, (16, 16))
    if made:  # begun, none finished
        ClipStore.create(tmp_path / "test", HISTORY, HORIZON, (16, 16))
    assert find_test_clips(tmp_path / "test", clips) is None


@pytest.mark.parametrize(
    "history, channels, told",
    [
        (HISTORY - 1, 3, "2 past frames of 3 channels, the training clips have 3 of 3; cut both"),
        (HISTORY, 1, "3 past frames of 1 channels, the training clips have 3 of 3; cut both"),
    ],
)
def test_clips_with_another_past_or_of_another_colour_are_refused(
    tmp_path, history, channels, told
):
    frames = noise(2, HISTORY + HORIZON, (16, 16))
    clips = make_store(tmp_path / "clips", frames, HISTORY)
    make_store(tmp_path / "test", frames[:, :, :channels], history)
    with pytest.raises(UserError, match=f"--test-data {tmp_path}/test: {told} alike$"):
        find_test_clips(tmp_path / "test", clips)


def test_clips_cut_otherwise_are_told(tmp_path, capsys):
    def cut(name, look, seed):
        run = {"look": look} if look else {}  # of an earlier version
        clips = noise(2, HISTORY + HORIZON, (16, 16), seed)
        return make_store(tmp_path / name, clips, HISTORY, seed=seed, **run)

    stores = [cut(f"train {look}", look, 0) for look in ("--step 1", "--step 2", None)]
    for name, look in (("test", "--step 1"), ("old", None)):
        cut(name, look, 1)
        for clips in stores:
            find_test_clips(tmp_path / name, clips)
    told = f"the training clips were cut with --step 2, those at {tmp_path}/test with --step 1"
    assert capsys.readouterr().err == f"warning: {told}\n"


def test_clips_of_another_size_are_told(tmp_path, capsys):
    clips = make_store(tmp_path / "clips", noise(2, HISTORY + HORIZON, (16, 16)), HISTORY)
    make_store(tmp_path / "test", noise(2, HISTORY + HORIZON, (16, 8), 1), HISTORY, seed=1)
    assert find_test_clips(tmp_path / "test", clips)
    told = f"the training clips have 16x16 pixels, those at {tmp_path}/test 16x8"
    assert capsys.readouterr().err == f"warning: {told}\n"


def test_test_clips_of_videos_that_are_trained_on_are_told(tmp_path, capsys):
    def cut(name, *digests):
        sources = [{"digest": digest} for digest in digests]
        frames = noise(2, HISTORY + HORIZON, (16, 16))
        return make_store(tmp_path / name, frames, HISTORY, sources=sources)

    clips = cut("clips", "a", "b")
    cut("apart", "c"), cut("shared", "b", "c")
    find_test_clips(tmp_path / "apart", clips)
    assert capsys.readouterr().err == ""
    find_test_clips(tmp_path / "shared", clips)
    told = (
        f"the test clips at {tmp_path}/shared are of videos that are trained on, 1 files or folders"
    )
    assert capsys.readouterr().err.startswith(f"warning: {told}: ")
