"""How the scripts take their options."""

import argparse
import math

AXES = ("THW", "NTHW", "THWC", "NTHWC")


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


def between(least, most):
    """The bounds in words."""
    return f"from {least} " + (f"to {most}" if most < math.inf else "up")


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


def axes(text):
    """An argument type: letters that name the axes of an array."""
    if sorted(text.upper()) not in map(sorted, AXES):
        raise ValueError
    return text.upper()


axes.__name__ = f"order of {', '.join(AXES)}"


class Sides(argparse.Action):
    """Takes a height and a width, or one number, as a tuple."""

    def __call__(self, parser, namespace, values, option_string=None):
        if len(values) > 2:
            reason = f"{len(values)} numbers; give one, or height and width"
            parser.error(f"argument {option_string}: {reason}")
        setattr(namespace, self.dest, tuple(values))


PIXELS = {"action": Sides, "type": whole(2, 2**14), "nargs": "+", "metavar": "PIXELS"}


def add_look(add):
    """Add the options of how videos are seen, --axes, --step, --resize, by `add_argument`."""
    order = "what the axes of arrays are, where that is not plain"
    add("--axes", type=axes, metavar="TNHW", help=order)
    add("--step", type=whole(1), default=1, metavar="N", help="take every N-th frame")
    resize = "scale frames to this height and width, or their shorter side to one number"
    add("--resize", **PIXELS, help=resize)
