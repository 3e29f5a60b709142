"""The time left that the progress bar shows."""

import io
import math
from types import SimpleNamespace

import pytest
from tqdm import tqdm

from utils.progress import ProgressBar


@pytest.mark.parametrize(
    "deadline, expected", [(math.inf, 1000), (120, 250), (100, 150), (90, 150), (1e6, 1000)]
)
def test_a_deadline_bounds_what_is_to_come(deadline, expected):
    progress = ProgressBar(None, 1000, deadline)
    progress.bar = tqdm(total=1000, initial=100, file=io.StringIO())
    progress.bar.start_t -= 10  # 50 iterations in 10 seconds
    assert progress.expected(150, now=100) == pytest.approx(expected, abs=3)


@pytest.mark.parametrize("validated, terminal", [(True, True), (False, True), (False, False)])
def test_validations_stand_above_the_bar_and_off_a_terminal_all_reports(
    validated, terminal, capsys
):
    entry = {"iteration": 7, "elapsed_time": 2.0, "gen/l2": 0.5}
    entry |= {"val/psnr": 20.0, "copy/psnr": 21.0} if validated else {}
    log = SimpleNamespace(entries=[entry])
    trainer = SimpleNamespace(
        updater=SimpleNamespace(iteration=7), observation=entry, get_extension={"log": log}.get
    )
    progress = ProgressBar(lambda _: True, 10)
    progress.bar = tqdm(total=10, file=io.StringIO(), disable=not terminal)
    progress.bar.initial = 0
    progress(trainer)
    said = capsys.readouterr().err.strip()
    told = "iteration 7, 2 s: gen/l2 0.5" + ", val/psnr 20, copy/psnr 21" * validated
    assert said == (told if validated or not terminal else "")
    assert not [name for name in progress.shown if name.startswith(("val/", "copy/"))]
