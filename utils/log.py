"""The file `log` of a run: what it reported, losses as means over intervals."""

import json
import math
from pathlib import Path

from utils import rundir
from utils.files import write_text
from utils.stack import chainer

MEASURED = "val/", "copy/"  # prefixes of what a validation measures of the network as it is


class Log(chainer.training.Extension):
    """Appends to `entries`, whenever the trigger `due` fires, the means of what was reported since;
    of a validation, the latest numbers.

    The entries are dicts {name: mean} and are written as JSON. A mean that is not a number, such
    as the SSIM of frames too small for it, is None there, null in JSON.

    The sums of an unfinished interval are saved in snapshots, so that the log of a resumed run is
    that of one never stopped. On a GPU the sums stay there until an entry is due.
    """

    name = "log"
    trigger = (1, "iteration")

    def __init__(self, due):
        self.due = due
        self.entries = []
        self.sums = {}  # name: [sum, count]

    def __call__(self, trainer):
        for name, value in trainer.observation.items():
            latest = name.startswith(MEASURED)
            total, count = (0.0, 0) if latest else self.sums.get(name, (0.0, 0))
            self.sums[name] = total + getattr(value, "array", value), count + 1
        if not self.due(trainer):
            return
        entry = {name: finite(float(total) / count) for name, (total, count) in self.sums.items()}
        entry |= {"epoch": trainer.updater.epoch, "iteration": trainer.updater.iteration}
        entry["elapsed_time"] = trainer.elapsed_time
        self.entries.append(entry)
        self.sums = {}
        write_text(Path(trainer.out) / rundir.LOG, json.dumps(self.entries, indent=1))

    def serialize(self, serializer):
        sums = {name: [finite(float(total)), count] for name, (total, count) in self.sums.items()}
        text = serializer("state", json.dumps([self.entries, sums]))
        if isinstance(serializer, chainer.Deserializer):
            self.entries, sums = json.loads(text)
            self.sums = {
                name: [math.nan if total is None else total, count]
                for name, (total, count) in sums.items()
            }


def finite(value):
    """The number, or None if it is NaN or infinite, which JSON cannot express."""
    return value if math.isfinite(value) else None
