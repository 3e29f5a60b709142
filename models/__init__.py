"""Networks that predict the next frames of a video, each found by its `build` function."""

import importlib
import inspect
import pkgutil

WIDTHS = ("paper", "small")  # an architecture's feature maps as published, or an eighth of them


def builders():
    """Return {architecture name: its build function}, one for each file here that has a `build`."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        build = getattr(importlib.import_module(f"{__name__}.{module.name}"), "build", None)
        if build:
            found[module.name.replace("_", "-")] = build
    return found


def create(arch, history, horizon, channels, size, **options):
    """Build the architecture called `arch` for clips of (height, width) `size`.

    `options` are its own (a pyramid, a width); None stands for the architecture's default.
    Raises ValueError, in one line, for an unknown name or an option the architecture does not have.
    """
    known = builders()
    if arch not in known:
        raise ValueError(f"--arch {arch}: no such architecture; choose from {', '.join(known)}")
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in inspect.signature(known[arch]).parameters:
            raise ValueError(f"--{name} {given[name]}: {arch} has no such option; leave it out")
    if given.get("width", WIDTHS[0]) not in WIDTHS:
        raise ValueError(f"--width {given['width']}: choose from {', '.join(WIDTHS)}")
    model = known[arch](history, horizon, channels, size, **given)
    if any(length % model.multiple for length in size):
        raise ValueError(
            f"--arch {arch}: learns from clips whose height and width are multiples of "
            f"{model.multiple}; these are {size[0]}x{size[1]}"
        )
    return model
