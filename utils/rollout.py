"""Prediction of any number of frames: a model's own predictions become its past."""

from utils.stack import chainer


def rollout(model, past, frames):
    """Predict `frames` frames after past, whatever the model's horizon.

    past: (B, T, C, H, W) float32 in [-1, 1] on the model's device, T not below model.history; any
    H and W.  Returns an array (B, frames, C, H, W) on the same device, in [-1, 1] if the model
    keeps to that: not all end in a tanh.
    """
    xp = model.xp
    seen = past[:, -model.history :]
    future = xp.empty((len(past), frames, *past.shape[2:]), past.dtype)  # or no memory, at once
    with chainer.using_config("train", False), chainer.no_backprop_mode():
        for first in range(0, frames, model.horizon):
            predicted = model(seen).array
            future[:, first : first + model.horizon] = predicted[:, : frames - first]
            seen = xp.concatenate([seen, predicted], axis=1)[:, -model.history :]
    return future
