"""How the scripts take their options."""

import argparse
import math
import os
from pathlib import Path

from utils.errors import UserError
from utils.names import is_url, on_one_line
from utils.recipe import MOST_PIXELS

AXES = ("THW", "NTHW", "THWC", "NTHWC")


class Parser(argparse.ArgumentParser):
    """ArgumentParser whose help shows defaults, and whose errors are one line and exit status 2.

    doc: the script's __doc__, of which the help shows the first line; None under `python -OO`.
    """

    def __init__(self, doc, epilog=None):
        description = doc and doc.partition("\n")[0]
        super().__init__(description=description, epilog=epilog, formatter_class=Help)

    def error(self, message):
        self.exit(2, f"error: {on_one_line(message)}; {self.prog} --help tells more\n")


class Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults, but neither None nor False, and lists as they are typed."""

    def _get_help_string(self, action):
        if action.default is None or action.default is False:
            return action.help
        if isinstance(action.default, list):
            return f"{action.help} (default: {' '.join(map(str, action.default))})"
        return super()._get_help_string(action)


def between(least, most):
    """The bounds in words: "from 1 to 9", or "from 1 up" if `most` is infinite."""
    return f"from {least} " + (f"to {most}" if most < math.inf else "up")


def checked(wanted, read):
    """An argument type: read(text), whose ValueError becomes a message that asks for `wanted`."""

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


def not_empty(text):
    """The text, which is not empty."""
    if not text:
        raise ValueError
    return text


def expand_home(text):
    """The text, which is not empty, with "~" expanded: shells leave it alone in --out=~/clips."""
    return os.path.expanduser(not_empty(text))


def expand_local(text):
    """The text, which is neither empty nor a URL."""
    if is_url(expand_home(text)):
        raise ValueError
    return expand_home(text)


def known_axes(text):
    """Letters that name the axes of an array, in capitals."""
    if sorted(text.upper()) not in map(sorted, AXES):
        raise ValueError
    return text.upper()


def file_path(text):
    """An argument type: a file that exists, as a Path."""
    path = Path(os.path.expanduser(text))
    if not path.is_file():
        raise UserError(f"no file {text!r}: give the place of one that is there")
    return path


def folder_path(text):
    """An argument type: a folder that exists, as a Path."""
    path = Path(os.path.expanduser(text))
    if not text or not path.is_dir():  # an empty one would be the current directory
        raise UserError(f"no folder {text!r}: give the place of the unpacked data set")
    return path


def refuse_among(flag, paths, out):
    """UserError if the folder `out`, of --out, would lie among the videos at `paths`, of `flag`."""
    for path in map(Path, paths):
        if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
            problem = f"--out {out} lies in {flag} {path}: the next run would take it for videos"
            raise UserError(f"{problem}; give another")


address = checked("an address such as tcp://HOST:8786", not_empty)
path_or_url = checked("a path or a URL", expand_home)  # an empty one would be the current directory
local_path = checked("a path on this machine, no URL", expand_local)
axes = checked(f"an order of {', '.join(AXES)}", known_axes)


class Sides(argparse.Action):
    """Stores a height and a width, or one number for both, as a tuple."""

    def __call__(self, parser, namespace, values, option_string=None):
        if len(values) > 2:
            reason = f"{len(values)} numbers; give one, or height and width"
            parser.error(f"argument {option_string}: {reason}")
        setattr(namespace, self.dest, tuple(values))


COUNT = {"type": integer(1), "metavar": "N"}
PIXELS = {"action": Sides, "type": integer(2, MOST_PIXELS), "nargs": "+", "metavar": "PIXELS"}


STEP = "take every N-th frame"
RESIZE = "scale frames to this height and width, or their shorter side to one number"


def add_look(add):
    """Add --axes, --step and --resize: how videos are read; add: `parser.add_argument`."""
    add_axes(add)
    add("--step", default=1, **COUNT, help=STEP)
    add("--resize", **PIXELS, help=RESIZE)


def add_learned_look(add):
    """Add the options of `add_look`; by default videos are read as those that were learned from.

    --step and --resize are then None; --resize without numbers, (), asks for frames of their own
    size.
    """
    add_axes(add)
    usual = "(default: as in training)"
    add("--step", **COUNT, help=f"{STEP} {usual}")
    text = f"{RESIZE}; without numbers leave them as they are {usual}"
    add("--resize", **PIXELS | {"nargs": "*"}, help=text)


def add_axes(add):
    """Add --axes, of arrays."""
    text = "order of the axes of arrays, where it is ambiguous"
    add("--axes", type=axes, metavar="TNHW", help=text)


def add_device(add, dtypes):
    """Add --gpu and --dtype, which say what computes and how precisely; dtypes: the choices."""
    text = "CUDA device; -1 is the CPU"
    add("-g", "--gpu", type=integer(-1), default=-1, metavar="ID", help=text)
    text = "precision of multiplications (default: tf32 on a GPU, float32 on a CPU)"
    add("--dtype", choices=dtypes, help=text)
