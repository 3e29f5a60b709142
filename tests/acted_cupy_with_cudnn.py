"""cuDNN for the acted CuPy.

    python -m pytest -p tests.acted_cupy -p tests.acted_cupy_with_cudnn -m gpu

Convolutions, linear layers then go the way that they go on a GPU, in captures too.
"""

import functools
import os
import types

import numpy as np

from tests import acted_cudnn, acted_cupy
from utils.stack import casts, cudnn, cudnn_engines, cudnn_plans, providers


class Library(acted_cudnn.Library):
    """One that does in a capture what CUDA does: nothing, until the graph is launched."""

    def __init__(self):
        super().__init__()
        self.engines[3] = [acted_cudnn.Engine(1, workspace=64)]
        self.launches = 0

    def launch(self, work):
        self.launches += 1
        assert self.streams[-1] == acted_cupy.get_current_stream().ptr
        launch(work)


class RawKernel(acted_cudnn.RawKernel):
    """Own kernels, whose threads meet."""

    def launch(self, work, arguments):
        launch(lambda: work() if arguments else None)  # a graph holds their memory


def launch(work):
    stream = acted_cupy.get_current_stream()
    if stream.is_capturing():
        stream.capture(work)
    else:
        work()


@functools.cache
def kernel(dtype, name):
    return RawKernel(casts.source(dtype), name)


def alloc(size):
    room = np.zeros(size, np.uint8)
    return types.SimpleNamespace(ptr=room.ctypes.data, room=room)


def refuse(level, reason):
    assert "not cuDNN" not in reason, reason


os.environ.pop("CHAINER_CUDNN", None)
library = Library()
loaded = cudnn_plans.Library(library)
cudnn_plans.library = lambda: loaded
cudnn.missing = lambda: None
cudnn_engines.idle = lambda cycles: None
casts._kernel, casts.CONVERSIONS = kernel, acted_cudnn.CONVERSIONS
providers.log_once = refuse
acted_cupy.cuda.alloc, acted_cupy.runtime.getDevice = alloc, lambda: 0


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f"cuDNN launched {library.launches} times")
