"""What signals do to a script before it trains, which of them training hears."""

import os
import signal

import pytest

from tests.processes import run_python
from utils.signals import Signals, ctrl_c_exits, signals_as_ctrl_c, signals_deferred

# A module that takes an exception for a fault of its own, as those in C do.
CODE = """
import os, signal
from utils.signals import ctrl_c_exits
with ctrl_c_exits():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        raise ImportError("initialization failed")
print("went on")
"""


def test_ctrl_c_leaves_at_once_without_an_exception():
    done = run_python("-c", CODE)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")


def test_ctrl_c_is_as_before_afterwards():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError), ctrl_c_exits():
        assert signal.getsignal(signal.SIGINT) is not before
        raise ValueError
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("context", ["ctrl_c_blocked", "signals_deferred"])
def test_ctrl_c_waits(context):
    code = f"""
import os, signal
from utils.signals import {context}
try:
    with {context}():
        os.kill(os.getpid(), signal.SIGINT)
        print("went on")
    print("not here")
except KeyboardInterrupt:
    print("then stopped")
"""
    done = run_python("-c", code)
    assert (done.returncode, done.stdout) == (0, "went on\nthen stopped\n")


@pytest.mark.parametrize("number, status", [("INT", 130), ("TERM", 143), ("HUP", 129)])
def test_each_waits_and_is_as_ctrl_c(number, status):
    code = f"""
import os, signal
from utils.signals import signals_as_ctrl_c, signals_deferred, exit_status
signal.signal(signal.SIGHUP, signal.SIG_DFL)
try:
    with signals_as_ctrl_c(), signals_deferred():
        os.kill(os.getpid(), signal.SIG{number})
        print("went on")
    print("not here")
except KeyboardInterrupt as interrupt:
    print(exit_status(interrupt))
assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
"""
    done = run_python("-c", code)
    assert (done.returncode, done.stdout) == (0, f"went on\n{status}\n")


def test_what_is_ignored_is_not_as_ctrl_c():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_as_ctrl_c(), signals_deferred():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_is_ignored_stays_ignored_but_ctrl_c():
    numbers = signal.SIGHUP, signal.SIGTERM, signal.SIGINT
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        with Signals() as signals:
            for number in numbers[:2]:
                os.kill(os.getpid(), number)
            assert signals.caught is None
            os.kill(os.getpid(), signal.SIGINT)
        assert (signals.caught, signals.status) == (signal.SIGINT, 130)
        with Signals() as signals:
            signal.signal(signal.SIGHUP, signals.note)
            os.kill(os.getpid(), signal.SIGHUP)
        assert signals.status == 129
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
