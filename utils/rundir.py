"""A run's directory: its options, where they came from, its files."""

import contextlib
import hashlib
import json
import math
import platform
import re
import reprlib
import subprocess
from importlib import metadata
from pathlib import Path

from utils import lock
from utils.errors import UserError, reason, warn, writing_to
from utils.files import PARTIAL, read_file, write_text
from utils.names import name_apart, printable
from utils.recipe import MOST_FRAMES, MOST_PIXELS

OPTIONS = "options.json"
MODEL = "TRAINED_ADVERSARIAL.model"
BEST = "BEST.model"  # of all validations so far
SNAPSHOT = "snapshot_iter_"
ITERATION = re.compile(r"0|[1-9]\d{0,17}")  # as it stands in the name of a snapshot
LOG = "log"
PICTURES = ("loss.png", "samples.gif", "samples")  # the first ones of a run
PLOTS = ("loss.png", "psnr.png", "ssim.png", "sharpness.png", "perceptual.png")
REPORTED = (LOG, *PLOTS, "samples.gif", "samples/preview_*.png")
RENAMED = {"single_frame_dis": "unconditional_dis"}  # options of older runs
OPTIONS_BYTES = 2**20  # no record is larger
LARGEST = {"history": MOST_FRAMES, "horizon": MOST_FRAMES, "channels": 1000, "size": MOST_PIXELS}
PACKAGES = (
    *("chainer", "numpy", "scipy", "onednn-cpu-gomp"),
    *("cupy-cuda12x", "cupy-cuda13x", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13"),
)


def exists(out):
    """Whether a run has been started in this directory."""
    return (Path(out) / OPTIONS).exists()


@contextlib.contextmanager
def claimed(out, resume):
    """Make the directory, keep other runs from it inside this context.

    UserError where another run is at work, where a fresh run would overwrite a trained model or
    files that are no run's, or where a link could lead what is written elsewhere.  What a
    killed run left goes: a snapshot half written; without any, all that it reported.
    """
    out = Path(out)
    with lock.claim(out):
        trained = (out / MODEL).exists() or exists(out) and (out / BEST).exists()
        if not resume and (snapshots(out) or trained):
            raise UserError(
                f"{out}: already holds a run; -r continues it, --out takes another directory"
            )
        for path in (*out.iterdir(), *out.glob("samples/*")):
            if path.is_symlink():
                raise UserError(f"{path}: a symbolic link, a run follows none; remove it")
        if exists(out) and not resume:
            read_options(out)  # else it is somebody else's
        for name in () if exists(out) or snapshots(out) else (LOG, BEST, *PICTURES):
            if (out / name).exists():
                raise UserError(f"{out / name}: no run left it there; give a new --out")
        left = () if snapshots(out) else REPORTED  # would pass for what the next run reports
        for path in (p for name in (f"{SNAPSHOT}*{PARTIAL}", *left) for p in out.glob(name)):
            with writing_to(path):
                path.unlink()
        yield


def write_options(out, record):
    """Write the record (JSON types only) with versions, commit and checksum to out/options.json.

    UserError where it cannot be written.
    """
    record = {**record, "versions": versions(), "commit": commit()}
    record["sha256"] = digest(record)
    try:
        write_text(Path(out) / OPTIONS, json.dumps(record, indent=2) + "\n")
    except OSError as error:
        raise UserError(f"{reason(error)}: cannot be written; make room or give --out") from None


def read_options(out):
    """Return the record that a run left in its directory; UserError where there is none."""
    path = Path(out) / OPTIONS
    try:
        record = json.loads(read_file(path, OPTIONS_BYTES))
        if record.pop("sha256") != digest(record):
            raise ValueError("its checksum does not match")
        check_model(record["model"])
        data = record["data"]
        if type(record["options"]) is not dict or "fingerprint" not in data:
            raise ValueError("options or clips are missing")
        if not all(type(look) is str for look in data.get("looks", [])):
            raise ValueError(f"clips seen with {data['looks']}")
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
    return record


def saved_options(out, options):
    """The options of a run, {name: value}, of the same types as in `options`, the present ones.

    None may stand for a text.  UserError for an option that is unknown or of another type.
    """
    record = read_options(out)
    found = {RENAMED.get(name, name): value for name, value in record["options"].items()}
    for name, value in found.items():
        if name not in options:
            raise UserError(f"{out}: from another version, its --{name} is unknown here")
        kinds = {type(options[name]), type(value)} - {type(None)}
        if len(kinds) > 1 or not kinds <= {bool, int, float, str}:
            told = f"its --{name} is {reprlib.repr(value)}"
            raise UserError(f"{out}: {told}; train again or restore {OPTIONS}")
    return found


def warn_of_other_clips(out, data):
    """Warn if a run in this directory was last trained on clips of another fingerprint."""
    before = read_options(out)["data"] if exists(out) else data
    if before["fingerprint"] != data["fingerprint"]:
        warn(f"the run in {out} was last trained on other clips than those at {data['path']}")


def digest(record):
    """SHA-256 of a record of JSON types."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def check_model(model):
    """Raise ValueError for a network that nobody can have trained."""
    if len(model["size"]) != 2:
        raise ValueError(f"size {model['size']}")
    for name, largest in LARGEST.items():
        numbers = model[name] if name == "size" else [model[name]]
        if not all(type(n) is int and 0 < n <= largest for n in numbers):
            raise ValueError(f"{name} {model[name]}")


def snapshots(out, up_to=None):
    """The paths of a run's snapshots, newest first, without those of iterations after `up_to`."""
    numbers = [p.name.removeprefix(SNAPSHOT) for p in Path(out).glob(f"{SNAPSHOT}*")]
    found = sorted((int(n) for n in numbers if ITERATION.fullmatch(n)), reverse=True)
    return [Path(out) / f"{SNAPSHOT}{n}" for n in found if up_to is None or n <= up_to]


def model_at(path):
    """The path of a file of weights: the model of the run, where `path` is a run's directory."""
    return Path(path) / MODEL if exists(path) else path


def find_runs(paths):
    """{directory: its name} of runs; a path that is none itself stands for the runs below it.

    UserError where one of them, or what else is there, cannot be looked into.
    """
    runs = []
    try:
        for path in map(Path, paths):
            above = path.is_dir() and not exists(path)
            below = sorted(filter(exists, path.iterdir())) if above else []
            runs += below or [path]
    except OSError as error:
        cure = "make it readable or give --load the runs to test"
        raise UserError(f"cannot read {reason(error)}: {cure}") from None
    return {run: printable(name) for run, name in name_apart(runs).items()}


def training_cost(run):
    """What the log says of the training in a run's MODEL: {"iterations": n, "training": seconds}.

    MODEL is as old as the newest snapshot; the log of a killed run goes on beyond them.
    Nothing, {}, where the log has no such entry or cannot be read.
    """
    try:
        log = json.loads(read_file(Path(run) / LOG))
        newest = [int(path.name.removeprefix(SNAPSHOT)) for path in snapshots(run)[:1]]
        last = [entry for entry in log if not newest or entry["iteration"] <= newest[0]][-1]
        cost = {"iterations": int(last["iteration"]), "training": float(last["elapsed_time"])}
        return cost if math.isfinite(cost["training"]) else {}
    except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError):
        return {}


def versions(packages=PACKAGES):
    """{package: version} of Python and of those installed, usually what can change a result."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit():
    """The commit of the source, with "+" where it was edited since; None outside a checkout."""
    here = Path(__file__).parent
    git = ["git", "-C", str(here), "describe", "--always", "--abbrev=40", "--dirty=+"]
    try:
        done = subprocess.run(git, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
