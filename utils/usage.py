"""How the scripts take their options."""

import argparse
import math


class Parser(argparse.ArgumentParser):
    """Its help shows defaults; a mistake on the command line is one line and exit status 2."""

    def __init__(self, description, epilog=None):
        super().__init__(description=description, epilog=epilog, formatter_class=Help)

    def error(self, message):
        self.exit(2, f"error: {message}; {self.prog} --help tells more\n")


class Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults, but neither None nor False, and lists as they are typed."""

    def _get_help_string(self, action):
        if action.default is None or action.default is False:
            return action.help
        if isinstance(action.default, list):
            return f"{action.help} (default: {' '.join(map(str, action.default))})"
        return super()._get_help_string(action)


def whole(least, most=math.inf):
    """An argument type: an integer from `least` to `most`."""

    def integer(text):
        if not least <= int(text) <= most:
            raise ValueError
        return int(text)

    integer.__name__ = f"whole number {between(least, most)}"  # argparse puts it into its message
    return integer


def number(least, most=math.inf):
    """An argument type: a finite number from `least` to `most`."""

    def real(text):
        if not (least <= float(text) <= most and math.isfinite(float(text))):
            raise ValueError
        return float(text)

    real.__name__ = f"number {between(least, most)}"
    return real


def place(text):
    """An argument type: a path or a URL; an empty one would be the current directory."""
    if not text:
        raise ValueError
    return text


def between(least, most):
    """The bounds in words."""
    return f"from {least} " + (f"to {most}" if most < math.inf else "up")
