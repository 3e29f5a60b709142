"""Networks that learn through cuDNN, also in CUDA graphs, where neither is: see acted_cupy.py."""

import re

import pytest

from tests.test_acted_cupy import run

PLUGINS = "-p", "tests.acted_cupy", "-p", "tests.acted_cupy_with_cudnn"


@pytest.mark.parametrize(
    "file, tests",
    [
        ("test_gpu.py", "adversarial_step or learns and (multiscale or conv3d)"),
        ("test_graph.py", "captured and l2"),
        ("test_cudnn_gpu.py", "repeats or training and tf32"),
    ],
)
def test_gpu_code_runs_on_the_stand_in_with_cudnn(file, tests):
    out = run("-m", "pytest", "-q", *PLUGINS, "-m", "gpu", f"tests/{file}", "-k", tests)
    assert int(re.search(r"cuDNN launched (\d+) times", out)[1]) > 10
