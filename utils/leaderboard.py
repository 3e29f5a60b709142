"""Several runs side by side: one table, sorted by the metric asked for."""

import json
from typing import NamedTuple

import numpy as np

from utils import metrics
from utils.evaluation import AREAS
from utils.files import write_rows, write_text
from utils.report import as_json

RECORD, NUMBERS = "leaderboard.json", "leaderboard.csv"
TABLE, PLOT = "leaderboard.md", "leaderboard.png"
FILES = RECORD, NUMBERS, TABLE, PLOT
COPY = "copy last"  # the row for copying the last frame, in every table
HEAD = ("run", "frame 1", "mean", "last", "weights", "GFLOP", "ms/frame", "trained")


class Entry(NamedTuple):
    """A row of the leaderboard: a run, or copying the last frame, which costs nothing."""

    name: str
    means: dict  # {(predictor, area): {metric: (F,)}}
    predictor: str = "model"
    parameters: int = 0
    flops: int = 0  # of one predicted frame, of the largest size
    seconds: float = 0.0  # per predicted frame
    iterations: int | None = None  # of training; None if unknown
    training: float | None = None  # seconds of training; None if unknown

    def curve(self, metric, area):
        """The metric's mean for each predicted frame, (F,)."""
        return self.means[self.predictor, area][metric]


def with_copy(entries):
    """The entries and one for copying the last frame, whose numbers are the same in all runs."""
    return [*entries, Entry(COPY, entries[0].means, "copy", iterations=0, training=0.0)]


def ranked(entries, metric, area):
    """The entries by their mean over the predicted frames, the best first, NaN last."""

    def badness(entry):
        mean = metrics.mean(metric, entry.curve(metric, area))
        if metric == "edge_contrast":
            mean = abs(mean - 1)
        return np.isnan(mean), -mean if metric.startswith(metrics.HIGHER) else mean

    return sorted(entries, key=badness)


def table(entries, metric, area):
    """The entries, in order, as a Markdown table that also reads well on a screen; "-" for NaN."""
    rows = [HEAD]
    for entry in entries:
        curve = entry.curve(metric, area)
        cost = ["", "", "", ""]
        if entry.predictor == "model":
            known = entry.iterations
            cost = [
                f"{entry.parameters / 1e6:.2f} M",
                f"{entry.flops / 1e9:.2f}",
                f"{1000 * entry.seconds:.0f}",
                "?" if known is None else f"{known} it, {entry.training:.0f} s",
            ]
        shown = curve[0], metrics.mean(metric, curve), curve[-1]
        numbers = ["-" if np.isnan(number) else f"{number:#.4g}" for number in shown]
        rows.append((entry.name, *numbers, *cost))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * (w - 1) + ":" if i else "-" * w for i, w in enumerate(widths)])
    lines = [
        " | ".join(cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(cells))
        for cells in (zip(row, widths, strict=True) for row in rows)
    ]
    return "\n".join(f"| {line} |" for line in lines)


def save_csv(path, entries):
    """Write a row for each entry, area and predicted frame, with every metric."""

    def rows():
        names = list(entries[0].means["copy", "whole"])
        costs = ("parameters", "flops", "seconds", "iterations", "training")
        yield ["run", "area", "frame", *names, *costs]
        for entry in entries:
            for area in AREAS:
                curves = (entry.curve(name, area) for name in names)
                for k, numbers in enumerate(zip(*curves, strict=True)):
                    cost = (getattr(entry, name) for name in costs)
                    yield [entry.name, area, k + 1, *numbers, *cost]

    write_rows(path, rows())


def save_json(path, conditions, entries):
    """Write how the numbers were obtained, then each entry with its means and its costs."""
    found = [{**entry._asdict(), "means": as_json(entry.means)} for entry in entries]
    write_text(path, json.dumps({"conditions": conditions, "runs": found}, indent=2) + "\n")
