"""Predictions far ahead."""

import numpy as np
import pytest

import models
from utils.rollout import rollout


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
