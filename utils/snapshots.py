"""Snapshots of a whole training, which resumes from one to exactly the same bits."""

import sys
from pathlib import Path

from utils import rundir
from utils.archive import UNREADABLE, Archive, is_whole, write_archive
from utils.divergence import check_arrays
from utils.errors import UserError, reason
from utils.stack import chainer
from utils.weights import arrays_of, check_fit, forms_of, nbytes, save_weights

UPDATER = "updater/"  # prefix of the arrays of networks, optimizers and the position in the clips
SPARE_BYTES = 2**30  # that a snapshot may be larger by: the log in it grows


class Snapshot(chainer.training.Extension):
    """Writes the training to snapshot_iter_N and its generator to rundir.MODEL.

    The last `kept` snapshots are kept; older ones are deleted once the new one is safe on disk.
    Raises OSError if writing fails, with the earlier snapshots as before, and Diverged, before
    anything is written, if a weight is NaN or infinite.
    """

    name = "snapshot"
    priority = -100  # after all extensions that report, so that it holds what they reported

    def __init__(self, kept):
        self.kept = kept
        self.written = None  # iteration of the last one

    def __call__(self, trainer):
        out, iteration = Path(trainer.out), trainer.updater.iteration
        arrays = arrays_of(trainer)
        check_arrays(iteration, {n: a for n, a in arrays.items() if n.startswith(UPDATER)})
        gen = trainer.updater.get_optimizer("gen").target
        writes = [
            lambda: save_weights(out / rundir.MODEL, gen),
            lambda: write_archive(out / f"{rundir.SNAPSHOT}{iteration}", arrays),
        ]
        # The model is written first, so that it is as new as the snapshots. But not before there is
        # any: a killed run that left a model alone could not be resumed.
        for write in writes if rundir.snapshots(out) else reversed(writes):
            write()
        self.written = iteration
        for path in rundir.snapshots(out, up_to=iteration)[self.kept :]:
            path.unlink()


def resume(trainer):
    """Load the newest intact snapshot in the trainer's directory; print which are damaged.

    If there is none at all, print that and leave the trainer as it is. UserError if all are
    damaged, or the newest is of another network.
    """
    arrays = arrays_of(trainer.updater)
    archive = newest(trainer.out, nbytes(arrays) + SPARE_BYTES)
    if not archive:
        print(f"{trainer.out}: no snapshot to resume from, starting from scratch", file=sys.stderr)
        return
    with archive:
        needed = {UPDATER + name: form for name, form in forms_of(arrays).items()}
        found = {n: form for n, form in archive.forms.items() if n.startswith(UPDATER)}
        check_fit(archive.path, needed, found)
        # Not strict: the extensions may differ, for instance if there were no test clips before.
        deserializer = chainer.serializers.NpzDeserializer(archive, strict=False)
        try:
            deserializer.load(trainer)
        except (*UNREADABLE, AttributeError) as error:
            raise UserError(f"{archive.path}: not a snapshot ({reason(error)})") from None
    iteration = trainer.updater.iteration
    if archive.path.name != f"{rundir.SNAPSHOT}{iteration}":
        # Under the name of a later iteration it would be resumed from again and again.
        raise UserError(f"{archive.path}: holds iteration {iteration}; rename it accordingly")
    print(f"resumed from {archive.path}", file=sys.stderr)


def newest(out, at_most):
    """The newest intact snapshot, opened; None if there are no snapshots.

    Prints which ones it skips and why. UserError if none can be read.
    """
    paths = rundir.snapshots(out)
    for path in paths:
        try:
            return Archive(path, at_most)
        except UserError as error:
            print(f"skipped {error}", file=sys.stderr)
    if paths:
        cure = f"restore one, or go on from its network with -l {out} in another --out"
        raise UserError(f"{out}: none of its snapshots can be read; {cure}")
    return None


def last_good(out):
    """The path of the newest intact snapshot; None if there is none."""
    return next(filter(is_whole, rundir.snapshots(out)), None)
