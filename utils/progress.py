"""How far a training run has come: a live line, off a terminal a line for each report."""

import math
import sys
import time

from tqdm import tqdm

from utils.stack import chainer

REFRESH = 0.5  # seconds between looks at the losses
VALIDATED = ("val/", "copy/")  # how the names of what is not in the bar begin


class ProgressBar(chainer.training.Extension):
    """A bar with iterations per second, time left and the losses, below a line of each validation.

    Off a terminal it is instead a line of the log's newest entry each time that `due` fires.
    deadline: when, by time.monotonic(), the run ends in any case; infinity for never.
    """

    trigger = (1, "iteration")
    name = "progress"

    def __init__(self, due, iterations, deadline=math.inf):
        self.due, self.iterations, self.deadline = due, iterations, deadline
        self.shown = {}
        self.looked = 0.0

    def initialize(self, trainer):
        done = trainer.updater.iteration
        self.bar = tqdm(
            total=self.iterations, initial=done, unit="it", disable=None, dynamic_ncols=True
        )

    def __call__(self, trainer):
        if not self.bar.disable:
            self.refresh(trainer)
        if self.due(trainer):
            entry = trainer.get_extension("log").entries[-1]
            if self.bar.disable or "val/psnr" in entry:
                tqdm.write(line(entry), file=sys.stderr)
                sys.stderr.flush()

    def refresh(self, trainer):
        """Move the bar on; show the losses, which on a GPU wait for the device, now and then."""
        now, iteration = time.monotonic(), trainer.updater.iteration
        if now - self.looked > REFRESH:
            self.looked = now
            for name, value in trainer.observation.items():
                if name.startswith(VALIDATED):
                    continue
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


def line(entry):
    """An entry of the log as text, its numbers to four digits, without those that it lacks."""
    told = {"iteration", "epoch", "elapsed_time"}
    means = ", ".join(f"{k} {v:.4g}" for k, v in entry.items() if k not in told and v is not None)
    return f"iteration {entry['iteration']}, {entry['elapsed_time']:.0f} s: {means}"
