"""A program run in a process group of its own, which is ended with all its child processes."""

import contextlib
import os
import signal
import subprocess

LAST_WORDS = 15  # seconds for a program that is interrupted


def run(command, limit, **options):
    """Run a command -> its exit status, None if it took longer than `limit` seconds.

    options: of Popen. Let its output go to files: a pipe stays open as long as any child process,
    such as a compiler.
    """
    process = subprocess.Popen(command, start_new_session=True, **options)
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)  # pytest, for one, tells of failures only at its end
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(LAST_WORDS)
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):  # usually all have ended
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
