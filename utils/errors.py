"""Mistakes that are the user's to mend: one line on stderr, exit status 2."""

import functools
import sys


class UserError(Exception):
    """Something the user gave is wrong; the message is one line: what, its value, the cure."""


def one_line(main):
    """Decorate a script's `main`: a `UserError` is printed as one line and exits 2, Ctrl-C 130."""

    @functools.wraps(main)
    def run(*args, **kwargs):
        try:
            return main(*args, **kwargs)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            sys.exit(130)

    return run
