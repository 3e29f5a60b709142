"""Chainer's Trainer with what every run writes: log, plots, snapshots, the model."""

import contextlib
import math
import sys
import time

import numpy as np

from utils.best import Best
from utils.divergence import FiniteCheck
from utils.errors import Diverged, UserError, reason, warn
from utils.log import Log
from utils.plots import Plots
from utils.preview import Preview
from utils.progress import ProgressBar
from utils.randomness import Randomness
from utils.schedule import Schedule
from utils.signals import Signals
from utils.snapshots import Snapshot, last_good
from utils.stack import chainer
from utils.validation import Validation


class Trainer(chainer.training.Trainer):
    """Runs an updater up to `iterations`, or until the time is up or a signal comes.

    out: directory to write to: log and plots every `report_every` iterations, snapshots every
    `snapshot_every`, of which the last `kept` are kept. minutes: time limit, counted from `began`
    (time.monotonic(), now if None). max_norm: longer gradients of a network are scaled down to
    this norm. keep_going: a file that cannot be written is a warning, not the end of the run; but
    the last snapshot, without which the run is lost, must be written.
    """

    def __init__(
        self,
        updater,
        out,
        iterations,
        *,
        report_every,
        snapshot_every,
        kept,
        minutes=math.inf,
        began=None,
        max_norm=math.inf,
        keep_going=False,
    ):
        super().__init__(updater, self.ends, out)
        self.iterations, self.keep_going = iterations, keep_going
        self.began = time.monotonic() if began is None else began
        self.deadline = self.began + 60 * minutes
        self.late = None, False  # an iteration, whether the deadline had passed then
        self.signals = Signals()
        self.dues = []  # triggers of what reports or saves
        self.finite = FiniteCheck(updater)
        self.extend(self.finite, trigger=self.any_due)
        for optimizer in updater.get_all_optimizers().values():
            if max_norm < math.inf:
                optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(max_norm))
            for param in optimizer.target.params():
                # Not at the first step, as Chainer does: all snapshots must have the same entries.
                param.update_rule._init_states(param)
        report = self.every(report_every)
        self.extend(Log(report))
        self.extend(Plots(), trigger=report)
        self.snapshot = Snapshot(kept)
        self.extend(self.snapshot, trigger=self.every(snapshot_every))
        self.extend(Randomness())
        self.extend(ProgressBar(report, self.iterations, self.deadline))

    def validate(self, clips, every):
        """At this interval validate on test clips, draw a preview, keep the best generator."""
        gen = self.updater.get_optimizer("gen").target
        due = self.every(every)
        self.extend(Validation(clips, gen), trigger=due)
        self.extend(Preview(clips, gen), trigger=due)
        self.extend(Best(gen, clips.fingerprint), trigger=due)

    def schedule(self, factor):
        """Change the learning rates in the course of the run; factor: one of schedule.SCHEDULES."""
        self.extend(Schedule(factor, self.updater.get_all_optimizers()))

    def every(self, count):
        """A trigger that fires every `count` iterations and at the last one."""

        def fires(trainer):
            return trainer.updater.iteration % count == 0 or self.last()

        self.dues.append(fires)
        return fires

    def any_due(self, trainer):
        """The trigger that fires whenever something is reported or saved."""
        return any(due(trainer) for due in self.dues)

    def ends(self, trainer):
        """The trigger that stops the training."""
        return self.last() or self.signals.caught

    def last(self):
        """Whether this iteration is the last, by number or by time.

        The clock is read once an iteration, so that all triggers get the same answer.
        """
        iteration = self.updater.iteration
        if self.late[0] != iteration:
            self.late = iteration, time.monotonic() > self.deadline
        return iteration >= self.iterations or self.late[1]

    def over(self):
        """The share of the run that is over, by iterations or by time, whichever is more."""
        now = time.monotonic()
        late = now >= self.deadline
        by_time = 1.0 if late else (now - self.began) / (self.deadline - self.began)
        return min(1.0, max(self.updater.iteration / self.iterations, by_time))

    def extend(self, extension, *args, **kwargs):
        """Chainer's extend, but with keep_going the extension is made Tolerant."""
        super().extend(Tolerant(extension) if self.keep_going else extension, *args, **kwargs)

    def run(self):
        """Train; after a signal, save everything and exit with its status.

        Raises UserError if clips cannot be read or a file cannot be written, having saved what it
        can, and Diverged at NaN or infinity; both name the last good snapshot.
        """
        with self.signals, np.errstate(all="ignore"):  # FiniteCheck reports overflows, in one line
            try:
                super().run(show_loop_exception_msg=False)
                self.finite(self)
                if self.snapshot.written != self.updater.iteration:
                    self.snapshot(self)
                self.get_extension("plots")(self)
            except Diverged as error:
                raise Diverged(f"{error}; {self.left()}") from None
            except OSError as error:
                self.rescue()
                raise UserError(f"{reason(error)}: cannot be written; {self.left()}") from None
            except UserError as error:
                self.rescue()
                raise UserError(f"{error}; {self.left()}") from None
        if self.signals.caught:
            print(f"stopped at iteration {self.updater.iteration}; {self.left()}", file=sys.stderr)
            sys.exit(self.signals.status)

    def rescue(self):
        """Save what has been trained since the last snapshot, if that is possible."""
        if self.updater.iteration not in (0, self.snapshot.written):
            with contextlib.suppress(OSError, UserError):
                self.finite(self)
                self.snapshot(self)

    def left(self):
        """The last good snapshot, in words."""
        return f"last good snapshot: {last_good(self.out) or 'none yet'}"


class Tolerant:
    """Wraps an extension: an OSError of it becomes a warning, and the training goes on."""

    def __init__(self, extension):
        self.extension = extension

    def __call__(self, trainer):
        try:
            self.extension(trainer)
        except OSError as error:
            warn(f"{reason(error)}: cannot be written, going on")

    def __getattr__(self, name):
        return getattr(self.extension, name)
