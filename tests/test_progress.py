"""The time left that the progress bar shows."""

import io
import math

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
