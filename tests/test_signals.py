"""Ctrl-C while a script still imports what it needs."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from utils.signals import leaving_at_once

ROOT = Path(__file__).resolve().parents[1]
# A module that takes an exception for a fault of its own, as those in C do.
CODE = """
import os, signal
from utils.signals import leaving_at_once
with leaving_at_once():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        raise ImportError("initialization failed")
print("went on")
"""


def test_ctrl_c_leaves_at_once_without_an_exception():
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")


def test_ctrl_c_is_as_before_afterwards():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError), leaving_at_once():
        assert signal.getsignal(signal.SIGINT) is not before
        raise ValueError
    assert signal.getsignal(signal.SIGINT) is before
