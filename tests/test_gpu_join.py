"""Arrays joined on a GPU by one kernel, run as C++ where there is none, to what NumPy makes."""

import numpy as np
import pytest

from tests import acted_cudnn
from tests.acted_cudnn import array
from tests.test_cudnn import CUDA, needs_compiler, stand_in
from utils.device import open_device
from utils.stack import F, chainer, gpu_join

MOST = gpu_join.MOST
DTYPES = "?", "i1", "f2", "u2", "i4", "f4", "f8", "i8", "c8"
CASES = [  # shape, axis, count
    ((5,), 0, 3),
    ((1,), 0, MOST + 1),
    ((2, 3), -1, 2 * MOST),
    ((3, 1, 4), 1, 1),
    ((2, 3, 4), 0, 9),
    ((2, 3, 4), 2, MOST),
    ((4, 5, 3, 6, 7), 1, 2),
    ((4, 5, 3, 6, 7), -2, 2 * MOST + 7),
]
joins = pytest.mark.parametrize("join, expected", [(F.concat, np.concatenate), (F.stack, np.stack)])


def noise(shape, dtype="f4", seed=0):
    """Any bits but for bool's, which are 0 or 1; so NaN is among them."""
    shape, kind = (*shape, np.dtype(dtype).itemsize), np.dtype(dtype)
    numbers = np.random.default_rng(seed).integers(0, 2 if dtype == "?" else 256, shape, np.uint8)
    return numbers.view(kind)[..., 0]


def several(join, shape, axis, count):
    """So many arrays; those for concat differ in length."""
    shapes = [list(shape) for _ in range(count)]
    for k in range(count):
        shapes[k][axis] += k % 3 if join is F.concat else 0
    return [noise(shape, seed=k) for k, shape in enumerate(shapes)]


def views(a):
    """Of an (8, 6, 8) array: (4, 3, 8), none of them with all numbers side by side."""
    return [a[:4, ::2], a[4:, 3:], a[3::-1, :3], a.T[::2, :3], a.swapaxes(0, 1)[2:, :3]]


def assert_same_bits(found, expected):
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes()


class RawKernel(acted_cudnn.RawKernel):
    """Runs on the processor; `written` are the numbers that each launch of any has written."""

    written = []

    def __call__(self, grid, block, arguments):
        table, made, *sizes = arguments
        self.written.append(int(sizes[-1]))
        super().__call__(grid, (*block, 1), (table, made, *map(int, sizes)))


@pytest.fixture
def written(monkeypatch):
    with stand_in():
        monkeypatch.setattr(CUDA.cupy, "RawKernel", RawKernel, raising=False)
        monkeypatch.setattr(RawKernel, "written", [])
        gpu_join.kernel.cache_clear()
        yield RawKernel.written
        gpu_join.kernel.cache_clear()


@needs_compiler
@joins
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("blocks", [1, gpu_join.BLOCKS])
def test_arrays_are_joined_as_by_numpy(written, monkeypatch, join, expected, case, blocks):
    monkeypatch.setattr(gpu_join, "BLOCKS", blocks)
    given, (_, axis, count) = several(join, *case), case
    made = join([array(a) for a in given], axis).array
    assert_same_bits(made, expected(given, axis))
    assert len(written) == -(-count // MOST) and sum(written) == made.size


@needs_compiler
@joins
@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_of_any_type_are_joined(written, join, expected, dtype):
    given = [noise((3, 4, 5), dtype, seed) for seed in range(4)]
    assert_same_bits(join([array(a) for a in given], 1).array, expected(given, 1))
    assert written == [240]


@needs_compiler
@joins
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_views_are_joined(written, join, expected, axis):
    base = noise((8, 6, 8))
    assert_same_bits(join(views(array(base)), axis).array, expected(views(base), axis))
    assert written == [5 * 96]


@needs_compiler
def test_single_numbers_are_stacked(written):
    made = F.stack([array(np.float32(k)) for k in range(7)]).array
    assert_same_bits(made, np.arange(7, dtype="f4"))
    assert written == [7]


@needs_compiler
@joins
@pytest.mark.parametrize("dtype, length", [("f4", 0), ("c16", 3)])
def test_what_the_kernel_does_not_take_chainer_does(written, join, expected, dtype, length):
    given = [noise((2, length), dtype, seed) for seed in range(3)]
    assert_same_bits(join([array(a) for a in given], 1).array, expected(given, 1))
    assert not written


@needs_compiler
@joins
def test_arrays_that_are_not_alike_are_refused_or_promoted_as_ever(written, join, expected):
    single, double = np.ones((2, 3), "f4"), np.ones((2, 3), "f8")
    for other in (double, single[:1]):
        with pytest.raises(chainer.utils.type_check.InvalidType):
            join([array(single), array(other)], 1)
    with chainer.using_config("type_check", False):
        made = join([array(single), array(double)], 1).array
        assert_same_bits(made, expected([single, double], 1))
        with pytest.raises(ValueError):
            join([array(single), array(single[:1])], 1)
    assert not written


@needs_compiler
@pytest.mark.parametrize(
    "divide, shapes",
    [
        (lambda x: F.split_axis(x, [1, 4], axis=1), [(2, 1, 3), (2, 3, 3), (2, 2, 3)]),
        (lambda x: F.separate(x, axis=1), [(2, 3)] * 6),
    ],
    ids=["split_axis", "separate"],
)
def test_gradients_of_parts_are_joined(written, divide, shapes):
    x = chainer.Variable(array(noise((2, 6, 3))))
    given = [noise(shape, seed=k) for k, shape in enumerate(shapes)]
    (gradient,) = chainer.grad(divide(x), [x], [chainer.Variable(array(g)) for g in given])
    assert_same_bits(gradient.array, np.concatenate([g.reshape(2, -1, 3) for g in given], 1))
    assert written == [36]


@pytest.mark.gpu
@joins
def test_a_gpu_joins_arrays_as_numpy(join, expected):
    if not CUDA.available:
        pytest.skip("no CUDA device")
    device, base = open_device(0), noise((8, 6, 8))
    for case in CASES:
        given, (_, axis, _) = several(join, *case), case
        made = join([device.send(a) for a in given], axis).array
        assert_same_bits(made.get(), expected(given, axis))
    for dtype in (*DTYPES, "c16"):
        given = [noise((3, 4, 5), dtype, seed) for seed in range(4)]
        made = join([device.send(a) for a in given], 1).array
        assert_same_bits(made.get(), expected(given, 1))
    for axis in range(3):
        made = join(views(device.send(base)), axis).array
        assert_same_bits(made.get(), expected(views(base), axis))
