"""Whether a long training stays as it began: memory, open files, threads, time a step."""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks import rivals

PARTS = 10  # of the time, compared with each other; the first is for warming up


class Note(NamedTuple):
    """What an update took, what the process had after it."""

    time: float  # seconds since training began
    wall_s: float
    cpu_s: float
    rss_mib: float
    open_files: int
    threads: int


def make_clips(path, count, size=32):
    """A store of noise, 4 past frames and 1 future, of size x size."""
    import numpy as np

    from utils.store import ClipStore

    store = ClipStore.create(path, 4, 1, (size, size))
    noise = np.random.default_rng(0).integers(0, 256, (count, *store.shape), np.uint8)
    store.write(0, noise, count)
    store.commit(count, {})


def probe():
    """Resident memory in MiB, open files, threads of this process; needs Linux's /proc."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    files, threads = (len(os.listdir(f"/proc/self/{name}")) for name in ("fd", "task"))
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, files, threads


def watch():
    """Make every Trainer note its updates in a list of Note, which is returned."""
    from utils.trainer import Trainer

    notes, init = [], Trainer.__init__

    def watched(self, updater, *args, **kwargs):
        init(self, updater, *args, **kwargs)
        update, begun = updater.update, time.perf_counter()

        def noted():
            start = time.perf_counter(), time.process_time()
            update()
            end = time.perf_counter(), time.process_time()
            notes.append(Note(end[0] - begun, end[0] - start[0], end[1] - start[1], *probe()))

        updater.update = noted

    Trainer.__init__ = watched
    return notes


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--minutes", type=float, default=60)
    add("--width", choices=("paper", "small"), default="small")
    add("--every", type=int, default=100, help="iterations between two reports, snapshots, looks")
    options = parser.parse_args()

    import train

    notes = watch()
    with tempfile.TemporaryDirectory() as place:
        for name, count in (("clips", 2000), ("test", 100)):
            make_clips(f"{place}/{name}", count)
        train.main(
            [
                *("-d", f"{place}/clips", "--test-data", f"{place}/test", "-o", f"{place}/result"),
                *(f"--{what}-every={options.every}" for what in ("snapshot", "report", "validate")),
                f"--minutes={options.minutes}",
                f"--width={options.width}",
            ]
        )

    span = notes[-1].time / PARTS
    parts = [[n for n in notes if k * span <= n.time < (k + 1) * span] for k in range(1, PARTS)]
    if not all(parts):
        parser.error(f"--minutes {options.minutes:g}: {len(notes)} steps, too few; give more")
    medians = [Note(*map(statistics.median, zip(*part, strict=True))) for part in parts]
    report = {name: [round(getattr(m, name), 4) for m in medians] for name in Note._fields[1:]}
    growth = {name: round(found[-1] / found[0], 3) for name, found in report.items()}
    shared = {"steps": len(notes), "last_over_first": growth, "by_part": report}
    print(json.dumps(shared | vars(options) | {"versions": rivals.versions()}))


if __name__ == "__main__":
    main()
