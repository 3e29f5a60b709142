"""The page that shows a test: its numbers beside its pictures."""

import json
from pathlib import Path

import jinja2
import numpy as np

from utils import report
from utils.curves import TITLES
from utils.evaluation import PREDICTORS
from utils.files import write_text
from utils.metrics import DECIMALS, HIGHER

TEMPLATE = Path(__file__).with_suffix(".html")


def save(path, title, scores, gifs, conditions, **files):
    """Write a test as an HTML page.

    scores: {(video, first frame): what `evaluation.score` returns}. gifs: {video: file name}.
    conditions: how the numbers came about, as JSON types. files: names, in the page's folder, of
    what the template calls numbers, record, curves and sheet.
    """
    windows = {}
    for (video, _), found in scores.items():
        windows.setdefault(video, []).append(found)
    videos = {video: report.over_frames(report.average(found)) for video, found in windows.items()}
    frames = report.by_frame(report.average(list(scores.values())))
    areas = [
        {"title": name, "frames": rows(frames, area), "videos": rows(videos, area)}
        for area, name in reversed(TITLES.items())
    ]
    template = jinja2.Environment(autoescape=True).from_string(TEMPLATE.read_text("utf-8"))
    content = template.render(
        title=title,
        frames=len(next(iter(scores.values()))["model", "whole"]["moving"]),
        windows=len(scores),
        videos=videos,
        metrics=list(DECIMALS),
        areas=areas,
        gifs=gifs,
        conditions=json.dumps(conditions, indent=2),
        **files,
    )
    write_text(path, content)


def rows(means, area):
    """[(label, cells)] from {label: {(predictor, area): {metric: value}}}; a cell is (text, whether
    it is better than the other predictor's)."""
    return [
        (label, [cell for name in DECIMALS for cell in pair(values, area, name)])
        for label, values in means.items()
    ]


def pair(values, area, name):
    """The cells of a metric: the model's, the copy's."""
    model, copy = (values[predictor, area][name] for predictor in PREDICTORS)
    lead = model - copy if name.startswith(HIGHER) else copy - model
    texts = ("–" if np.isnan(x) else f"{x:.{DECIMALS[name]}f}" for x in (model, copy))
    return list(zip(texts, (lead > 0, lead < 0), strict=True))
