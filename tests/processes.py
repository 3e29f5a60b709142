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
