"""Layers in a row as one node on a GPU: the same as node by node."""

import collections
import logging

import numpy as np
import pytest

from models.blocks import sequential
from tests.arrays import CUDA, assert_near, distance, double, put, random
from tests.convolutions import only
from tests.layers import images, links, loss, nodes, results
from utils.stack import (
    F,
    L,
    casts,
    chainer,
    cudnn,
    cudnn_engines,
    gpu_layers,
    gpu_relu,
    kernels,
    layers,
    providers,
)
from utils.stack.providers import Unsuitable

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("dtype", gpu_layers.DTYPES)
@pytest.mark.parametrize("relus", [1, 2, 3])
@pytest.mark.parametrize("how", [{"batch": 1}, {"batch": 40}, {"batch": 9, "linear": True}])
def test_is_as_near_to_float64_as_node_by_node(acted, monkeypatch, dtype, relus, how):
    with cudnn.using_dtype(dtype), only("cuDNN"):
        ours, again = results(relus, **how), results(relus, **how)
        monkeypatch.setattr(gpu_layers, "DTYPES", ())
        others = results(relus, **how)
    exact = results(relus, put=double, **how)
    ours, again, others = (map(CUDA.to_cpu, arrays) for arrays in (ours, again, others))
    for found, same, other, truth in zip(ours, again, others, exact, strict=True):
        assert found.shape == truth.shape and found.dtype == np.float32
        assert distance(found, truth) < 1.3 * distance(other, truth) + {"tf32": 1e-5}.get(
            dtype, 1e-3
        )
        np.testing.assert_array_equal(found, same)


@pytest.mark.parametrize("dtype", gpu_layers.DTYPES)
def test_layers_are_one_node_of_few_kernels(acted, monkeypatch, dtype):
    launched, compiled = [], kernels.compiled
    monkeypatch.setattr(kernels, "compiled", lambda *a: launched.append(a[1]) or compiled(*a))
    made = links()
    with cudnn.using_dtype(dtype), only("cuDNN"):
        y = sequential(images(2), made, 2)
        assert nodes(y) == ["Layers"]
        before = len(acted.executed)
        chainer.grad([loss(y)], [p for link in made for p in link.params()])
    found = collections.Counter(launched)
    assert found == {"pack": 2, "unpack": 2, "activate": 2, "pass_on": 3}
    assert len(acted.executed) - before == 2 * 5  # none for x; each twice, the first time


def test_only_the_gradients_asked_for_are_computed(gpu_with_cudnn, monkeypatch):
    made, x = links(), images(2)
    directions, compute = [], cudnn_engines.compute
    monkeypatch.setattr(
        cudnn_engines, "compute", lambda *a, **k: directions.append(a[0]) or compute(*a, **k)
    )
    with cudnn.using_dtype("tf32"), only("cuDNN"):
        chainer.grad([loss(sequential(x, made, 3))], [x])
        assert directions == ["forward"] * 3 + ["data_gradient"] * 3
        directions.clear()
        chainer.grad([loss(sequential(x, made, 3))], [made[2].W])
        assert directions == ["forward"] * 3 + ["weight_gradient"]


def test_a_prediction_keeps_no_array(gpu_with_cudnn, monkeypatch):
    made, node = [], layers.Layers
    monkeypatch.setattr(layers, "Layers", lambda *a: made.append(node(*a)) or made[0])
    with cudnn.using_dtype("tf32"), only("cuDNN"), chainer.no_backprop_mode():
        y = sequential(images(2), links(), 2)
    assert [m.shape for m in made[0].layers.maps] == [y.shape]


def test_nan_passes_through(gpu_with_cudnn):
    x = random((1, 5, 9, 8))
    x[0, 0, 0, 0] = np.nan
    with cudnn.using_dtype("bfloat16"), only("cuDNN"):
        y = sequential(put(x), links(), 3).array.get()
    assert np.isnan(y).any() and not np.isnan(y).all()


@pytest.mark.parametrize("dtype", gpu_layers.DTYPES)
@pytest.mark.parametrize("parts", [1, 5, 64])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (9, 70, 8, 8), (300, 1, 1, 1)])
def test_gradient_of_a_relu_with_its_sums(gpu, monkeypatch, dtype, parts, shape):
    monkeypatch.setattr(gpu_relu, "PARTS", parts)
    made, gradient = casts.packed([put(random(shape, k)) for k in (0, 1)], dtype)
    y, before = map(CUDA.to_cpu, casts.unpacked([made, gradient], dtype))
    counters = gpu.xp.zeros(gpu_relu.groups(shape[1]), "int32")
    passed, sums = gpu_relu.passed_on(gradient, made, dtype, counters)
    expected = np.where(y > 0, before, 0)
    np.testing.assert_array_equal(casts.unpacked([passed], dtype)[0].get(), expected)
    exact = expected.astype("f8").sum((0, 2, 3))
    np.testing.assert_allclose(sums.get(), exact, rtol=0, atol=1e-5 * np.abs(expected).sum())


@pytest.mark.parametrize("fails", ["forward", "data_gradient", "weight_gradient"])
def test_without_an_engine_layers_are_computed_node_by_node(acted, monkeypatch, caplog, fails):
    compute = cudnn_engines.compute

    def refuse(direction, *args, last=False, **kwargs):
        if direction == fails and last:
            raise Unsuitable(logging.INFO, "no engine")
        compute(direction, *args, last=last, **kwargs)

    caplog.set_level(logging.INFO, providers.__name__)
    monkeypatch.setattr(cudnn_engines, "compute", refuse)
    with cudnn.using_dtype("tf32"):
        ours, again = results(2), results(2)
    assert len(ours) == len(again) and caplog.text.count("layers are not one node: no engine") == 1
    for found, exact in zip(ours, results(2, put=double), strict=True):
        assert_near(found, exact, 1e-5)


def test_gradients_have_gradients(acted):
    def second(put):
        made, x = links(put), images(2, put)
        y = sequential(x, made, 2)
        (gx,) = chainer.grad([y], [x], [y * y], enable_double_backprop=True)
        return chainer.grad([gx], [made[0].W], [gx])[0].array

    with cudnn.using_dtype("tf32"):
        ours, truth = second(put), second(double)
    assert_near(ours, truth, 1e-5)


def test_layers_as_one_node_can_be_turned_off(gpu_with_cudnn, monkeypatch):
    monkeypatch.setenv("CHAINER_LAYERS", "0")
    with cudnn.using_dtype("tf32"), only("cuDNN"):
        y = sequential(images(2), links(), 2)
    assert nodes(y).count("Convolution2DFunction") == 3


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_other_types_go_node_by_node(gpu_with_cudnn, dtype):
    with cudnn.using_dtype(dtype), only("cuDNN"):
        y = sequential(images(2), links(), 2)
    assert nodes(y).count("Convolution2DFunction") == 3


def test_linear_layers_in_tf32_are_not_copied(gpu_with_cudnn, monkeypatch):
    launched, compiled = [], kernels.compiled
    monkeypatch.setattr(kernels, "compiled", lambda *a: launched.append(a[1]) or compiled(*a))
    made = links(linear=True)
    with cudnn.using_dtype("tf32"), only("cuDNN"):
        y = sequential(F.reshape(images(2), (2, -1)), made, 2)
        chainer.grad([loss(y)], [p for link in made for p in link.params()])
    assert collections.Counter(launched) == {"unpack": 1, "activate": 2, "pass_on": 3}


def test_a_hook_sees_every_convolution(gpu_with_cudnn):
    from utils.cost import Count

    with cudnn.using_dtype("tf32"), only("cuDNN"), Count():
        y = sequential(images(2), links(), 2)
    assert nodes(y).count("Convolution2DFunction") == 3


def test_an_image_smaller_than_a_kernel_is_chainers_error(gpu_with_cudnn):
    with cudnn.using_dtype("tf32"), pytest.raises(RuntimeError, match="should be positive"):
        sequential(put(random((1, 5, 2, 1))), links()[:2], 2)


def test_no_bias_goes_node_by_node(gpu_with_cudnn):
    made = [L.Convolution2D(5, 7, 3, nobias=True)]
    made[0].W.array = put(made[0].W.array)
    with cudnn.using_dtype("tf32"), only("cuDNN"):
        assert nodes(sequential(images(2), made, 0)) == ["Convolution2DFunction"]
