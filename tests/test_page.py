"""The page that shows a test."""

from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest

import models
from utils import page, report
from utils.evaluation import score
from utils.pixels import normalise
from utils.trial import PAGE, examine_videos
from utils.videos import find_videos


class Read(HTMLParser):
    """What a page holds: text of cells, by row; which of them are marked; files; all text."""

    def __init__(self, path):
        super().__init__()
        self.rows, self.best, self.files, self.text, self.tags = [], [], [], "", []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
            self.best.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.best[-1].append(attributes.get("class") == "best")
        if link := attributes.get("href") or attributes.get("src"):
            self.files.append(unquote(link))

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.tags.append("/cell")

    def handle_data(self, data):
        self.text += data
        if self.tags and self.tags[-1] in ("td", "th"):
            self.rows[-1][-1] += data


@pytest.fixture
def clip():
    """A square that moves for eight frames, after four; then it stands still."""
    frames = np.zeros((12, 3, 32, 32), np.uint8)
    for t in range(12):
        frames[t, :, 10:20, 2 + min(t, 10) : 12 + min(t, 10)] = 200
    return frames


def test_the_tables_hold_the_means_and_mark_the_better(clip, tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.3, (8, 3, 32, 32))
    good, bad = (score(normalise(clip[4:]) + k * noise, clip) for k in (0.1, 9))
    scores = {("a", 0): good, ("a", 5): good, ("b", 0): bad}
    files = dict.fromkeys(("numbers", "record", "curves", "sheet"), "x")
    page.save(tmp_path / "p.html", "run", scores, {}, {}, **files)
    found = Read(tmp_path / "p.html")
    assert "8 frames predicted at 3 places of 2 videos" in found.text
    labels = [row[0] for row in found.rows]
    frames = [*map(str, range(1, 9)), "mean"]
    head = ["frame", "model"]
    assert labels == (head + frames) * 2 + (["video", "model"] + ["a", "b"]) * 2

    means = report.average(list(scores.values()))
    moving = found.rows[2]
    for place, predictor in ((1, "model"), (2, "copy")):
        assert moving[place] == f"{means[predictor, 'moving']['psnr'][0]:.2f}"
        assert moving[place + 2] == f"{means[predictor, 'moving']['ssim'][0]:.4f}"
    assert found.best[2][1:5] == [True, False, True, False]
    assert found.rows[9][1:3] == ["–", "–"]  # nothing moves in the last frame
    assert not any(found.best[9])
    a, b = (found.best[labels.index(name)] for name in "ab")
    for psnr_or_mse in (slice(1, 3), slice(7, 9)):  # the higher, the smaller is the better
        assert (a[psnr_or_mse], b[psnr_or_mse]) == ([True, False], [False, True])


def test_names_are_shown_as_they_are_and_every_file_is_there(clip, tmp_path):
    folder = tmp_path / "films"
    for name in ("<b>&\"'", "100%41 #1?", "日 本"):
        folder.joinpath(name).mkdir(parents=True)
        np.save(folder / name / "a.npy", clip.transpose(0, 2, 3, 1))
    model = models.create("last-frame", 4, 1, 3, (32, 32))
    how = {"history": 4, "frames": 8, "windows": 1, "gifs": 9, "arrays": False}
    videos, out = find_videos(folder), tmp_path / "out"
    out.mkdir()
    trial = examine_videos(model, videos, out, "<i>run", **how)
    trial.save(out, {"<u>": "</pre>"})
    found = Read(out / PAGE)
    assert {"b", "i", "u"}.isdisjoint(found.tags)
    for text in ("<i>run", *(video.name for video in videos), '"<u>": "</pre>"'):
        assert text in found.text
    assert len(found.files) == 2 + 1 + 2 + 3  # numbers, curves, the sheet and its link, GIFs
    assert {out / name for name in found.files} == set(out.iterdir()) - {out / PAGE}
