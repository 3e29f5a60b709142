"""The library of cuDNN: where it is found, what is said where it is not, what is known of it."""

import logging
import shutil
import sys

import pytest

from tests import acted_cudnn
from utils.errors import UserError
from utils.stack import cudnn, cudnn_plans
from utils.stack.geometry import Geometry


@pytest.fixture
def no_library(monkeypatch):
    monkeypatch.delenv("CHAINER_CUDNN", raising=False)
    monkeypatch.setattr(cudnn_plans, "LIBRARY", "libcudnn-that-is-not.so.9")
    for cache in (cudnn.missing, cudnn_plans.library):
        cache.cache_clear()
    yield
    for cache in (cudnn.missing, cudnn_plans.library):
        cache.cache_clear()


def test_missing_library_is_a_warning_with_its_cure(no_library):
    level, reason = cudnn.missing()
    assert level == logging.WARNING
    assert "libcudnn-that-is-not.so.9" in reason and "pip install nvidia-cudnn-cu12" in reason


def test_switched_off(no_library, monkeypatch):
    monkeypatch.setenv("CHAINER_CUDNN", "0")
    assert cudnn.missing() == (logging.INFO, "CHAINER_CUDNN is 0")


def test_library_of_a_wheel_is_found_on_pythons_path(no_library, tmp_path, monkeypatch):
    import _ctypes  # a shared library as any other

    place = tmp_path / "nvidia/cudnn/lib"
    place.mkdir(parents=True)
    shutil.copy(_ctypes.__file__, place / cudnn_plans.LIBRARY)
    monkeypatch.setattr(sys, "path", ["no such place", str(tmp_path)])
    assert cudnn_plans.load()._name == str(place / cudnn_plans.LIBRARY)
    assert "not the cuDNN 9 that is known" in cudnn.missing()[1]


def test_types_that_need_cudnn_say_so(no_library, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    for name in ("tf32", "bfloat16", "float16"):
        with pytest.raises(UserError, match=f"{name} needs cuDNN: .*or use float32"):
            cudnn.using_dtype(name).__enter__()
    with cudnn.using_dtype("float32"):
        pass


@pytest.mark.parametrize(
    "direction, shape, version, engine",
    [
        ("forward", (4, 4, 4), 91500, 24),
        ("forward", (4, 4, 4), 91501, 23),
        ("forward", (4, 4), 91500, 23),
        ("data_gradient", (4, 4, 4), 91900, 24),
        ("weight_gradient", (4, 4, 4), 91900, 23),
    ],
)
def test_engines_known_to_be_wrong_are_left_out(monkeypatch, direction, shape, version, engine):
    acted = acted_cudnn.Library()
    acted.engines[3] = [acted_cudnn.Engine(23), acted_cudnn.Engine(24)]
    library = cudnn_plans.Library(acted)
    library.version = version
    monkeypatch.setattr(cudnn_plans, "library", lambda: library)
    three = (3,) * len(shape)
    shapes = (1, 2, *shape), (2, 2, *three), (1, 2, *shape)
    one = (1,) * len(shape)
    geometry = Geometry(*shapes, one, one, one, 1, "tf32")
    plans = cudnn_plans.plans(cudnn_plans.Handle(), direction, geometry)
    assert next(plans).engine == engine
