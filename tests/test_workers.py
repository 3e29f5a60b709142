import os
import signal
import time

import pytest

from utils.errors import UserError
from utils.workers import cores, workers


@pytest.mark.parametrize("count", [1, 2])
def test_results_in_order(count):
    with workers(count) as spread:
        assert list(spread(abs, range(-5, 0))) == [5, 4, 3, 2, 1]


@pytest.mark.parametrize("count", [1, 2])
def test_the_work_is_elsewhere(count):
    with workers(count) as spread:
        assert os.getpid() not in spread(eval, ["__import__('os').getpid()"] * 4)
    assert "MALLOC_TRIM_THRESHOLD_" not in os.environ


def inherited(seconds):
    """What a process was started with, told after so long that others get work, too."""
    time.sleep(seconds)
    return signal.getsignal(signal.SIGINT), os.environ["MALLOC_TRIM_THRESHOLD_"]


def test_every_worker_leaves_ctrl_c_to_the_parent_and_keeps_memory():
    with workers(3) as spread:
        found = {*spread(inherited, [0.3] * 3), *spread(inherited, [0.1] * 3)}
    assert found == {(signal.SIG_IGN, str(2**27))}
    assert signal.getsignal(signal.SIGINT) != signal.SIG_IGN


def test_a_worker_that_dies_is_told():
    with (
        pytest.raises(UserError, match="a worker process died.* fewer --workers than 2"),
        workers(2) as spread,
    ):
        list(spread(os._exit, [1]))


def test_a_mistake_comes_back():
    with pytest.raises(ZeroDivisionError), workers(2) as spread:
        list(spread(eval, ["1 / 0"]))


def test_cores():
    assert 1 <= cores() <= os.cpu_count()
