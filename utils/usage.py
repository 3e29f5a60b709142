"""How the scripts take their options."""

import argparse
import math
import os
from pathlib import Path

from utils.errors import UserError
from utils.recipe import MOST_PIXELS

AXES = ("THW", "NTHW", "THWC", "NTHWC")


class Parser(argparse.ArgumentParser):
    """Its help shows defaults; a mistake on the command line is one line and exit status 2.

    The help begins with the first line of `doc`, a script's, which `python -OO` leaves out.
    """

    def __init__(self, doc, epilog=None):
        description = doc and doc.partition("\n")[0]
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


def checked(wanted, read):
    """An argument type: what `read` makes of the text; where it cannot, `wanted` is the cure told.

    `read` raises ValueError for an invalid text.
    """

    def convert(text):
        try:
            return read(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not valid; give {wanted}") from None

    return convert


def integer(least, most=math.inf):
    """An argument type: an integer from `least` to `most`."""

    def read_integer(text):
        if not least <= int(text) <= most:
            raise ValueError
        return int(text)

    return checked(f"a whole number {between(least, most)}", read_integer)


def number(least, most=math.inf):
    """An argument type: a finite number from `least` to `most`."""

    def real(text):
        if not (least <= float(text) <= most and math.isfinite(float(text))):
            raise ValueError
        return float(text)

    return checked(f"a number {between(least, most)}", real)


def given(text):
    """The text, which is not empty; a home for "~", which shells leave alone in --out=~/clips."""
    if not text:
        raise ValueError
    return os.path.expanduser(text)


def local(text):
    """The text, which is neither empty nor a URL."""
    if "://" in given(text):
        raise ValueError
    return given(text)


def known_axes(text):
    """Letters that name the axes of an array, in capitals."""
    if sorted(text.upper()) not in map(sorted, AXES):
        raise ValueError
    return text.upper()


def file_path(text):
    """An argument type: a file that exists, as a Path."""
    path = Path(text).expanduser()
    if not path.is_file():
        raise UserError(f"no file {text!r}: give the place of one that is there")
    return path


def folder_path(text):
    """An argument type: a folder that exists, as a Path."""
    path = Path(text).expanduser()
    if not path.is_dir():
        raise UserError(f"no folder {text!r}: give the place of the unpacked data set")
    return path


path_or_url = checked("a path or a URL", given)  # an empty one would be the current directory
local_path = checked("a path on this machine, no URL", local)
axes = checked(f"an order of {', '.join(AXES)}", known_axes)


class Sides(argparse.Action):
    """Takes a height and a width, or one number, as a tuple."""

    def __call__(self, parser, namespace, values, option_string=None):
        if len(values) > 2:
            reason = f"{len(values)} numbers; give one, or height and width"
            parser.error(f"argument {option_string}: {reason}")
        setattr(namespace, self.dest, tuple(values))


PIXELS = {"action": Sides, "type": integer(2, MOST_PIXELS), "nargs": "+", "metavar": "PIXELS"}


def add_look(add, learned=False):
    """Add the options of how videos are seen, --axes, --step, --resize, by `add_argument`.

    learned: --step and --resize that are not given, None, mean what a network has learned from;
    --resize without numbers, (), then asks for frames as they are.
    """
    order = "order of the axes of arrays, where it is ambiguous"
    add("--axes", type=axes, metavar="TNHW", help=order)
    step = "take every N-th frame"
    resize = "scale frames to this height and width, or their shorter side to one number"
    if learned:
        usual = "(default: as in training)"
        add("--step", type=integer(1), metavar="N", help=f"{step} {usual}")
        as_is = "without numbers leave them as they are"
        add("--resize", **PIXELS | {"nargs": "*"}, help=f"{resize}; {as_is} {usual}")
    else:
        add("--step", type=integer(1), default=1, metavar="N", help=step)
        add("--resize", **PIXELS, help=resize)
