"""stdout and stderr, which may be closed, full or no longer read."""

import os
import select


def find_terminals():
    """Which of stdout and stderr, by number, are terminals."""
    return [file for file in (1, 2) if os.isatty(file)]


def redirect_to_devnull(files):
    """Discard what is written to these file descriptors; to a closed terminal it would fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for file in files:
        os.dup2(nowhere, file)


class BestEffortStream:
    """Wraps stderr: once it cannot be written to, what is printed is dropped.

    A run must not end because its log is on a full disk or its pager has been closed.
    """

    def __init__(self, stream):
        self.stream = stream

    def write(self, text):
        """Write, as to any stream, but ignore failure."""
        try:
            self.stream.write(text)
        except OSError:
            redirect_to_devnull([2])
        return len(text)

    def flush(self):
        """Flush, as of any stream, but ignore failure."""
        try:
            self.stream.flush()
        except OSError:
            redirect_to_devnull([2])

    def __getattr__(self, name):
        return getattr(self.stream, name)


def reader_has_gone(stream):
    """Whether the other end of a stream is closed; False for None, which a closed stdout is."""
    if stream is None:
        return False
    poll = select.poll()
    poll.register(stream.fileno(), 0)  # errors and hang-ups are reported without being asked for
    return bool(poll.poll(0))
