"""How well a generator predicts clips that it never trained on, beside copying the last frame."""

import numpy as np

from utils import metrics
from utils.batches import to_past_and_future
from utils.conventions import perceptual
from utils.errors import UserError, warn
from utils.frames import describe_size
from utils.rollout import rollout
from utils.spacing import evenly
from utils.stack import chainer
from utils.store import ClipStore

CLIPS = 64  # spread over the store; every validation judges the same ones
BATCH = 16
SHOWN = {name: metrics.METRICS[name] for name in ("psnr", "ssim", "sharpness")}
SHOWN["perceptual"] = perceptual


def find_test_clips(path, clips):
    """The ClipStore at `path`; None if there is none or it has no clips yet.

    UserError if its clips have another history or number of channels than the training clips,
    `clips`; a warning if they are of the same videos, of another size, or were cut with another
    --step or --resize.
    """
    test_clips = ClipStore.find(path)
    if test_clips is None or len(test_clips) == 0:
        return None
    if (test_clips.history, test_clips.shape[1]) != (clips.history, clips.shape[1]):
        raise UserError(
            f"--test-data {path}: {test_clips.history} past frames of {test_clips.shape[1]} "
            f"channels, the training clips have {clips.history} of {clips.shape[1]}; "
            "cut both alike"
        )
    if shared := test_clips.sources & clips.sources:
        cure = "cut some of other videos to validate on"
        told = f"the test clips at {path} are of videos that are trained on"
        warn(f"{told}, {len(shared)} files or folders: {cure}")
    if test_clips.shape[2:] != clips.shape[2:]:
        ours, theirs = (describe_size(store.shape[2:]) for store in (clips, test_clips))
        warn(f"the training clips have {ours} pixels, those at {path} {theirs}")
    if test_clips.looks != clips.looks and test_clips.looks and clips.looks:
        ours, theirs = (", ".join(store.looks) for store in (clips, test_clips))
        warn(f"the training clips were cut with {ours}, those at {path} with {theirs}")
    return test_clips


class Validation(chainer.training.Extension):
    """Reports the metrics SHOWN, of the generator (val/...) and of copying frames (copy/...).

    store: the ClipStore of test clips, of which CLIPS are used.
    """

    name = "validation"
    priority = chainer.training.PRIORITY_WRITER

    def __init__(self, store, gen):
        self.gen, self.converter = gen, to_past_and_future(gen.history)
        self.clips = store.read(evenly(len(store), CLIPS))

    def __call__(self, trainer):
        predicted, copied, true = [], [], []
        for start in range(0, len(self.clips), BATCH):
            past, future = self.converter(self.clips[start : start + BATCH], self.gen.device)
            guess = rollout(self.gen, past, future.shape[1])
            last = self.gen.xp.broadcast_to(past[:, -1:], future.shape)
            for frames, kept in ((guess, predicted), (last, copied), (future, true)):
                kept.append(metrics.to_unit(chainer.get_device("@numpy").send(frames)))
        predicted, copied, true = (np.concatenate(kept) for kept in (predicted, copied, true))
        for name, metric in SHOWN.items():
            chainer.report({f"val/{name}": metrics.mean(name, metric(predicted, true))})
            chainer.report({f"copy/{name}": metrics.mean(name, metric(copied, true))})
