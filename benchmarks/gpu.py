"""All that is to be asked of a GPU, one after the other: whether results are right, then speeds."""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ASKED = {  # what Python is to run, from the root of the repository
    "tests": ("-m", "pytest", "-q", "-m", "gpu"),
    "convolution": ("benchmarks/gpu_convolution.py",),
    "step": ("benchmarks/gpu_step.py",),
    "rollout": ("benchmarks/gpu_rollout.py",),
    "step-of-64": ("benchmarks/gpu_step.py", "--batch", "64", "--steps", "10"),
}
LIMIT = 600  # seconds for each


def ask(name, out):
    """Run one, its words in out/NAME.txt -> {"status", "seconds", "said": the last line}."""
    path, began = out / f"{name}.txt", time.monotonic()
    with path.open("wb") as file:
        told = {"stdout": file, "stderr": subprocess.STDOUT, "start_new_session": True}
        process = subprocess.Popen([sys.executable, *ASKED[name]], cwd=ROOT, **told)
        try:
            status = process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with the processes that it has begun
            process.wait()
            status = f"not done in {LIMIT} s"
    lines = path.read_text(errors="replace").strip().splitlines()
    said = lines[-1] if lines else ""
    with contextlib.suppress(ValueError):
        said = json.loads(said)
    return {"status": status, "seconds": round(time.monotonic() - began), "said": said}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("asked", nargs="*", metavar="WHAT", help=f"of {', '.join(ASKED)}; else all")
    parser.add_argument("-o", "--out", default="result-gpu", help="directory for all that they say")
    options = parser.parse_args()
    if unknown := set(options.asked) - ASKED.keys():
        parser.error(f"{' '.join(unknown)}: choose from {', '.join(ASKED)}")
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    report = {}
    for name in options.asked or ASKED:
        report[name] = ask(name, out)
        print(name, report[name]["status"], f"{report[name]['seconds']} s", file=sys.stderr)
    print(json.dumps(report))
    sys.exit(any(told["status"] for told in report.values()))


if __name__ == "__main__":
    main()
