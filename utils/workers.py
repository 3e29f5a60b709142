"""Processes that share the work of one loop."""

import contextlib
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait

from utils.errors import UserError

# glibc hands arrays of frame size back to the system as soon as they are freed: the page faults of
# getting them again took more time than the sums in them (a step's movement 260 us, now 100).
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**26), "MALLOC_TRIM_THRESHOLD_": str(2**27)}


@contextlib.contextmanager
def workers(count):
    """Yield a `map(function, items)` that runs on `count` processes, results in order.

    A decoder that crashes on a damaged file takes a worker with it, not the program. Workers end
    with the block, however it is left.
    """
    # spawn: forking a process with running threads (tensorstore's) may deadlock
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=follow_parent)

    def spread(function, items):
        # Here processes start.  They inherit the parent's deafness: Ctrl-C is for it alone.
        hearing = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with environment(KEEP_MEMORY):
                return pool.map(function, items)
        finally:
            signal.signal(signal.SIGINT, hearing)

    try:
        yield spread
    except BaseException as error:
        for child in multiprocessing.active_children():
            child.terminate()
        if isinstance(error, BrokenProcessPool):
            raise UserError(
                "a worker process died, for lack of memory or on a damaged file: try fewer "
                f"--workers than {count}, or fewer --images to find the file"
            ) from None
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def environment(variables):
    """Set environment variables, not those set already, for processes that start meanwhile."""
    added = {name: text for name, text in variables.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def cores():
    """The number of processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def follow_parent():
    """End this process as soon as its parent has ended, however that came."""
    parent = multiprocessing.parent_process().sentinel
    threading.Thread(target=lambda: wait([parent]) and os._exit(1), daemon=True).start()
