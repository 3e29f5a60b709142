"""Places spread over a series."""

import pytest

from utils.spacing import evenly


@pytest.mark.parametrize(
    "length, count, places",
    [(9, 1, [0]), (9, 2, [0, 8]), (9, 3, [0, 4, 8]), (3, 8, [0, 1, 2]), (1, 8, [0]), (0, 8, [])],
)
def test_first_and_last_are_among_several(length, count, places):
    assert list(evenly(length, count)) == places
