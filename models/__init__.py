"""Networks that predict the next frames of a video, each found by its `build` function.

A new architecture is one file here with a function build(history, horizon, channels, size, ...)
that returns a Predictor (models/predictor.py). Its name is the file's, with hyphens. Further
arguments, which have defaults, are its own options: --model-options sets them, but for `pyramid`
and `width`, which are options of train.py.
"""

import importlib
import inspect
import pkgutil

OF_TRAIN = ("pyramid", "width")  # options of train.py, since the discriminators follow them, too
LARGEST = 2**12  # value of an architecture's integer option: with more maps memory would run out
SWITCH = {"true": True, "false": False}
VALUES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def builders():
    """Return {architecture name: its build function}, one for each file here that has a `build`."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        build = getattr(importlib.import_module(f"{__name__}.{module.name}"), "build", None)
        if build:
            found[module.name.replace("_", "-")] = build
    return found


def find(arch):
    """The build function of the architecture called `arch`; ValueError for an unknown one."""
    known = builders()
    if arch not in known:
        raise ValueError(f"--arch {arch}: no such architecture; choose from {', '.join(known)}")
    return known[arch]


def own_options(arch):
    """{name: default} of the architecture's own options."""
    parameters = inspect.signature(find(arch)).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def parse_options(arch, text):
    """Parse "noise=0.1,maps=8" -> {name: value}, each value of the same type as its default.

    Raises ValueError, in one line, for an option that the architecture does not have, that is given
    twice or that is an option of train.py, and for a value of another type.
    """
    found = {}
    defaults = {name: value for name, value in own_options(arch).items() if name not in OF_TRAIN}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        if name in OF_TRAIN:
            raise ValueError(f"--model-options {text}: give {name} as --{name} {value or 'VALUE'}")
        if name not in defaults:
            known = ", ".join(defaults) or "none"
            raise ValueError(
                f"--model-options {text}: {arch} has no {name!r}; its own are: {known}"
            )
        if name in found:
            raise ValueError(f"--model-options {text}: {name} is given twice; give it once")
        kind = type(defaults[name])
        try:
            found[name] = SWITCH[value.lower()] if kind is bool else kind(value)
        except (KeyError, ValueError):
            raise ValueError(f"--model-options {text}: {name} is {VALUES[kind]}") from None
    return found


def create(arch, history, horizon, channels, size, **options):
    """Build the Predictor called `arch` for clips of `size` (height, width), pixels.

    history, horizon: numbers of past and of predicted frames. `options` are the architecture's own
    (a pyramid, a width); None stands for its default. Raises ValueError, in one line, for an
    unknown name, option or width, or a size that the architecture cannot learn from.
    """
    build, defaults = find(arch), own_options(arch)
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in defaults:
            raise ValueError(f"--{name} {given[name]}: {arch} has no such option; leave it out")
        if isinstance(given[name], str) != isinstance(defaults[name], str | None):
            raise ValueError(f"--{name} {given[name]!r}: is of another type here; give it anew")
        if type(given[name]) is int and not 1 <= given[name] <= LARGEST:
            raise ValueError(f"--model-options {name}={given[name]}: must be from 1 to {LARGEST}")
    model = build(history, horizon, channels, size, **given)
    if any(length % model.multiple for length in size):
        other = "--pyramid" if len(model.factors) > 1 else "--arch"
        raise ValueError(
            f"--arch {arch}: learns from clips whose height and width are multiples of "
            f"{model.multiple}, these are {size[0]}x{size[1]}; cut them by another --size or give "
            f"another {other}"
        )
    return model
