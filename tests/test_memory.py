"""Asking for more memory than there is."""

import numpy as np
import pytest

from tests.processes import run_python
from utils import memory

ASK = """
import resource
import numpy as np
from utils import memory

before = resource.getrlimit(resource.RLIMIT_DATA)
memory.free_memory = lambda: 2**28
with memory.memory_bounded():
    assert np.ones(2**24, np.uint8).all()
    try:
        np.ones(2**29, np.uint8)
    except MemoryError:
        print("refused")
assert resource.getrlimit(resource.RLIMIT_DATA) == before
"""


@pytest.mark.skipif(not memory.PROC.is_dir(), reason="no /proc, of which Linux alone has one")
def test_more_memory_than_is_free_is_refused():
    """In a process of its own: this one may have kept memory that earlier tests freed."""
    done = run_python("-c", ASK)
    assert done.stdout == "refused\n", done.stderr


def test_free_memory_is_what_the_system_and_the_cgroup_leave(tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text("MemTotal:  9 kB\nMemAvailable:    8 kB\n")
    monkeypatch.setattr(memory, "PROC", tmp_path)
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert memory.free_memory() == 8 * 1024
    (tmp_path / "memory.current").write_text("1700\n")  # 700 of it cached files
    (tmp_path / "memory.stat").write_text("anon 1000\ninactive_file 500\nactive_file 200\n")
    for told, free in (("max", 8 * 1024), ("3000", 2000), ("10", 0)):
        (tmp_path / "memory.max").write_text(told)
        assert memory.free_memory() == free


def test_without_proc_memory_is_not_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "PROC", tmp_path)
    with memory.memory_bounded():
        assert np.ones(2**20).all()
