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
    future = []
    with chainer.using_config("train", False), chainer.no_backprop_mode():
        for _ in range(-(-frames // model.horizon)):
            predicted = model(seen).array
            future.append(predicted)
            seen = xp.concatenate([seen, predicted], axis=1)[:, -model.history :]
    return xp.concatenate(future, axis=1)[:, :frames]
