"""Processes that share the work of one loop."""

import collections
import contextlib
import importlib
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from multiprocessing.connection import wait

from utils.errors import UserError
from utils.signals import ctrl_c_blocked, handling, ignore_terminal_signals

# By default glibc returns arrays as large as a frame to the system as soon as they are freed; the
# page faults of allocating them again took longer than the arithmetic on them (computing a step's
# movement took 260 us, with these settings 100).
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**26), "MALLOC_TRIM_THRESHOLD_": str(2**27)}


@contextlib.contextmanager
def workers(count, *modules):
    """Context that yields a `map(function, items)` on `count` processes, results in order.

    They start at once and import `modules` while the caller prepares. A decoder that crashes on a
    damaged file takes a worker with it, not the program, which gets a UserError. The workers end
    with the context, at once if an exception leaves it.
    """
    with handling(signal.SIG_IGN, {signal.SIGHUP}):  # inherited: it must outlive the terminal
        resource_tracker.ensure_running()  # before the context below: starting it unblocks SIGINT
    # spawn: forking a process with running threads (tensorstore's) may deadlock
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, context, initializer=begin, initargs=modules)

    def parallel_map(function, items):
        # Not pool.map: it cancels pending futures, at which a pool whose workers died fails.
        futures = collections.deque(pool.submit(function, item) for item in items)
        while futures:
            yield futures.popleft().result()

    try:
        # Workers, and the threads that serve them, inherit both settings.
        with ctrl_c_blocked(), environment(KEEP_MEMORY):
            for _ in range(count):
                pool.submit(os.getpid)  # starts a worker, as none is idle
        yield parallel_map
    except BaseException as error:  # Ctrl-C, too
        for child in multiprocessing.active_children():
            child.terminate()
        if isinstance(error, BrokenProcessPool):
            fewer = f"fewer --workers than {count}" if count > 1 else "a lower --size or --resize"
            raise UserError(
                "a worker process died, for lack of memory or on a damaged file: try "
                f"{fewer}, or fewer --images to find the file"
            ) from None
        raise
    finally:
        pool.shutdown()


def begin(*modules):
    """Initialise a worker, which from now on ends when its parent does, whatever ended that."""
    ignore_terminal_signals()
    parent = multiprocessing.parent_process().sentinel
    threading.Thread(target=lambda: wait([parent]) and os._exit(1), daemon=True).start()
    with contextlib.suppress(ImportError):  # the parent imports the same and reports it once
        for module in modules:
            importlib.import_module(module)


@contextlib.contextmanager
def environment(variables):
    """Set environment variables that are not set yet, for processes started in this context."""
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
