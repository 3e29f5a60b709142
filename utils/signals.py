"""The signals that ask a run to end."""

import contextlib
import os
import signal

NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


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


class Signals:
    """In this context SIGINT and SIGTERM are noted in `caught`, which the training loop looks at.

    A second SIGINT ends the process by the system's default action, whatever Python is doing.
    """

    def __init__(self):
        self.caught = None

    def __enter__(self):
        self.before = {number: signal.signal(number, self.note) for number in NAMES}
        return self

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def note(self, number, _):
        """The signal handler: remember the first signal, tell the user."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self.caught = self.caught or number
        said = f"\n{NAMES[number]}: ending after this iteration; Ctrl-C leaves at once\n"
        os.write(2, said.encode())  # a handler that prints could interrupt a print

    @property
    def status(self):
        """The exit status that stands for the signal: 130 or 143."""
        return 128 + self.caught
