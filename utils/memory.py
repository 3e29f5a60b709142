"""The memory that there is for a process."""

import contextlib
import re
import resource
from pathlib import Path

PROC, CGROUP = Path("/proc"), Path("/sys/fs/cgroup")
SHARE = 0.9  # of the free memory that this process may take; the rest is for others


@contextlib.contextmanager
def memory_bounded():
    """In this context an allocation of more memory than is free raises a MemoryError.

    Linux would grant it, then kill the process without a message. On other systems, where /proc is
    missing, this does nothing.
    """
    try:
        room = int(read_size(PROC / "self/status", "VmData") + SHARE * free_memory())
    except (OSError, ValueError):
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_DATA)
    most = min([room, *(limit for limit in before if limit != resource.RLIM_INFINITY)])
    resource.setrlimit(resource.RLIMIT_DATA, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def free_memory():
    """Bytes available to this machine, or this container if it has a limit; OSError if unknown."""
    free = read_size(PROC / "meminfo", "MemAvailable")
    with contextlib.suppress(OSError, ValueError):  # memory.max is "max" where there is no limit
        most, used = (int((CGROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        for kind in "active_file", "inactive_file":  # cached files make room when it is needed
            used -= read_number(CGROUP / "memory.stat", kind)
        free = min(free, max(0, most - used))
    return free


def read_size(path, name):
    """The bytes that a line such as "VmData:  123 kB" of a file tells."""
    return 1024 * read_number(path, f"{name}:")


def read_number(path, name):
    """The number after a name that begins a line of a file."""
    found = re.search(rf"^{name}\s+(\d+)", path.read_text(), re.MULTILINE)
    if found is None:
        raise ValueError(f"{path} does not tell {name}")
    return int(found[1])
