"""Python in a process of its own, as a user starts it."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run_python(*command, cwd=ROOT, environment=None, **options):
    """Run `python COMMAND` -> the finished process, its output as text.

    environment: variables to set besides those of this process.
    """
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        **{"capture_output": True, "text": True, "timeout": 300, **options},
    )


WITH_LITTLE_MEMORY = """
import importlib
import sys
from utils import memory
memory.free_memory = lambda: 2**27
importlib.import_module(sys.argv[1].removesuffix(".py")).main(sys.argv[2:])
"""


def refusal_with_little_memory(script, *options):
    """The last line of a script that must fail, having 128 MiB of free memory.

    It runs in a process of its own: here malloc may have kept memory that earlier tests freed.
    """
    done = run_python("-c", WITH_LITTLE_MEMORY, script, *options)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    return done.stderr.splitlines()[-1]
