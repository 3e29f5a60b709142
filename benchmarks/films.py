"""How fast clips are made from films, beside the rate at which FFmpeg merely decodes them.

    python benchmarks/films.py --films recording.mp4 another.mp4

prints one JSON line, in frames of one processor's second: both sides use one thread, ours includes
the start of Python, twice, which takes as long as decoding some 2,000 easy frames.
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
    """(processor seconds of work(*args), with those of its processes; what it returns)."""
    spent = os.times()
    result = work(*args)
    return sum(os.times()[:4]) - sum(spent[:4]), result


def decode(films):
    """Decode all of some films to nothing -> their number of frames."""
    count = 0
    for film in films:
        with av.open(str(film)) as container:
            stream = container.streams.best("video")
            stream.codec_context.thread_count = 1
            count += sum(1 for _ in container.decode(stream))
    return count


def make_clips(films, clips, out):
    """Cut clips of the films by the user's command, in one process."""
    command = [sys.executable, ROOT / "process_data.py", "-o", out, "--images", *films]
    subprocess.run([*command, f"-n{clips}", "--workers=1"], check=True, stdout=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--films", type=Path, nargs="+", required=True)
    args = parser.parse_args()
    try:
        plain, frames = cpu_seconds(decode, args.films)
    except (OSError, av.FFmpegError) as error:
        parser.error(f"{error}; give films that FFmpeg can decode")
    with tempfile.TemporaryDirectory() as scratch:
        ours, _ = cpu_seconds(make_clips, args.films, frames, f"{scratch}/clips")
    result = {
        "frames": frames,
        "decoded_per_cpu_s": round(frames / plain),
        "cut_per_cpu_s": round(frames / ours),
        "share_of_decoding": round(plain / ours, 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
