"""The numbers of a test, as a table, a CSV or JSON."""

import json

import numpy as np

from utils import metrics
from utils.evaluation import AREAS, PREDICTORS
from utils.files import write_rows, write_text
from utils.metrics import DECIMALS

WIDTH = 10  # of a column of the table
SHOWN = (*range(1, 11), 16, 32, 64, 128)  # frames in the table, and the last one


def average(scores):
    """Means over windows: a list of what `evaluation.score` returns -> the same with (F,) means."""
    return {
        key: {
            name: metrics.mean(name, np.stack([one[key][name] for one in scores]), axis=0)
            for name in values
        }
        for key, values in scores[0].items()
    }


def table(means):
    """The means of `average` as text: of each frame SHOWN and of all, the model, the last frame
    repeated and the difference; "-" stands for NaN."""
    names = "".join(f"{name:>{WIDTH}}" for name in DECIMALS)
    lines = [
        f"{'':18}{'whole frame':>{len(names)}}    {'moving area':>{len(names)}}",
        f"{'frame':<6}{'':12}{names}    {names}    share",
    ]
    for label, values in by_frame(means).items():
        model, copy = (
            {area: values[predictor, area] for area in AREAS} for predictor in PREDICTORS
        )
        gain = {a: {name: model[a][name] - copy[a][name] for name in DECIMALS} for a in AREAS}
        share = f"    {model['moving']['moving']:.1%}"
        lines.append(f"{label:<6}{'model':<12}{cells(model)}{share}")
        lines.append(f"{'':6}{'copy last':<12}{cells(copy)}")
        lines.append(f"{'':6}{'difference':<12}{cells(gain, '+')}")
    return "\n".join(lines)


def by_frame(means):
    """{frame SHOWN or "mean": {(predictor, area): {metric: value}}}."""
    count = len(means["model", "whole"]["moving"])
    frames = {k: at(means, k - 1) for k in range(1, count + 1) if k in (*SHOWN, count)}
    return {**frames, "mean": over_frames(means)}


def at(means, k):
    """{(predictor, area): {metric: mean of the frame with index k}}."""
    return {
        key: {name: curve[k] for name, curve in values.items()} for key, values in means.items()
    }


def over_frames(means):
    """{(predictor, area): {metric: mean of all predicted frames}}."""
    return {
        key: {name: metrics.mean(name, curve) for name, curve in values.items()}
        for key, values in means.items()
    }


def cells(row, sign=""):
    """Numbers {area: {metric: value}} as columns of the table."""

    def cell(value, decimals):
        text = "-" if np.isnan(value) else f"{value:{sign}.{decimals}f}"
        return f"{text:>{WIDTH}}"

    return "    ".join(
        "".join(cell(row[area][name], decimals) for name, decimals in DECIMALS.items())
        for area in AREAS
    )


def save_csv(path, scores):
    """Write a row for each (video, window), predictor, area and predicted frame.

    scores: {(video name, number of the window's first frame): what `evaluation.score` found}.
    """

    def rows():
        names = next(iter(next(iter(scores.values())).values()))
        yield ["video", "start", "predictor", "area", "frame", *names]
        for (video, start), found in scores.items():
            for (predictor, area), values in found.items():
                for k, numbers in enumerate(zip(*values.values(), strict=True)):
                    yield [video, start, predictor, area, k + 1, *numbers]

    write_rows(path, rows())


def save_json(path, conditions, means):
    """Write how the numbers were obtained and their means by predictor, area and metric.

    "mean" has lists by predicted frame, "overall" the means of all frames. A mean of nothing, for
    instance over a moving area that is always empty, is null.
    """
    content = {"mean": as_json(means), "overall": as_json(over_frames(means))}
    write_text(path, json.dumps({"conditions": conditions, **content}, indent=2))


def as_json(means):
    """Means by (predictor, area) -> nested dicts of lists or numbers, None for NaN."""
    found = {}
    for (predictor, area), values in means.items():
        found.setdefault(predictor, {})[area] = {
            name: np.where(np.isnan(numbers), None, numbers).tolist()
            for name, numbers in values.items()
        }
    return found
