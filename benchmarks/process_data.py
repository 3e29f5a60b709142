"""How fast clips are made from frames, beside the original way of making them.

    python benchmarks/process_data.py --images data/images/train -n 500000

prints one JSON line. Ours is `process_data.py` as a user runs it, start of Python included. The
original makes one clip at a time: list the frames, open five, crop until it moves, save a file.
"""

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # where utils is
from utils.batches import ClipIterator  # noqa: E402
from utils.errors import report_errors  # noqa: E402
from utils.store import ClipStore  # noqa: E402
from utils.videos import find_videos  # noqa: E402

FRAMES, PATCH, MOVEMENT, EXEMPT = 5, 32, 100, 0.05  # as published
TRIES = 100  # crops the original looks at before it takes one that does not move
BATCH, BATCHES = 8, 3000
FEW = 200  # clips enough for what is measured per clip
SAMPLE = 2000  # clips enough for their mean size


def timed(work, *args):
    """(seconds of work(*args), processor seconds, with those of its processes; what it returns)."""
    begin, spent = time.perf_counter(), os.times()
    result = work(*args)
    return time.perf_counter() - begin, sum(os.times()[:4]) - sum(spent[:4]), result


def make_ours(images, clips, out, workers):
    """Cut clips by the user's command."""
    command = [sys.executable, ROOT / "process_data.py", "-o", out, "--images", *images]
    subprocess.run(
        [*command, f"-n{clips}", f"--workers={workers}"], check=True, stdout=subprocess.DEVNULL
    )


def make_original(images, clips, out, rng):
    """The published algorithm: every clip opens its frames anew, as float64."""
    for number in range(clips):
        folders = [path for folder in images for path in folder.iterdir() if path.is_dir()]
        names = sorted(rng.choice(sorted(folders)).glob("*"))
        start = rng.integers(len(names) - FRAMES + 1)
        opened = [np.asarray(Image.open(name), float) for name in names[start : start + FRAMES]]
        frames = np.concatenate(opened, axis=2) / 127.5 - 1
        any_will_do = rng.random() < EXEMPT
        for _ in range(TRIES):
            y, x = rng.integers(np.subtract(frames.shape[:2], PATCH) + 1)
            clip = frames[y : y + PATCH, x : x + PATCH]
            steps = clip[..., 3:] - clip[..., :-3]
            if any_will_do or np.sum(steps**2) > MOVEMENT:
                break
        np.savez_compressed(out / f"{number}.npz", clip)


def read_batches(iterator):
    """Read BATCHES batches."""
    for _ in range(BATCHES):
        iterator.next()


def savez_bytes(clips):
    """Mean size of the clips as one compressed uint8 file each."""
    sizes = []
    for clip in clips:
        file = io.BytesIO()
        np.savez_compressed(file, clip)
        sizes.append(file.tell())
    return float(np.mean(sizes))


@report_errors
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    images = ROOT / "data" / "images" / "train"
    parser.add_argument("--images", type=Path, nargs="+", default=[images])
    parser.add_argument("-n", "--clips", type=int, default=500_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scratch", type=Path, help="where to make the clips; default: /tmp")
    args = parser.parse_args()
    frames = sum(len(video) for video in find_videos(args.images))
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=args.scratch) as scratch:
        scratch = Path(scratch)
        (scratch / "npz").mkdir()
        theirs = timed(make_original, args.images, FEW, scratch / "npz", rng)
        ours = timed(make_ours, args.images, args.clips, scratch / "clips", args.workers)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
        store = ClipStore.open(scratch / "clips")
        iterator = ClipIterator(store, BATCH, seed=0)
        read_batches(iterator)  # warm
        reading = timed(read_batches, iterator)
        iterator.finalize()
        some = store.read(np.sort(rng.choice(len(store), min(SAMPLE, len(store)), replace=False)))
        original_bytes = sum(p.stat().st_size for p in (scratch / "npz").iterdir()) / FEW
        result = {
            "frames": frames,
            "clips": args.clips,
            "workers": args.workers,
            "seconds": round(ours[0], 1),
            "cpu_seconds": round(ours[1], 1),
            "clips_per_s": round(args.clips / ours[0]),
            "clips_per_s_original": round(FEW / theirs[0], 1),
            "ratio": round(args.clips / ours[0] * theirs[0] / FEW, 1),
            "ratio_cpu": round(args.clips / ours[1] * theirs[1] / FEW, 1),
            "peak_mib_of_a_process": round(peak),
            "clips_read_per_s_batches_of_8": round(BATCH * BATCHES / reading[0]),
            "clips_read_per_cpu_s": round(BATCH * BATCHES / reading[1]),
            "bytes_per_clip": round(store.bytes_on_disk() / len(store)),
            "bytes_per_clip_uint8_npz": round(savez_bytes(some)),
            "bytes_per_clip_original": round(original_bytes),
            "load": os.getloadavg()[0],
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
