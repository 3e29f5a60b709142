"""The numbers of a test, as a table, a CSV or JSON."""

import csv
import json
from pathlib import Path

import numpy as np

from utils import metrics
from utils.evaluation import AREAS, PREDICTORS
from utils.metrics import DECIMALS

WIDTH = 10  # of a column of the table
SHOWN = (1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64, 128)  # frames in the table, with the last


def average(scores):
    """Mean over windows of what `evaluation.score` found in each, every metric still (F,)."""
    return {
        key: {
            name: metrics.mean(name, np.stack([one[key][name] for one in scores]), axis=0)
            for name in values
        }
        for key, values in scores[0].items()
    }


def table(means):
    """The means as text: for each frame the model, the last frame repeated, the difference."""
    model, copy = ({area: means[predictor, area] for area in AREAS} for predictor in PREDICTORS)
    difference = {a: {name: model[a][name] - copy[a][name] for name in DECIMALS} for a in AREAS}
    names = "".join(f"{name:>{WIDTH}}" for name in DECIMALS)
    lines = [
        f"{'':18}{'whole frame':>{len(names)}}    {'moving area':>{len(names)}}",
        f"{'frame':<6}{'':12}{names}    {names}    share",
    ]
    shares = model["moving"]["moving"]
    for k, share in enumerate(shares):
        if k + 1 not in (*SHOWN, len(shares)):
            continue
        rows = {"model": model, "copy last": copy, "difference": difference}
        for label, row in rows.items():
            sign = "+" if label == "difference" else ""
            numbers = [
                "".join(f"{row[area][n][k]:>{sign}{WIDTH}.{d}f}" for n, d in DECIMALS.items())
                for area in AREAS
            ]
            first, last = (k + 1, f"    {share:.1%}") if label == "model" else ("", "")
            lines.append(f"{first:<6}{label:<12}{'    '.join(numbers)}{last}")
    return "\n".join(lines)


def save_csv(path, scores):
    """Write a row for each (video, window), predictor, area and predicted frame.

    scores: {(video name, number of the window's first frame): what `evaluation.score` found}.
    """
    with open(path, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        names = next(iter(next(iter(scores.values())).values()))
        out.writerow(["video", "start", "predictor", "area", "frame", *names])
        for (video, start), found in scores.items():
            for (predictor, area), values in found.items():
                for k, numbers in enumerate(zip(*values.values(), strict=True)):
                    out.writerow([video, start, predictor, area, k + 1, *numbers])


def save_json(path, conditions, means):
    """Write how the numbers were obtained and their means by predictor, area and metric.

    Lists are by predicted frame; null is a mean over nothing, such as a moving area never seen.
    """
    Path(path).write_text(json.dumps({"conditions": conditions, "mean": as_json(means)}, indent=2))


def as_json(means):
    """Means by (predictor, area) -> nested dicts of lists, null for what is not a number."""
    found = {}
    for (predictor, area), values in means.items():
        found.setdefault(predictor, {})[area] = {
            name: [None if np.isnan(x) else float(x) for x in numbers]
            for name, numbers in values.items()
        }
    return found
