"""How many clips per second are made from frames, beside the original way of making them.

    python benchmarks/process_data.py --images data/images/train -n 20000

prints one JSON line. Ours is `process_data.py` as a user runs it, start of Python included. The
original takes each clip by itself: list the frames, open five, crop until it moves, save a file.
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # where utils is
import constants  # noqa: E402
from utils.errors import one_line  # noqa: E402
from utils.frames import find_videos  # noqa: E402
from utils.store import ClipStore  # noqa: E402

TRIES = 100  # crops the original looks at before it takes one that does not move
BATCH, BATCHES = 8, 2000
FEW = 200  # clips enough for what is measured per clip


def timed(work, *args):
    begin = time.perf_counter()
    work(*args)
    return time.perf_counter() - begin


def make_ours(images, clips, out, workers):
    command = [sys.executable, ROOT / "process_data.py", "--images", images, "-o", out]
    subprocess.run(
        [*command, f"-n{clips}", f"--workers={workers}"], check=True, stdout=subprocess.DEVNULL
    )


def make_original(images, clips, out, rng):
    """The published algorithm: every clip opens its frames anew, as float64."""
    length, patch = constants.HISTORY + constants.HORIZON, constants.PATCH
    for number in range(clips):
        folder = rng.choice(sorted(path for path in images.iterdir() if path.is_dir()))
        names = sorted(folder.glob("*"))
        start = rng.integers(len(names) - length + 1)
        opened = [np.asarray(Image.open(name), float) for name in names[start : start + length]]
        frames = np.concatenate(opened, axis=2) / 127.5 - 1
        any_will_do = rng.random() < constants.EXEMPT
        for _ in range(TRIES):
            y, x = rng.integers(np.subtract(frames.shape[:2], patch) + 1)
            clip = frames[y : y + patch, x : x + patch]
            steps = clip[..., 3:] - clip[..., :-3]
            if any_will_do or np.sum(steps**2) > constants.MIN_MOVEMENT:
                break
        np.savez_compressed(out / f"{number}.npz", clip)


def read_batches(store, rng):
    for _ in range(BATCHES):
        store.read(rng.integers(len(store), size=BATCH))


def savez_bytes(clips):
    """Mean size of the clips as one compressed uint8 file each."""
    sizes = []
    for clip in clips:
        file = io.BytesIO()
        np.savez_compressed(file, clip)
        sizes.append(file.tell())
    return float(np.mean(sizes))


@one_line
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, default=ROOT / constants.TRAIN_DIR)
    parser.add_argument("-n", "--clips", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2, help="beside the run with one worker")
    args = parser.parse_args()
    frames = sum(len(video) for video in find_videos(args.images))
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        (scratch / "npz").mkdir()
        original = timed(make_original, args.images, FEW, scratch / "npz", rng) / FEW
        one = timed(make_ours, args.images, args.clips, scratch / "one", 1)
        more = timed(make_ours, args.images, args.clips, scratch / "more", args.workers)
        store = ClipStore.open(scratch / "one")
        read_batches(store, rng)  # warm
        reading = timed(read_batches, store, rng)
        original_bytes = sum(p.stat().st_size for p in (scratch / "npz").iterdir()) / FEW
        result = {
            "frames": frames,
            "clips": args.clips,
            "clips_per_s_one_worker": round(args.clips / one),
            f"clips_per_s_{args.workers}_workers": round(args.clips / more),
            "clips_per_s_original": round(1 / original, 1),
            "ratio_one_worker": round(args.clips / one * original, 1),
            f"ratio_{args.workers}_workers": round(args.clips / more * original, 1),
            "clips_read_per_s_batches_of_8": round(BATCH * BATCHES / reading),
            "bytes_per_clip": round(store.bytes_on_disk() / len(store)),
            "bytes_per_clip_uint8_npz": round(savez_bytes(store.read(np.arange(FEW)))),
            "bytes_per_clip_original": round(original_bytes),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
