"""The workers of a Dask cluster, which share the work of one loop."""

import contextlib
import logging
import shutil
import tempfile
from concurrent.futures import CancelledError
from pathlib import Path

from utils.errors import UserError, reason

ROOT = Path(__file__).resolve().parents[1]
CODE = "video_clips_code"
WORKER = "`dask worker --nthreads 1`"  # decoding is tested in one thread of a process
PATIENCE = 10  # seconds to wait for a scheduler


@contextlib.contextmanager
def cluster(address):
    """Context that yields a `map(function, items)` on the cluster of a scheduler, results in order.

    The workers are sent this project's code. They must see the same files under the same paths.
    UserError without `dask[distributed]`, if no scheduler answers or it has no workers, or if it or
    all workers that try an item die.
    """
    try:
        from dask.distributed import Client, KilledWorker
    except ImportError as error:
        cure = "pip install -r requirements-dask.txt"
        raise UserError(f"--scheduler needs Dask ({error}); run {cure}") from None
    try:
        client = Client(address, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        cure = f"start `dask scheduler`, {WORKER}"
        raise UserError(f"no Dask scheduler at {address} ({reason(error)}): {cure}") from None
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # else tracebacks of its own
    with client:
        if not client.scheduler_info()["workers"]:
            raise UserError(f"the Dask scheduler at {address} has no workers: start {WORKER}")
        with tempfile.TemporaryDirectory() as aside:
            archive = shutil.make_archive(f"{aside}/{CODE}", "zip", ROOT, "utils")
            client.run(forget_earlier_code())
            client.upload_file(archive)

        def parallel_map(function, items):
            futures = client.map(function, list(items), pure=False)
            try:
                for future in futures:
                    yield future.result()
                    future.release()
            finally:
                client.cancel(futures)

        try:
            yield parallel_map
        except (KilledWorker, CancelledError) as error:
            cure = "the same command with --resume goes on"
            raise UserError(
                f"the Dask cluster at {address} failed ({reason(error)}): {cure}"
            ) from None


def forget_earlier_code():
    """A function that has a worker unload this project's modules, left there by an earlier run.

    Dask reloads the package `utils` alone: its modules would keep their old code, and caches about
    files that may have changed since.
    """

    def forget():  # nested, so that Dask pickles its code, not its name
        import sys

        for name, module in list(sys.modules.items()):
            if f"{CODE}.zip" in (getattr(module, "__file__", None) or ""):
                del sys.modules[name]

    return forget
