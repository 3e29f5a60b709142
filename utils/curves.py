"""Curves of metrics over the predicted frames, for one run or several."""

import warnings

from utils.evaluation import AREAS
from utils.files import write_whole

TITLES = {"whole": "whole frame", "moving": "moving area"}


def save(path, entries, names):
    """Draw a row for each of the metrics `names`, the whole frame beside the moving area, as PNG.

    entries: list of leaderboard.Entry, a curve each.
    """
    from utils.figures import Figure, MaxNLocator, cycler, rcParams

    figure = Figure(figsize=(13, 1.5 + 3 * len(names)), layout="constrained")
    styles = cycler(linestyle=("-", ":", "-.")) * rcParams["axes.prop_cycle"]  # for many runs
    copy = {"color": "black", "linestyle": "--", "zorder": 3}  # drawn on top of equal curves
    grid = figure.subplots(len(names), len(AREAS), squeeze=False)
    for row, name in zip(grid, names, strict=True):
        row[0].set_ylabel(name)
        for axes, area in zip(row, AREAS, strict=True):
            axes.set_prop_cycle(styles)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axes.grid(alpha=0.3)
            lines = []
            for entry in entries:
                curve = entry.curve(name, area)
                style = copy if entry.predictor == "copy" else {}
                lines += axes.plot(range(1, len(curve) + 1), curve, marker=".", **style)
    for above, below, area in zip(grid[0], grid[-1], AREAS, strict=True):
        above.set_title(TITLES[area])
        below.set_xlabel("frame")
    labels = [f" {entry.name}" for entry in entries]  # legends omit names that begin with _
    legend = figure.legend(lines, labels, loc="outside right upper", fontsize="small")
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name may contain $
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # characters the font lacks are drawn as boxes
        write_whole(path, lambda file: figure.savefig(file, format="png", dpi=120))
