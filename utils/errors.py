"""Mistakes that the user can correct: one line on stderr, exit status 2."""

import contextlib
import errno
import functools
import os
import sys
import textwrap

from utils.names import on_one_line
from utils.streams import BestEffortStream, reader_has_gone, redirect_to_devnull

MESSAGE = 400  # characters kept of an exception's message: some quote whole files


class UserError(Exception):
    """Something the user gave is wrong; the message is one line: what, its value, the cure."""

    status = 2  # exit status of the program


class Diverged(UserError):
    """A loss, a gradient or a weight has become NaN or infinite."""

    status = 3


def report_errors(main):
    """Decorate a script's `main`: a `UserError` is printed as one line and exits with its status.

    So is an OSError, a MemoryError, a missing package or a name that the system's encoding lacks,
    with status 2. Ctrl-C exits with 130. Where the reader of stdout has gone, the status is 141,
    without a message. If stderr cannot be written to, messages are dropped and the program goes
    on.
    """

    @functools.wraps(main)
    def run(*args, **kwargs):
        with contextlib.suppress(AttributeError):  # a notebook's stdout has no reconfigure
            sys.stdout.reconfigure(errors="backslashreplace")  # file names it cannot encode
        if sys.stderr is None:  # closed, as by 2>&-
            sys.stderr = open(os.devnull, "w")  # noqa: SIM115, open to the end
        with contextlib.redirect_stderr(BestEffortStream(sys.stderr)):
            try:
                result = main(*args, **kwargs)
                flush_stdout()
                return result
            except EXPLAINED as error:
                if isinstance(error, BrokenPipeError) and reader_has_gone(sys.stdout):  # `| head`
                    redirect_to_devnull([sys.stdout.fileno()])  # else Python's flush at exit fails
                    sys.exit(141)
                message, status = explain(error)
            print(on_one_line(message), file=sys.stderr)
            sys.exit(status)

    return run


def flush_stdout():
    """Write out what was printed: a failure is reported here, not at exit."""
    try:
        print(end="", flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        redirect_to_devnull([sys.stdout.fileno()])  # else Python's flush at exit fails
        why = f"what was to be printed cannot be ({reason(error)})"
        raise UserError(f"{why}; all else is done") from None


EXPLAINED = (
    *(UserError, KeyboardInterrupt, OSError, MemoryError, ModuleNotFoundError),
    UnicodeEncodeError,  # of a file's name
)


def explain(error):
    """(message of one line, exit status) for one of the exceptions EXPLAINED."""
    if isinstance(error, UserError):
        return f"error: {error}", error.status
    if isinstance(error, KeyboardInterrupt):
        return "stopped", 130
    if isinstance(error, MemoryError):
        return f"error: out of memory ({reason(error)}); ask for less", 2
    if isinstance(error, ModuleNotFoundError):
        cure = "is this the Python of .venv? README.md tells how to install"
        return f"error: {sys.executable} has no {error.name}: {cure}", 2
    if isinstance(error, UnicodeEncodeError):
        cure = "set PYTHONUTF8=1, or rename it"
        return f"error: {error.object!a}: no name in {error.encoding}; {cure}", 2
    return f"error: {reason(error)}", 2


@contextlib.contextmanager
def when_out_of_memory(cure):
    """Context in which running out of memory, the host's or a GPU's, is a UserError."""
    try:
        yield
    except MemoryError as error:  # CuPy's OutOfMemoryError is a subclass
        raise UserError(f"out of memory ({reason(error)}); {cure}") from None


def reason(error):
    """Why an exception was raised, on one line of at most MESSAGE characters.

    For an OSError: the file it names, the system's message. For any other, and where the system
    gave none: its own message, or its type if that is empty.
    """
    where, why = "", str(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        why = error.strerror or why
    return where + (textwrap.shorten(why, MESSAGE, placeholder="...") or type(error).__name__)


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def writing_to(place):
    """Context that turns an OSError into a UserError: what cannot be written, with the cure."""
    try:
        yield
    except BrokenPipeError:  # from printing, not from writing to `place`
        raise
    except OSError as error:
        where, why = error.filename or place, error.strerror or error
        cure = "make room or give another place" if error.errno in FULL else "give another place"
        raise UserError(f"cannot write to {where}: {why}; {cure}") from None


def warn(message):
    """Print a warning as one line on stderr."""
    print(on_one_line(f"warning: {message}"), file=sys.stderr)
