"""Chainer's Trainer with what every run writes: log, plots, snapshots, the model."""

import sys
import zipfile

from utils import rundir
from utils.errors import UserError
from utils.progress import ProgressBar
from utils.stack import chainer
from utils.weights import save_weights

extensions = chainer.training.extensions
PLOTS = {
    "loss.png": ("gen/lp", "gen/gdl", "gen/adv", "dis/loss"),
    "psnr.png": ("val/psnr", "copy/psnr"),
    "ssim.png": ("val/ssim", "copy/ssim"),
    "sharpness.png": ("val/sharpness", "copy/sharpness"),
}


def build_trainer(updater, out, iterations, report_every, snapshot_every, kept):
    """Return a Trainer that runs `updater` up to `iterations` in the directory `out`.

    It keeps the last `kept` snapshots, and the generator alone as rundir.MODEL beside them.
    """
    trainer = chainer.training.Trainer(updater, (iterations, "iteration"), out)
    gen = updater.get_optimizer("gen").target
    report, snap = every(report_every, iterations), every(snapshot_every, iterations)
    trainer.extend(extensions.LogReport(trigger=report, filename="log"))
    for filename, names in PLOTS.items():
        plot = extensions.PlotReport(
            names, "iteration", trigger=report, filename=filename, marker=None, grid=True
        )
        trainer.extend(plot, name=filename, trigger=(1, "iteration"))
    trainer.extend(
        extensions.snapshot(save_weights, rundir.SNAPSHOT + "{.updater.iteration}", n_retains=kept),
        trigger=snap,
    )
    trainer.extend(extensions.snapshot_object(gen, rundir.MODEL, save_weights), trigger=snap)
    trainer.extend(ProgressBar(iterations))
    return trainer


def every(count, last):
    """A trigger that fires each `count` iterations, the last iteration included."""

    def fires(trainer):
        iteration = trainer.updater.iteration
        return iteration % count == 0 or iteration == last

    return fires


def resume(trainer):
    """Load the newest snapshot of the trainer's directory that is whole, naming those that are not.

    Says so, leaving the trainer as it is, where there is none.  Raises UserError for a snapshot of
    another network.
    """
    for path in rundir.snapshots(trainer.out):
        try:
            with zipfile.ZipFile(path) as archive:
                whole = archive.testzip() is None
        except (OSError, zipfile.BadZipFile):
            whole = False
        if not whole:
            print(f"{path}: damaged, passed over", file=sys.stderr)
            continue
        try:
            chainer.serializers.load_npz(path, trainer)
        except (KeyError, ValueError, TypeError) as error:
            raise UserError(f"{path}: of another network or version ({error})") from None
        print(f"resumed from {path}", file=sys.stderr)
        return
    print(f"{trainer.out}: no snapshot to resume from, starting afresh", file=sys.stderr)
