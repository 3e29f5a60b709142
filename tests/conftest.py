"""What holds for all tests: Ctrl-C, the GPU of those that need one."""

import signal

import pytest

pytest.register_assert_rewrite("tests.convolutions", "tests.updaters")

# A shell lets what it starts in the background ignore Ctrl-C, also the programs that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


# What the fixtures import is not there for test_compat.py on Pythons that have nothing but Chainer.
@pytest.fixture
def gpu():
    """A GPU, or what acts one, in use: Chainer's device."""
    from utils.device import open_device
    from utils.stack import chainer

    cuda = chainer.backends.cuda
    if not cuda.available:
        pytest.skip("no CUDA device")
    try:
        cuda.cupy.cuda.runtime.getDeviceCount()
    except cuda.cupy.cuda.runtime.CUDARuntimeError as error:
        pytest.skip(f"no CUDA device: {error}")
    return open_device(0)


@pytest.fixture
def gpu_with_cudnn(gpu):
    from utils.stack import cudnn

    if obstacle := cudnn.missing():
        pytest.skip(obstacle[1])
    return gpu


@pytest.fixture
def log_anew():
    """What is logged once a process is logged once more."""
    from utils.stack import providers

    providers.log_once.cache_clear()


@pytest.fixture
def acted(gpu_with_cudnn, log_anew, monkeypatch):
    """A library that acts cuDNN, of which nothing has been asked; the networks use it.

    It takes orders, tells what it was asked, adds up in float64: the real one does not.
    """
    from tests.driver import cudnn, library
    from utils.stack import cudnn_engines, cudnn_plans

    if library() is None:
        pytest.skip("for the acted cuDNN, not the real one")
    acting = cudnn.Library()
    loaded = cudnn_plans.Library(acting)
    monkeypatch.setattr(cudnn_plans, "library", lambda: loaded)
    monkeypatch.setattr(cudnn_engines, "_thread", cudnn_engines.Thread())
    monkeypatch.setattr(cudnn_engines, "_kept", [])
    return acting
