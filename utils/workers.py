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


@contextlib.contextmanager
def workers(count):
    """Yield a `map(function, items)` that runs on `count` processes, results in order.

    With one worker it is the built-in map. Workers end with the block, however it is left.
    """
    if count == 1:
        yield map
        return
    # spawn: forking a process with running threads (tensorstore's) may deadlock
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=follow_parent)
    # Processes inherit the parent's deafness: Ctrl-C is for the parent alone.
    hearing = signal.signal(signal.SIGINT, signal.SIG_IGN)
    pool.submit(int)  # starts them
    signal.signal(signal.SIGINT, hearing)
    try:
        yield pool.map
    except BaseException as error:
        for child in multiprocessing.active_children():
            child.terminate()
        if isinstance(error, BrokenProcessPool):
            raise UserError(
                f"a worker process died, perhaps for lack of memory: try --workers {count // 2}"
            ) from None
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def cores():
    """The number of processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def follow_parent():
    """End this process as soon as its parent has ended, however that came."""
    parent = multiprocessing.parent_process().sentinel
    threading.Thread(target=lambda: wait([parent]) and os._exit(1), daemon=True).start()
