"""A run's directory: its files, who may write them, what they tell."""

import contextlib
import json
import math
import re
import reprlib
import sys
from pathlib import Path
from typing import NamedTuple

from utils import lock
from utils.errors import UserError, reason, warn, writing_to
from utils.files import PARTIAL, read_file, write_text
from utils.names import name_apart, printable
from utils.record import from_json, to_json

OPTIONS = "options.json"
MODEL = "TRAINED_ADVERSARIAL.model"
BEST = "BEST.model"  # the weights with the best validation so far
SNAPSHOT = "snapshot_iter_"
ITERATION = re.compile(r"0|[1-9]\d{0,17}")  # the end of a snapshot's name
LOG = "log"
SAMPLES, ANIMATION = "samples", "samples.gif"  # a folder of previews, all of them in one
PREVIEWS = "preview_*.png"
PLOTS = ("loss.png", "psnr.png", "ssim.png", "sharpness.png", "perceptual.png")
REPORTED = (LOG, *PLOTS, ANIMATION, f"{SAMPLES}/{PREVIEWS}")
OPTIONS_BYTES = 2**20  # the most that is read of an options.json


def exists(out):
    """Whether a run has been started in this directory."""
    return (Path(out) / OPTIONS).exists()


@contextlib.contextmanager
def claimed(out, resume):
    """Context in which the directory, created if missing, belongs to this run alone.

    UserError if another run is at work there, and as of `refuse_to_overwrite`. What a killed run
    has left is deleted: half-written snapshots, and, if there is no whole one, its log and
    pictures, too.
    """
    out = Path(out)
    with lock.claim(out):
        refuse_to_overwrite(out, resume)
        delete_leftovers(out)
        yield


def refuse_to_overwrite(out, resume):
    """UserError if a run would overwrite a trained network or files that no run wrote, or if a
    symbolic link could lead what is written elsewhere."""
    started, saved = exists(out), snapshots(out)
    if not resume and (saved or started and (out / BEST).exists()):
        raise UserError(
            f"{out}: already holds a run; -r continues it, --out takes another directory"
        )
    if not saved and (out / MODEL).exists():
        cure = f"-l {out} trains it further in another --out"
        raise UserError(
            f"{out}: holds a trained network without a snapshot to continue from; {cure}"
        )
    for path in (*out.iterdir(), *out.glob(f"{SAMPLES}/*")):
        if path.is_symlink():
            raise UserError(f"{path}: a symbolic link, a run follows none; remove it")
    if started and not resume:
        read_record(out)  # UserError if it is not a run's
    if not (started or saved):
        for name in (LOG, BEST, *PLOTS, ANIMATION, SAMPLES):
            if (out / name).exists():
                raise UserError(f"{out / name}: no run left it there; give a new --out")


def delete_leftovers(out):
    """Delete what a killed run was writing and, if it has no snapshot, its reports, which would be
    mistaken for the next run's."""
    left = [f"{SNAPSHOT}*{PARTIAL}", *(() if snapshots(out) else REPORTED)]
    for path in (path for name in left for path in out.glob(name)):
        with writing_to(path):
            path.unlink()


def write_record(out, record):
    """Write a record of JSON types to out/options.json, with versions, commit and checksum.

    UserError if it cannot be written.
    """
    try:
        write_text(Path(out) / OPTIONS, to_json(record))
    except OSError as error:
        raise UserError(f"{reason(error)}: cannot be written; make room or give --out") from None


def read_record(out):
    """The record in a run's options.json; UserError if there is none or it was altered."""
    path = Path(out) / OPTIONS
    try:
        return from_json(read_file(path, OPTIONS_BYTES))
    except FileNotFoundError:
        raise UserError(f"{out}: no run there ({OPTIONS} is missing); train.py makes one") from None
    except NotADirectoryError:
        raise UserError(f"{out}: a file; give the directory of the run") from None
    except OSError as error:
        cure = "restore it, or remove it and give train.py -r the options anew"
        raise UserError(f"{path}: cannot be read ({error.strerror}); {cure}") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise UserError(
            f"{path}: not the options of a run, or altered since; restore it, or remove it and "
            "give train.py -r the options anew"
        ) from None


def saved_options(out, options):
    """The options saved in a run's directory, {name: value}.

    options: {name: default} of this version. UserError for a saved option that it does not have,
    or has with another type; None may stand for any.
    """
    found = read_record(out)["options"]
    for name, value in found.items():
        if name not in options:
            raise UserError(f"{out}: from another version, its --{name} is unknown here")
        kinds = {type(options[name]), type(value)} - {type(None)}
        if len(kinds) > 1 or not kinds <= {bool, int, float, str}:
            problem = f"its --{name} is {reprlib.repr(value)}"
            raise UserError(f"{out}: {problem}; train again or restore {OPTIONS}")
    return found


def warn_of_other_clips(out, data):
    """Warn if a run in this directory was last trained on clips of another fingerprint."""
    before = read_record(out)["data"] if exists(out) else data
    if before["fingerprint"] != data["fingerprint"]:
        warn(f"the run in {out} was last trained on other clips than those at {data['path']}")


def snapshots(out, up_to=None):
    """The paths of a run's snapshots, newest first; only iterations up to `up_to`, if given."""
    numbers = [p.name.removeprefix(SNAPSHOT) for p in Path(out).glob(f"{SNAPSHOT}*")]
    found = sorted((int(n) for n in numbers if ITERATION.fullmatch(n)), reverse=True)
    return [Path(out) / f"{SNAPSHOT}{n}" for n in found if up_to is None or n <= up_to]


def set_aside(snapshot):
    """Rename a snapshot, from which training diverges again and again, so that no run resumes from
    it; say so."""
    aside = snapshot.with_name(f"{snapshot.name}.diverges")
    with writing_to(snapshot):
        snapshot.replace(aside)
    print(f"{snapshot}: diverges at half the rates, too; it is {aside.name} now", file=sys.stderr)


def model_at(path):
    """The file of weights at `path`: the MODEL in it if it is a run's directory, else itself."""
    return Path(path) / MODEL if exists(path) else path


class Run(NamedTuple):
    """The directory of a run, its name in tables, what its options.json says."""

    path: Path
    name: str
    record: dict


def find_runs(paths):
    """A Run for each of the runs at `paths`: directories of runs, or folders that contain some.

    UserError if one cannot be read.
    """
    found = []
    try:
        for path in map(Path, paths):
            is_folder_of_runs = path.is_dir() and not exists(path)
            below = sorted(filter(exists, path.iterdir())) if is_folder_of_runs else []
            found += below or [path]
    except OSError as error:
        cure = "make it readable or give --load the runs to test"
        raise UserError(f"cannot read {reason(error)}: {cure}") from None
    names = name_apart(found).items()
    return [Run(path, printable(name), read_record(path)) for path, name in names]


def training_cost(run):
    """What the training of a run's MODEL took: {"iterations": n, "training": seconds}.

    MODEL is as old as the newest snapshot; the log of a killed run may go further. {} if the log
    has no entry up to that iteration or cannot be read.
    """
    try:
        log = json.loads(read_file(Path(run) / LOG))
        newest = [int(path.name.removeprefix(SNAPSHOT)) for path in snapshots(run)[:1]]
        last = [entry for entry in log if not newest or entry["iteration"] <= newest[0]][-1]
        cost = {"iterations": int(last["iteration"]), "training": float(last["elapsed_time"])}
        return cost if math.isfinite(cost["training"]) else {}
    except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError):
        return {}
