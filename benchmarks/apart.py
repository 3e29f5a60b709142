"""A program in a process group of its own, which ends with all that it has begun."""

import contextlib
import os
import signal
import subprocess


def run(command, limit, **options):
    """Run a command with options of Popen -> its exit status, None if it took over `limit` s.

    What it prints should go to files: a pipe stays open as long as any process that it has begun,
    such as a compiler's.
    """
    process = subprocess.Popen(command, start_new_session=True, **options)
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):  # as is usual: all have ended
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
