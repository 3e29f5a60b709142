"""Predictions far ahead."""

import numpy as np
import pytest

import models
from utils.rollout import rollout
from utils.stack import chainer


def test_memory_for_all_frames_is_asked_for_before_the_first(monkeypatch):
    model = models.create("last-frame", 2, 1, 3, (8, 8))
    monkeypatch.setattr(type(model), "forward", lambda *_: pytest.fail("predicted"))
    with pytest.raises(MemoryError):
        rollout(model, np.zeros((1, 2, 3, 8, 8), np.float32), 10**15)


@pytest.mark.parametrize("frames", [1, 3, 7])
def test_as_many_frames_come_as_are_asked_for(frames):
    model = models.create("last-frame", 2, 3, 1, (8, 8))
    past = np.random.default_rng(0).random((2, 2, 1, 8, 8), np.float32)
    future = rollout(model, past, frames)
    assert np.array_equal(future, np.broadcast_to(past[:, -1:], (2, frames, 1, 8, 8)))


def test_only_what_is_fed_back_is_kept_in_range(monkeypatch):
    model = models.create("last-frame", 2, 1, 1, (8, 8))
    monkeypatch.setattr(type(model), "forward", lambda _, past: chainer.Variable(3 * past[:, -1:]))
    past = np.full((1, 2, 1, 8, 8), -0.1, np.float32)
    frames = rollout(model, past, 5)[0, :, 0, 0, 0]
    np.testing.assert_allclose(frames, [-0.3, -0.9, -2.7, -3, -3], rtol=1e-6)
