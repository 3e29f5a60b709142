"""The one live line of a training run."""

import math
import time

from tqdm import tqdm

from utils.stack import chainer

REFRESH = 0.5  # seconds between looks at the losses, which on a GPU wait for the device


class ProgressBar(chainer.training.Extension):
    """A bar with iterations per second, time left and the losses; silent off a terminal.

    deadline: when, by time.monotonic(), the run ends in any case; infinity for never.
    """

    trigger = (1, "iteration")
    name = "progress"

    def __init__(self, iterations, deadline=math.inf):
        self.iterations, self.deadline = iterations, deadline
        self.shown = {}
        self.looked = 0.0

    def initialize(self, trainer):
        done = trainer.updater.iteration
        self.bar = tqdm(
            total=self.iterations, initial=done, unit="it", disable=None, dynamic_ncols=True
        )

    def __call__(self, trainer):
        now, iteration = time.monotonic(), trainer.updater.iteration
        if not self.bar.disable and now - self.looked > REFRESH:
            self.looked = now
            for name, value in trainer.observation.items():
                self.shown[name] = f"{float(getattr(value, 'array', value)):.4g}"
            self.bar.set_postfix(self.shown, refresh=False)
            self.bar.total = self.expected(iteration, now)
        self.bar.update(iteration - self.bar.n)

    def expected(self, iteration, now):
        """The iterations that there will have been at the end, at the pace so far."""
        pace = (iteration - self.bar.initial) / self.bar.format_dict["elapsed"]
        return int(min(self.iterations, iteration + pace * max(0, self.deadline - now)))

    def finalize(self):
        self.bar.close()
