"""Prediction of any number of frames: a model's own predictions become its past."""

import numpy as np

from utils.errors import Diverged
from utils.pixels import normalise
from utils.stack import chainer


def rollout(model, past, frames):
    """Predict `frames` frames after past, whatever the model's horizon.

    past: float32 (B, T, C, H, W) in [-1, 1] on the model's device, T at least model.history, any H
    and W. Returns an array (B, frames, C, H, W) on the same device; in [-1, 1] if the model's
    predictions are, which not all end in a tanh. What is fed back is clipped to that range: else
    the excess would grow from frame to frame.
    """
    xp = model.xp
    seen = past[:, -model.history :]
    # Allocated first: if memory is short, that shows before anything is predicted.
    future = xp.empty((len(past), frames, *past.shape[2:]), past.dtype)
    with chainer.using_config("train", False), chainer.no_backprop_mode():
        for first in range(0, frames, model.horizon):
            predicted = model(seen).array
            future[:, first : first + model.horizon] = predicted[:, : frames - first]
            seen = xp.concatenate([seen, predicted.clip(-1, 1)], axis=1)[:, -model.history :]
    return future


def predict(model, past, frames):
    """Predict the `frames` frames after past, uint8 (T, C, H, W).

    Returns float32 (frames, C, H, W) in [-1, 1], a NumPy array. ValueError if T is below
    model.history; Diverged if the network, fed with its own predictions, ends in numbers that are
    not finite.
    """
    if len(past) < model.history:
        raise ValueError(f"{len(past)} past frames, the network sees {model.history}")
    seen = normalise(model.device.send(past[None]))
    predicted = chainer.get_device("@numpy").send(rollout(model, seen, frames))[0]
    finite = np.isfinite(predicted).all(axis=(1, 2, 3))
    if not finite.all():
        cure = "ask for fewer --frames, or train it longer or at a lower rate"
        raise Diverged(f"frame {finite.argmin() + 1} is predicted as NaN or infinite; {cure}")
    return predicted
