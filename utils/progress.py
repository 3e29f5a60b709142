"""The one live line of a training run."""

import time

from tqdm import tqdm

from utils.stack import chainer

REFRESH = 0.5  # seconds between looks at the losses, which on a GPU wait for the device


class ProgressBar(chainer.training.Extension):
    """A bar with iterations per second, time left and the losses; silent off a terminal."""

    trigger = (1, "iteration")
    name = "progress"

    def __init__(self, iterations):
        self.iterations = iterations
        self.shown = {}
        self.looked = 0.0

    def initialize(self, trainer):
        done = trainer.updater.iteration
        self.bar = tqdm(
            total=self.iterations, initial=done, unit="it", disable=None, dynamic_ncols=True
        )

    def __call__(self, trainer):
        now = time.monotonic()
        if not self.bar.disable and now - self.looked > REFRESH:
            self.looked = now
            for name, value in trainer.observation.items():
                self.shown[name] = f"{float(getattr(value, 'array', value)):.4g}"
            self.bar.set_postfix(self.shown, refresh=False)
        self.bar.update(trainer.updater.iteration - self.bar.n)

    def finalize(self):
        self.bar.close()
