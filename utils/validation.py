"""How well a generator predicts clips that it never trained on, beside copying the last frame."""

import numpy as np

from utils import metrics
from utils.rollout import rollout
from utils.stack import chainer

CLIPS = 64  # drawn once, spread over the store, so that every validation judges the same ones
BATCH = 16
SHOWN = ("psnr", "ssim", "sharpness")


class Validation(chainer.training.Extension):
    """Report PSNR, SSIM, sharpness: the generator's as val/..., the last frame's as copy/...."""

    name = "validation"
    priority = chainer.training.PRIORITY_WRITER

    def __init__(self, store, gen, converter, device):
        self.gen, self.converter, self.device = gen, converter, device
        self.clips = store.read(np.linspace(0, len(store) - 1, min(CLIPS, len(store))).astype(int))

    def __call__(self, trainer):
        predicted, copied, true = [], [], []
        for start in range(0, len(self.clips), BATCH):
            past, future = self.converter(self.clips[start : start + BATCH], self.device)
            guess = rollout(self.gen, past, future.shape[1])
            last = self.gen.xp.broadcast_to(past[:, -1:], future.shape)
            for frames, kept in ((guess, predicted), (last, copied), (future, true)):
                kept.append(metrics.to_unit(chainer.get_device("@numpy").send(frames)))
        predicted, copied, true = (np.concatenate(kept) for kept in (predicted, copied, true))
        for name in SHOWN:
            metric = metrics.METRICS[name]
            chainer.report({f"val/{name}": metrics.mean(metric(predicted, true))})
            chainer.report({f"copy/{name}": metrics.mean(metric(copied, true))})
