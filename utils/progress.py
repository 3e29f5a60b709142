"""How far a training run has come: a live line, off a terminal a line for each report."""

import math
import sys
import time

from tqdm import tqdm

from utils.log import MEASURED
from utils.stack import chainer

REFRESH = 0.5  # seconds between updates of the losses shown


class ProgressBar(chainer.training.Extension):
    """A bar with iterations per second, time left and losses; above it a line for each validation.

    Without a terminal there is no bar, but a line for each entry of the log.

    due: the trigger by which the log gets an entry. iterations, deadline (time.monotonic()): when
    the run ends, whichever comes first.
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
        """Move the bar; update the losses every REFRESH seconds only, since reading them waits for
        the GPU."""
        now, iteration = time.monotonic(), trainer.updater.iteration
        if now - self.looked > REFRESH:
            self.looked = now
            for name, value in trainer.observation.items():
                if name.startswith(MEASURED):  # has a line of its own
                    continue
                self.shown[name] = f"{float(getattr(value, 'array', value)):.4g}"
            self.bar.set_postfix(self.shown, refresh=False)
            self.bar.total = self.expected(iteration, now)
        self.bar.update(iteration - self.bar.n)

    def expected(self, iteration, now):
        """The iteration at which the run will end, at the pace so far."""
        pace = (iteration - self.bar.initial) / self.bar.format_dict["elapsed"]
        return int(min(self.iterations, iteration + pace * max(0, self.deadline - now)))

    def finalize(self):
        self.bar.close()


def line(entry):
    """An entry of the log as text: its means, those that are not None, to four digits."""
    others = {"iteration", "epoch", "elapsed_time"}
    means = ", ".join(f"{k} {v:.4g}" for k, v in entry.items() if k not in others and v is not None)
    return f"iteration {entry['iteration']}, {entry['elapsed_time']:.0f} s: {means}"
