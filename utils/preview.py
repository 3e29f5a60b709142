"""A GIF of the same few predictions as training goes on."""

import contextlib
import math
from pathlib import Path

from utils import pictures, rundir
from utils.batches import to_past_and_future
from utils.frames import BadFrame
from utils.images import read_image
from utils.pixels import denormalise
from utils.rollout import rollout
from utils.spacing import evenly
from utils.stack import chainer

CLIPS = 6
SHOTS = 60  # most pictures in the GIF; of more, every second is taken, or every third, ...


class Preview(chainer.training.Extension):
    """Writes samples/preview_N.png, predictions of fixed clips, and a GIF of them, samples.gif."""

    name = "preview"

    def __init__(self, store, gen):
        self.gen, self.converter = gen, to_past_and_future(gen.history)
        self.clips = store.read(evenly(len(store), CLIPS))

    def __call__(self, trainer):
        past, _ = self.converter(self.clips, self.gen.device)
        predicted = chainer.get_device("@numpy").send(rollout(self.gen, past, 1))
        predicted = denormalise(predicted)[:, 0]
        last, true = self.clips[:, self.gen.history - 1], self.clips[:, self.gen.history]
        iteration = trainer.updater.iteration
        rows = [("last frame", last), ("truth", true), (f"iteration {iteration}", predicted)]
        picture = pictures.column(
            [pictures.row([pictures.panel(f, name) for f in frames]) for name, frames in rows]
        )
        folder = Path(trainer.out) / rundir.SAMPLES
        folder.mkdir(exist_ok=True)
        latest = folder / rundir.PREVIEWS.replace("*", f"{iteration:08d}")
        pictures.save_picture(latest, picture)
        # Pictures of later iterations are left over if the run was killed and resumed from before.
        paths = [p for p in sorted(folder.glob(rundir.PREVIEWS)) if p <= latest and p.is_file()]
        step = max(1, math.ceil((len(paths) - 1) / (SHOTS - 1)))
        shots = []
        for path in paths[:-1:step]:
            with contextlib.suppress(BadFrame):  # a damaged picture must not end the training
                shots.append(read_image(path))
        shots = [shot for shot in shots if shot.shape == picture.shape]
        pictures.save_animation(folder.parent / rundir.ANIMATION, [*shots, picture])
