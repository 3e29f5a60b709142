"""A GIF of the same few predictions as training goes on."""

import contextlib
from pathlib import Path

import numpy as np

from utils import pictures
from utils.frames import BadFrame
from utils.images import read_image
from utils.pixels import denormalise
from utils.rollout import rollout
from utils.stack import chainer

CLIPS = 6
SHOTS = 60  # at most; of a longer training every second picture, or every third, ...
PATTERN = "preview_*.png"


class Preview(chainer.training.Extension):
    """Writes samples/preview_N.png of fixed clips, and at most SHOTS of these as samples.gif."""

    name = "preview"

    def __init__(self, store, gen, converter, device):
        self.gen, self.converter, self.device = gen, converter, device
        self.clips = store.read(np.linspace(0, len(store) - 1, CLIPS).astype(int))

    def __call__(self, trainer):
        past, future = self.converter(self.clips, self.device)
        predicted = rollout(self.gen, past, future.shape[1])
        predicted = denormalise(chainer.get_device("@numpy").send(predicted))[:, 0]
        last, true = self.clips[:, self.gen.history - 1], self.clips[:, self.gen.history]
        iteration = trainer.updater.iteration
        rows = [("last frame", last), ("truth", true), (f"iteration {iteration}", predicted)]
        picture = pictures.column(
            [pictures.row([pictures.panel(f, name) for f in frames]) for name, frames in rows]
        )
        folder = Path(trainer.out) / "samples"
        folder.mkdir(exist_ok=True)
        latest = folder / PATTERN.replace("*", f"{iteration:08d}")
        pictures.save_picture(latest, picture)
        # Later pictures are left from before the run was killed and resumed from a snapshot.
        paths = [p for p in sorted(folder.glob(PATTERN)) if p <= latest]
        step = -(-len(paths) // SHOTS)
        shots = []
        for path in paths[:-1:step]:
            with contextlib.suppress(BadFrame):  # a picture is not worth a training
                shots.append(read_image(path))
        shots = [shot for shot in shots if shot.shape == picture.shape]
        pictures.save_animation(folder.parent / "samples.gif", [*shots, picture])
