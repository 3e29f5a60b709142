"""Curves of what a run has logged."""

import time
from pathlib import Path

from utils.figures import Figure
from utils.files import write_whole
from utils.stack import chainer

PAUSE = 30  # seconds between drawings, at least: one takes as long as many steps of a small network
CURVES = {  # {file: (label of the y axis, prefixes of the names of its curves)}
    "loss.png": ("loss", ("gen/", "dis/")),
    "psnr.png": ("PSNR, dB", ("val/psnr", "copy/psnr")),
    "ssim.png": ("SSIM", ("val/ssim", "copy/ssim")),
    "sharpness.png": ("sharpness, dB", ("val/sharpness", "copy/sharpness")),
    "perceptual.png": ("perceptual distance", ("val/perceptual", "copy/perceptual")),
}


class Plots(chainer.training.Extension):
    """Draws the entries of the extension "log", at most every PAUSE seconds and at the end."""

    name = "plots"

    def __init__(self):
        self.drawn = float("-inf")
        self.entries = 0  # how many have been drawn

    def __call__(self, trainer):
        entries, now = trainer.get_extension("log").entries, time.monotonic()
        soon = now - self.drawn < PAUSE and not trainer.ends(trainer)
        if soon or len(entries) == self.entries:
            return
        self.drawn, self.entries = now, len(entries)
        names = list(dict.fromkeys(name for entry in entries for name in entry))
        for filename, (label, beginnings) in CURVES.items():
            shown = [name for name in names if name.startswith(beginnings)]
            if shown:
                draw(Path(trainer.out) / filename, entries, shown, label)


def draw(path, entries, names, label):
    """Write a PNG with a curve over the iterations for each of `names`; label: of the y axis."""
    figure = Figure(layout="constrained")
    axes = figure.add_subplot(xlabel="iteration", ylabel=label)
    axes.grid()
    for name in names:
        found = [entry for entry in entries if entry.get(name) is not None]
        style = {"label": name, "marker": "." if len(found) == 1 else ""}  # a line needs two points
        axes.plot([e["iteration"] for e in found], [e[name] for e in found], **style)
    figure.legend(loc="outside upper center", ncols=3)
    write_whole(path, lambda file: figure.savefig(file, format="png"))
