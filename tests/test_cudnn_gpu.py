"""Chainer's convolutions through cuDNN on a real GPU: right in all types, capturable."""

import threading

import numpy as np
import pytest

from models.blocks import sequential
from tests.arrays import distance, double, put, random
from tests.convolutions import every_result, only
from tests.updaters import CPU, adversarial, take_steps
from utils.stack import F, L, chainer, cudnn, cudnn_engines, gpu_layers
from utils.stack.precision import using_dtype

cuda = chainer.backends.cuda
pytestmark = pytest.mark.gpu
# How far a result may be from the one in float64, as a share of it (both by their norms).
# float32 leaves room for Winograd's way, for FFT: direct sums are at 1e-6, TF32 at 3e-4.
NEAR = {"float32": 5e-5, "tf32": 1e-3, "bfloat16": 1e-2, "float16": 2e-3}
CASES = {  # batch, channels taken, made, size, kernel, how
    "first of the generator": (8, 15, 128, (32, 32), (7, 7), {"pad": 3}),
    "largest of the generator": (2, 256, 512, (32, 32), (5, 5), {"pad": 2}),
    "last of the generator": (8, 128, 3, (32, 32), (7, 7), {"pad": 3}),
    "valid, of a discriminator": (4, 128, 256, (26, 26), (7, 7), {}),
    "odd channels, odd size": (3, 5, 7, (13, 9), (3, 2), {"pad": (1, 0)}),
    "strided": (2, 16, 24, (17, 16), (4, 4), {"stride": 2, "pad": 1}),
    "dilated": (2, 16, 24, (17, 16), (3, 3), {"dilate": (2, 3), "pad": 2}),
    "groups": (2, 12, 18, (9, 9), (3, 3), {"groups": 3, "pad": 1}),
    "each channel for itself": (2, 16, 16, (9, 9), (3, 3), {"groups": 16, "pad": 1}),
    "padded at the end only": (2, 4, 6, (9, 8), (4, 3), {"stride": 3, "cover_all": True}),
    "one axis": (3, 5, 8, (31,), (5,), {"stride": 2, "pad": 2}),
    "three axes": (2, 4, 6, (5, 9, 8), (3, 3, 2), {"stride": (1, 2, 1), "pad": 1}),
}


@pytest.fixture(autouse=True)
def poisoned_memory(gpu_with_cudnn):
    """Memory to come holds NaN, so that nobody takes what was not written for a result."""
    cupy = cuda.cupy
    cupy.get_default_memory_pool().free_all_blocks()
    arrays = [cupy.full(size, np.nan, "f4") for size in (2**24, *[2**n for n in range(7, 22)])]
    del arrays


def arrays(case):
    batch, taken, made, size, kernel, how = CASES[case]
    groups = how.get("groups", 1)
    x, w = random((batch, taken, *size)), random((made, taken // groups, *kernel), 1)
    return x, w, random(made, 2)


@pytest.mark.parametrize("dtype", NEAR)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("autotune", [False, True])
def test_is_near_float64(case, dtype, autotune):
    inputs, how = arrays(case), CASES[case][-1]
    tuning = chainer.using_config("autotune", autotune)
    with cudnn.using_dtype(dtype), tuning, only("cuDNN"):
        found = every_result(put, *inputs, **how)
        again = every_result(put, *inputs, **how)
    for one, other, truth in zip(found, again, every_result(double, *inputs, **how), strict=True):
        assert distance(one, truth) < NEAR[dtype] and distance(other, truth) < NEAR[dtype]


@pytest.mark.parametrize("dtype", gpu_layers.DTYPES)
@pytest.mark.parametrize("batch", [1, 8])
def test_convolutions_in_a_row_are_near_float64(batch, dtype):
    found = []
    for put_there in put, double:
        np.random.seed(0)
        links = [
            L.Convolution2D(a, b, k, pad=k // 2, initial_bias=0.1)
            for a, b, k in [(15, 128, 7), (128, 256, 5), (256, 3, 5)]
        ]
        for link in links:
            for param in link.params():
                param.array = put_there(param.array)
        x = chainer.Variable(put_there(random((batch, 15, 16, 16))))
        params = [param for link in links for param in link.params()]
        with cudnn.using_dtype(dtype), only("cuDNN"):
            y = sequential(x, links, 2)
            gradients = chainer.grad([F.sum(y * y)], [x, *params])
        assert (y.creator.label == "Layers") == (put_there is put)
        found.append([y.array, *(gradient.array for gradient in gradients)])
    for one, truth in zip(*found, strict=True):
        assert (
            distance(one, truth) < 10 * NEAR[dtype]
        )  # a ReLU goes the other way for small numbers


@pytest.mark.parametrize("dtype", NEAR)
@pytest.mark.parametrize("sizes", [(8, 18432, 1024), (64, 512, 1), (3, 7, 5)])
def test_linear_layer_is_near_float64(sizes, dtype):
    batch, taken, made = sizes
    x, w, b, gy = (
        random(shape, i)
        for i, shape in enumerate([(batch, taken), (made, taken), (made,), (batch, made)])
    )
    with cudnn.using_dtype(dtype), only("cuDNN"):
        inputs = [chainer.Variable(put(values)) for values in (x, w, b)]
        y = F.linear(*inputs)
        y.grad = put(gy)
        y.backward()
    truth = double(x) @ w.T + b, double(gy) @ w, double(gy).T @ x
    for found, exact in zip((y.array, inputs[0].grad, inputs[1].grad), truth, strict=True):
        assert distance(found, exact) < NEAR[dtype]


def test_float16_has_the_range_of_float32():
    x, w = 1e9 * random((2, 8, 12, 12)), 1e-12 * random((8, 8, 5, 5), 1)
    with cudnn.using_dtype("float16"), only("cuDNN"):
        y = F.convolution_2d(put(x), put(w)).array
    assert distance(y, F.convolution_2d(double(x), double(w)).array) < NEAR["float16"]


@pytest.mark.parametrize("dtype", NEAR)
def test_same_call_same_bits(dtype):
    inputs, how = arrays("largest of the generator"), {"pad": 2}
    with chainer.using_config("cudnn_deterministic", True), cudnn.using_dtype(dtype):
        first, *others = (every_result(put, *inputs, **how) for _ in range(3))
    for other in others:
        assert all((a == b).all() for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("dtype", NEAR)
def test_graph_repeats_what_was_captured(dtype):
    cupy = cuda.cupy
    pool, stream = cupy.cuda.MemoryPool(), cupy.cuda.Stream(non_blocking=True)
    layer, head = chainer.links.Convolution2D(3, 16, 5, pad=2), chainer.links.Linear(1024, 4)
    for link in (layer, head):
        link.to_device("@cupy:0")
    params = [*layer.params(), *head.params()]
    x = put(random((2, 3, 8, 8)))

    def step():
        y = head(F.relu(layer(x)))
        return [y.array, *(g.array for g in chainer.grad([F.sum(y * y)], params))]

    cupy.cuda.Device().synchronize()  # the stream waits for no other
    deterministic = chainer.using_config("cudnn_deterministic", True)
    allocator = cupy.cuda.using_allocator(pool.malloc)
    with allocator, stream, cudnn.using_dtype(dtype), deterministic:
        for _ in range(3):
            step()
        stream.begin_capture()
        captured = step()
        graph = stream.end_capture()
        for seed in range(20):
            x[...] = put(random(x.shape, seed))
            graph.launch(stream)
            replayed = [array.copy() for array in captured]
            for one, other in zip(replayed, step(), strict=True):
                assert distance(one, cuda.to_cpu(other)) < 1e-6


@pytest.mark.parametrize("dtype", NEAR)
def test_adversarial_training_begins_as_on_the_cpu_goes_on_alike_in_graphs(gpu, dtype):
    one, other = adversarial(gpu), adversarial(gpu)
    other.step = other.learn  # each step by itself
    with using_dtype(dtype, gpu), chainer.using_config("cudnn_deterministic", True):
        found = take_steps(one, steps=5)
        assert found == take_steps(other, steps=5)
    assert found[0] == pytest.approx(take_steps(adversarial(CPU), steps=1)[0], rel=2 * NEAR[dtype])


def test_threads_at_once():
    x, w = random((4, 16, 12, 12)), random((32, 16, 3, 3), 1)
    truth, wrong = F.convolution_2d(double(x), double(w)).array, []

    def work():
        with cuda.cupy.cuda.Stream(non_blocking=True):
            for _ in range(50):
                if distance(F.convolution_2d(put(x), put(w)).array, truth) > NEAR["tf32"]:
                    wrong.append("convolution")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_no_room_is_chainers_own(monkeypatch):
    inputs, how = arrays("strided"), CASES["strided"][-1]
    monkeypatch.setattr(cudnn_engines, "WORKSPACE", -1)
    monkeypatch.setattr(cudnn_engines, "_thread", cudnn_engines.Thread())
    with cudnn.using_dtype("float32"):
        found = every_result(put, *inputs, **how)
    for one, truth in zip(found, every_result(double, *inputs, **how), strict=True):
        assert distance(one, truth) < NEAR["float32"]
