"""How fast clips are made from a film, beside the rate at which FFmpeg merely decodes it.

    python benchmarks/films.py --film recording.mp4

prints one JSON line, in frames of one processor's second: both sides use as many threads, ours
includes the start of Python.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import av

ROOT = Path(__file__).resolve().parents[1]


def cpu_seconds(work, *args):
    spent = os.times()
    result = work(*args)
    return sum(os.times()[:4]) - sum(spent[:4]), result


def decode(film):
    """Decode all of a film to nothing -> its number of frames."""
    with av.open(str(film)) as container:
        stream = container.streams.best("video")
        stream.codec_context.thread_count = 1
        return sum(1 for _ in container.decode(stream))


def make_clips(film, clips, out):
    command = [sys.executable, ROOT / "process_data.py", "-o", out, "--images", film]
    subprocess.run([*command, f"-n{clips}", "--workers=1"], check=True, stdout=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--film", type=Path, required=True)
    args = parser.parse_args()
    plain, frames = cpu_seconds(decode, args.film)
    with tempfile.TemporaryDirectory() as scratch:
        ours, _ = cpu_seconds(make_clips, args.film, frames, f"{scratch}/clips")
    result = {
        "frames": frames,
        "decoded_per_cpu_s": round(frames / plain),
        "cut_per_cpu_s": round(frames / ours),
        "share_of_decoding": round(plain / ours, 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
