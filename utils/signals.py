"""The signals that ask a run to end."""

import contextlib
import os
import signal

NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


@contextlib.contextmanager
def leaving_at_once():
    """Inside this context, where nothing is to be saved, Ctrl-C ends the process as it stands.

    Modules in C that are being imported take an exception for a fault of theirs, or break.
    """
    before = signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def leave(number, _):
    os.write(2, b"stopped\n")
    os._exit(128 + number)


class Signals:
    """Inside this context SIGINT and SIGTERM are noted in `caught`, for the loop to look at.

    A second SIGINT ends the process at once, by the system's own hand: no Python code has to run.
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
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self.caught = self.caught or number
        said = f"\n{NAMES[number]}: ending after this iteration; Ctrl-C leaves at once\n"
        os.write(2, said.encode())  # print could meet itself in the middle of a line

    @property
    def status(self):
        """The exit status that tells of the signal: 130 or 143."""
        return 128 + self.caught
