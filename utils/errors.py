"""Mistakes that are the user's to mend: one line on stderr, exit status 2."""

import functools
import sys


class UserError(Exception):
    """Something the user gave is wrong; the message is one line: what, its value, the cure."""

    status = 2  # of the process that it ends


class Diverged(UserError):
    """A loss, a gradient or a weight has become NaN or infinite."""

    status = 3


def one_line(main):
    """Decorate a script's `main`: a `UserError` is printed as one line and exits with its status,
    2 for most; Ctrl-C exits 130."""

    @functools.wraps(main)
    def run(*args, **kwargs):
        try:
            return main(*args, **kwargs)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(error.status)
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            sys.exit(130)

    return run


def first_line(error):
    """What an exception says, cut to a line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
