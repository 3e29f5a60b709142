"""The signals that ask a run to end."""

import contextlib
import os
import signal

from utils.streams import find_terminals, redirect_to_devnull

CLOSED = "the terminal has closed"
NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: CLOSED}


@contextlib.contextmanager
def ctrl_c_exits():
    """In this context Ctrl-C ends the process at once, without a KeyboardInterrupt.

    It is for the time before there is anything to save. A KeyboardInterrupt during the import of a
    C extension could break it, or be reported as a failure of the import.
    """
    before = signal.signal(signal.SIGINT, exit_at_once)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def exit_at_once(number, _):
    """A signal handler that ends the process without running any other Python code."""
    os.write(2, b"stopped\n")
    os._exit(128 + number)


@contextlib.contextmanager
def ctrl_c_blocked():
    """Threads and processes that are started in this context never receive Ctrl-C.

    This thread receives it when the context ends, as a KeyboardInterrupt.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def signals_as_ctrl_c():
    """In this context SIGTERM and SIGHUP, too, raise KeyboardInterrupt; `exit_status` tells which.

    Signals that are ignored, as SIGHUP is under nohup, stay ignored.
    """
    terminals = find_terminals()

    def interrupt(number, _):
        if NAMES[number] == CLOSED:
            redirect_to_devnull(terminals)
        raise KeyboardInterrupt(number)

    with handling(interrupt, active_signals() - {signal.SIGINT}):
        yield


def exit_status(interrupt):
    """The exit status that stands for a KeyboardInterrupt: 130, 143 or 129."""
    return 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)


@contextlib.contextmanager
def signals_deferred():
    """In this context Ctrl-C, SIGTERM and SIGHUP are held back; the first is raised at its end."""
    caught = []
    try:
        with handling(lambda number, _: caught.append(number), active_signals()):
            yield
    finally:
        if caught:
            signal.raise_signal(caught[0])


@contextlib.contextmanager
def handling(handler, numbers):
    """In this context `handler` handles the signals of these numbers."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def active_signals():
    """The signals of NAMES that are not ignored, SIGINT in any case."""
    return {n for n in NAMES if n == signal.SIGINT or signal.getsignal(n) != signal.SIG_IGN}


def ignore_terminal_signals():
    """Ignore Ctrl-C and a closing terminal, in a worker process: its parent ends it instead."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


class Signals:
    """In this context the first SIGINT, SIGTERM or SIGHUP is kept in `caught`, for training to see.

    A later SIGINT ends the process by the system's default action, whatever Python is doing.
    Signals that are ignored, as SIGHUP is under nohup, stay ignored; SIGINT does not.
    """

    def __init__(self):
        self.caught = None

    def __enter__(self):
        self.terminals = find_terminals()
        self.handling = handling(self.note, active_signals())
        self.handling.__enter__()
        return self

    def __exit__(self, *error):
        self.handling.__exit__(*error)

    def note(self, number, _):
        """The signal handler: remember the first signal, tell the user."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self.caught = self.caught or number
        said = f"\n{NAMES[number]}: ending after this iteration; Ctrl-C leaves at once\n"
        with contextlib.suppress(OSError):  # the terminal may be gone
            os.write(2, said.encode())  # print is not reentrant: a handler must not use it
        if NAMES[number] == CLOSED:
            redirect_to_devnull(self.terminals)

    @property
    def status(self):
        """The exit status that stands for the signal: 130, 143 or 129."""
        return 128 + self.caught
