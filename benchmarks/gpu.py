"""Run all GPU tests, then all GPU benchmarks, one after the other.

    python benchmarks/gpu.py -o $OUT                # everything
    python benchmarks/gpu.py -o $OUT tests step     # where there are only minutes

$OUT/NAME.txt has the output of each, $OUT/report.json how each ended and its last line. Both are
written as soon as they are known, so if this script is stopped, only what runs at that moment is
lost.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks import apart  # noqa: E402

# The modules with tests for a GPU, the most informative ones first.
MODULES = "gpu", "graph", "cudnn_gpu", "branches", "gpu_join", "architectures", "snapshots"
MODULES += "kernel_trial", "cudnn", "gpu_layers", "casts", "gpu_neutral", "gpu_benchmarks"
MODULES += "gpu_convolution", "cudnn_engines", "slices", "voxel_flow", "squash"
# If a package is missing, only the tests of modules that need it are left out.
PYTEST = "-m", "pytest", "-v", "--tb=short", "--continue-on-collection-errors", "-m", "gpu"
PYTEST += "-W", "default"  # packages there are of any version: what they warn of is no failure
ASKED = {  # what Python is to run, from the root of the repository
    "tests": (*PYTEST, *(f"tests/test_{name}.py" for name in MODULES)),
    "graphs-without-cub": (*PYTEST, "tests/test_graph.py"),
    "convolution": ("benchmarks/gpu_convolution.py",),
    "step": ("benchmarks/gpu_step.py",),
    "rollout": ("benchmarks/gpu_rollout.py",),
    "step-of-64": ("benchmarks/gpu_step.py", "--batch", "64", "--steps", "10"),
}
# A control: CuPy adds up whole arrays by CUB's kernels, which no capture has held yet; the driver
# for tests runs CuPy's own.
ENVIRONMENTS = {"graphs-without-cub": {"CUPY_ACCELERATORS": ""}}


def ask(name, out, limit):
    """Run one, its words in out/NAME.txt -> {"status", "seconds", "said": the last line}.

    limit: seconds after which it is interrupted.
    """
    path, began = out / f"{name}.txt", time.monotonic()
    with path.open("wb") as file:
        options = {"cwd": ROOT, "stdout": file, "stderr": subprocess.STDOUT}
        options["env"] = os.environ | ENVIRONMENTS.get(name, {})
        status = apart.run([sys.executable, *ASKED[name]], limit, **options)
    lines = path.read_text(errors="replace").strip().splitlines()
    said = lines[-1] if lines else ""
    with contextlib.suppress(ValueError):
        said = json.loads(said)
    status = f"not done in {limit} s" if status is None else status
    return {"status": status, "seconds": round(time.monotonic() - began), "said": said}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("asked", nargs="*", metavar="WHAT", help=f"of {', '.join(ASKED)}; else all")
    parser.add_argument("-o", "--out", default="result-gpu", help="directory for all that they say")
    parser.add_argument("--limit", type=int, default=500, metavar="S", help="seconds for each")
    options = parser.parse_args()
    if unknown := set(options.asked) - ASKED.keys():
        parser.error(f"{' '.join(unknown)}: choose from {', '.join(ASKED)}")
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    report = {}
    for name in options.asked or ASKED:
        report[name] = ask(name, out, options.limit)
        (out / "report.json").write_text(json.dumps(report))
        print(name, report[name]["status"], f"{report[name]['seconds']} s", file=sys.stderr)
    print(json.dumps(report))
    sys.exit(any(result["status"] for result in report.values()))


if __name__ == "__main__":
    main()
