"""Snapshots of a whole training, from which it resumes to the bit."""

import sys
from pathlib import Path

from utils import rundir
from utils.archive import UNREADABLE, Archive, write_archive
from utils.divergence import check_arrays
from utils.errors import UserError, first_line
from utils.stack import chainer
from utils.weights import arrays_of, check_fit, forms_of, save_weights, size

UPDATER = "updater/"  # begins the names of weights, optimizers, position in the clips
SPARE_BYTES = 2**30  # for the log, which grows


class Snapshot(chainer.training.Extension):
    """Writes the training to snapshot_iter_N, its generator to rundir.MODEL; keeps the last `kept`.

    No older one goes before the new one is safe on disk.  Raises OSError where writing fails, all
    files being as before; Diverged, before writing, where a weight is NaN or infinite.
    """

    name = "snapshot"
    priority = -100  # after what writes, so that all of this iteration is in it

    def __init__(self, kept):
        self.kept = kept
        self.written = None  # iteration of the last one

    def __call__(self, trainer):
        out, iteration = Path(trainer.out), trainer.updater.iteration
        arrays = arrays_of(trainer)
        check_arrays(iteration, {n: a for n, a in arrays.items() if n.startswith(UPDATER)})
        # The model first: where the snapshot is, nothing of its iteration is missing.
        save_weights(out / rundir.MODEL, trainer.updater.get_optimizer("gen").target)
        write_archive(out / f"{rundir.SNAPSHOT}{iteration}", arrays)
        self.written = iteration
        for path in rundir.snapshots(out, up_to=iteration)[self.kept :]:
            path.unlink()


def resume(trainer):
    """Load the newest snapshot of the trainer's directory that is whole, naming those that are not.

    Says so, leaving the trainer as it is, where there is none at all.  UserError where none is
    whole or the newest is of another network.
    """
    arrays = arrays_of(trainer.updater)
    archive = newest(trainer.out, size(arrays) + SPARE_BYTES)
    if not archive:
        print(f"{trainer.out}: no snapshot to resume from, starting from scratch", file=sys.stderr)
        return
    with archive:
        needed = {UPDATER + name: form for name, form in forms_of(arrays).items()}
        found = {n: form for n, form in archive.forms.items() if n.startswith(UPDATER)}
        check_fit(archive.path, needed, found)
        # What watches the training may differ: test clips can come or go.
        deserializer = chainer.serializers.NpzDeserializer(archive, strict=False)
        try:
            deserializer.load(trainer)
        except (*UNREADABLE, AttributeError) as error:
            raise UserError(f"{archive.path}: not a snapshot ({first_line(error)})") from None
    iteration = trainer.updater.iteration
    if archive.path.name != f"{rundir.SNAPSHOT}{iteration}":
        # Renamed to a later iteration, it would be gone back to again and again.
        raise UserError(f"{archive.path}: holds iteration {iteration}; rename it accordingly")
    print(f"resumed from {archive.path}", file=sys.stderr)


def newest(out, at_most):
    """The newest snapshot that is whole, opened; None where there is none.

    Says which it passes over.  UserError where there are some and all are damaged.
    """
    paths = rundir.snapshots(out)
    for path in paths:
        try:
            return Archive(path, at_most)
        except UserError as error:
            print(f"skipped {error}", file=sys.stderr)
    if paths:
        raise UserError(f"{out}: every snapshot is damaged; move them away to start from scratch")
    return None


def last_good(out):
    """The path of the newest snapshot that is whole, None where there is none."""
    for path in rundir.snapshots(out):
        try:
            with Archive(path, sys.maxsize):
                return path
        except UserError:
            continue
    return None
