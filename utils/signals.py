"""The signals that ask a run to end."""

import contextlib
import os
import signal

CLOSED = "the terminal has closed"
NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: CLOSED}


@contextlib.contextmanager
def leaving_at_once():
    """In this context, where there is nothing to save, Ctrl-C ends the process at once.

    A KeyboardInterrupt could break the import of a C extension, or be taken for its failure.
    """
    before = signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def leave(number, _):
    """A signal handler that ends the process without running any other Python code."""
    os.write(2, b"stopped\n")
    os._exit(128 + number)


@contextlib.contextmanager
def deaf_to_ctrl_c():
    """Threads and processes that are started in this context never hear of Ctrl-C.

    This thread does, at its end, by KeyboardInterrupt.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def sigterm_as_ctrl_c():
    """In this context SIGTERM raises KeyboardInterrupt, too."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def signals_later():
    """In this context Ctrl-C and SIGTERM wait for its end."""
    caught = []
    numbers = signal.SIGINT, signal.SIGTERM
    before = [signal.signal(number, lambda number, _: caught.append(number)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
        if caught:
            signal.raise_signal(caught[0])


class Signals:
    """In this context SIGINT, SIGTERM, SIGHUP are noted in `caught`, which training looks at.

    A second SIGINT ends the process by the system's default action, whatever Python is doing.
    What is ignored, as SIGHUP is under nohup, stays so, but for SIGINT.
    """

    def __init__(self):
        self.caught = None

    def __enter__(self):
        self.terminals = [file for file in (1, 2) if os.isatty(file)]
        heard = [n for n in NAMES if n == signal.SIGINT or signal.getsignal(n) != signal.SIG_IGN]
        self.before = {number: signal.signal(number, self.note) for number in heard}
        return self

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def note(self, number, _):
        """The signal handler: remember the first signal, tell the user."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self.caught = self.caught or number
        said = f"\n{NAMES[number]}: ending after this iteration; Ctrl-C leaves at once\n"
        with contextlib.suppress(OSError):  # of a terminal that is gone
            os.write(2, said.encode())  # a handler that prints could interrupt a print
        if NAMES[number] == CLOSED:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for file in self.terminals:  # where whatever is printed would now be an error
                os.dup2(nowhere, file)

    @property
    def status(self):
        """The exit status that stands for the signal: 130, 143 or 129."""
        return 128 + self.caught
