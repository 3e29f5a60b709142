"""How fast clips are made from films, beside the rate at which FFmpeg merely decodes them.

    python benchmarks/films.py --films recording.mp4 another.mp4

prints one JSON line. FFmpeg uses one thread; ours is the user's command, a process on each core,
the start of Python included, which takes as long as decoding thousands of easy frames.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import av

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # where benchmarks is
from benchmarks.process_data import timed  # noqa: E402


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
    """Cut clips of the films by the user's command."""
    command = [sys.executable, ROOT / "process_data.py", f"-n{clips}", "-o", out]
    subprocess.run([*command, "--images", *films], check=True, stdout=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--films", type=Path, nargs="+", required=True)
    args = parser.parse_args()
    try:
        decoding, decoding_cpu, frames = timed(decode, args.films)
    except (OSError, av.FFmpegError) as error:
        parser.error(f"{error}; give films that FFmpeg can decode")
    with tempfile.TemporaryDirectory() as scratch:
        cutting, cutting_cpu, _ = timed(make_clips, args.films, frames, f"{scratch}/clips")
    result = {
        "frames": frames,
        "decoded_per_s": round(frames / decoding),
        "cut_per_s": round(frames / cutting),
        "share_by_clock": round(decoding / cutting, 3),
        "share_by_processor": round(decoding_cpu / cutting_cpu, 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
