"""A run's directory: what it was told, what it is made of, where its artefacts lie."""

import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from utils.errors import UserError

OPTIONS = "options.json"
MODEL = "TRAINED_ADVERSARIAL.model"
SNAPSHOT = "snapshot_iter_"
LOG = "log"
PACKAGES = ("chainer", "numpy", "scipy", "cupy-cuda12x", "cupy-cuda13x", "onednn-cpu-gomp")


def exists(out):
    """Whether a run has been started in this directory."""
    return (Path(out) / OPTIONS).exists()


def claim(out, resume):
    """Make the directory, refusing one whose trained model a fresh run would overwrite."""
    if not resume and (snapshots(out) or (Path(out) / MODEL).exists()):
        raise UserError(f"{out}: holds a run already; -r continues it, --out takes another place")
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be made ({error.strerror})") from None


def write_options(out, record):
    """Write the record (JSON types only) with versions and commit to out/options.json, whole."""
    record = {**record, "versions": versions(), "commit": commit()}
    path = Path(out) / OPTIONS
    aside = path.with_suffix(".partial")
    aside.write_text(json.dumps(record, indent=2) + "\n")
    os.replace(aside, path)


def read_options(out):
    """Return the record that a run left in its directory; UserError where there is none."""
    path = Path(out) / OPTIONS
    try:
        record = json.loads(path.read_text())
        record["options"], record["model"]
    except FileNotFoundError:
        raise UserError(f"{out}: no run there ({OPTIONS} is missing); train.py makes one") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: not the options of a run; train again or restore it") from None
    return record


def snapshots(out):
    """The snapshots of a run, newest first."""
    numbered = {p.name.removeprefix(SNAPSHOT): p for p in Path(out).glob(f"{SNAPSHOT}*")}
    return [numbered[n] for n in sorted(filter(str.isdigit, numbered), key=int, reverse=True)]


def find_runs(paths):
    """The directories of runs among `paths`, and those right below one that is not a run."""
    runs = []
    for path in map(Path, paths):
        below = sorted(p.parent for p in path.glob(f"*/{OPTIONS}"))
        runs += [path] if exists(path) or not below else below
    return runs


def training_cost(run):
    """What a run's log says of its training: {"iterations": number, "training": seconds}."""
    try:
        last = json.loads((Path(run) / LOG).read_text())[-1]
        return {"iterations": last["iteration"], "training": last["elapsed_time"]}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def versions():
    """Versions of Python and of the packages that can change a result."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
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
