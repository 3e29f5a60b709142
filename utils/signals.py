"""The signals that ask a run to end."""

import contextlib
import os
import signal

CLOSED = "the terminal has closed"
NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: CLOSED}


@contextlib.contextmanager
def ctrl_c_exits():
    """In this context, where there is nothing to save, Ctrl-C ends the process at once.

    A KeyboardInterrupt could break the import of a C extension, or be taken for its failure.
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
    """Threads and processes that are started in this context never hear of Ctrl-C.

    This thread does, at its end, by KeyboardInterrupt.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def signals_as_ctrl_c():
    """In this context SIGTERM and SIGHUP, too, raise KeyboardInterrupt; `exit_status` tells which.

    What is ignored, as SIGHUP is under nohup, stays so.
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
    """In this context Ctrl-C, SIGTERM, SIGHUP wait for its end."""
    caught = []
    try:
        with handling(lambda number, _: caught.append(number), active_signals()):
            yield
    finally:
        if caught:
            signal.raise_signal(caught[0])


@contextlib.contextmanager
def handling(handler, numbers):
    """In this context these signals are for the handler."""
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
    """Have a worker go on at Ctrl-C and when the terminal closes: its parent ends it."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def find_terminals():
    """Which of stdout and stderr, by number, are terminals."""
    return [file for file in (1, 2) if os.isatty(file)]


def redirect_to_devnull(files):
    """Have what is printed go nowhere: to a terminal that has closed it would be an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for file in files:
        os.dup2(nowhere, file)


class Signals:
    """In this context SIGINT, SIGTERM, SIGHUP are noted in `caught`, which training looks at.

    A second SIGINT ends the process by the system's default action, whatever Python is doing.
    What is ignored, as SIGHUP is under nohup, stays so, but for SIGINT.
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
        with contextlib.suppress(OSError):  # of a terminal that is gone
            os.write(2, said.encode())  # a handler that prints could interrupt a print
        if NAMES[number] == CLOSED:
            redirect_to_devnull(self.terminals)

    @property
    def status(self):
        """The exit status that stands for the signal: 130, 143 or 129."""
        return 128 + self.caught
