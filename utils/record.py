"""What a run's options.json says: options, network, clips, and what they were run with."""

import hashlib
import json
import platform
import subprocess
from pathlib import Path

from utils.recipe import MOST_FRAMES, MOST_PIXELS

LARGEST = {"history": MOST_FRAMES, "horizon": MOST_FRAMES, "channels": 3, "size": MOST_PIXELS}
PACKAGES = (
    *("chainer", "numpy", "scipy", "onednn-cpu-gomp"),
    *("cupy-cuda12x", "cupy-cuda13x", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13"),
)


def to_json(record):
    """The content of an options.json: a record of JSON types, versions, commit and checksum."""
    record = {**record, "versions": versions(), "commit": commit()}
    record["sha256"] = digest(record)
    return json.dumps(record, indent=2) + "\n"


def from_json(content):
    """The record in an options.json.

    ValueError, LookupError, TypeError, AttributeError or RecursionError for what is not of this
    program, was altered since, or is of an impossibly large network.
    """
    record = json.loads(content)
    if record.pop("sha256") != digest(record):
        raise ValueError("its checksum does not match")
    check_model(record["model"])
    data = record["data"]
    if type(record["options"]) is not dict or "fingerprint" not in data:
        raise ValueError("options or clips are missing")
    if not all(type(look) is str for look in data.get("looks", [])):
        raise ValueError(f"clips seen with {data['looks']}")
    return record


def digest(record):
    """SHA-256 of a record of JSON types."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def check_model(model):
    """Raise ValueError for arguments of models.create that no run can have had."""
    if len(model["size"]) != 2:
        raise ValueError(f"size {model['size']}")
    for name, largest in LARGEST.items():
        numbers = model[name] if name == "size" else [model[name]]
        if not all(type(n) is int and 0 < n <= largest for n in numbers):
            raise ValueError(f"{name} {model[name]}")


def versions(packages=PACKAGES):
    """{package: version} of Python and of the packages that are installed.

    The default is those that can change a result.
    """
    from importlib import metadata  # imported late: it takes as long as all else here

    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit():
    """The Git commit of the source, with "+" if it was edited since; None outside a checkout."""
    here = Path(__file__).parent
    describe = "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty=+"  # by no tag
    git = ["git", "-C", str(here), *describe]
    try:
        done = subprocess.run(git, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
