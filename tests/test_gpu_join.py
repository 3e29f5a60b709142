"""Arrays joined on a GPU by one kernel to what NumPy makes."""

import numpy as np
import pytest

from tests.arrays import put
from utils.stack import F, chainer, gpu_join, kernels

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
pytestmark = pytest.mark.gpu
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
    found = found.get()
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes()


@pytest.fixture
def written(gpu, monkeypatch):
    """How many numbers each launch of a kernel has written."""
    found, compiled = [], kernels.compiled

    def noted(*told):
        def launch(grid, block, arguments):
            found.append(int(arguments[-1]))
            compiled(*told)(grid, block, arguments)

        return launch

    monkeypatch.setattr(kernels, "compiled", noted)
    return found


@joins
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("blocks", [1, gpu_join.BLOCKS])
def test_arrays_are_joined_as_by_numpy(written, monkeypatch, join, expected, case, blocks):
    monkeypatch.setattr(gpu_join, "BLOCKS", blocks)
    given, (_, axis, count) = several(join, *case), case
    made = join([put(a) for a in given], axis).array
    assert_same_bits(made, expected(given, axis))
    assert len(written) == -(-count // MOST) and sum(written) == made.size


@joins
@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_of_any_type_are_joined(written, join, expected, dtype):
    given = [noise((3, 4, 5), dtype, seed) for seed in range(4)]
    assert_same_bits(join([put(a) for a in given], 1).array, expected(given, 1))
    assert written == [240]


@joins
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_views_are_joined(written, join, expected, axis):
    base = noise((8, 6, 8))
    assert_same_bits(join(views(put(base)), axis).array, expected(views(base), axis))
    assert written == [5 * 96]


def test_single_numbers_are_stacked(written):
    made = F.stack([put(np.float32(k)) for k in range(7)]).array
    assert_same_bits(made, np.arange(7, dtype="f4"))
    assert written == [7]


@joins
@pytest.mark.parametrize("dtype, length", [("f4", 0), ("c16", 3)])
def test_what_the_kernel_does_not_take_chainer_does(written, join, expected, dtype, length):
    given = [noise((2, length), dtype, seed) for seed in range(3)]
    assert_same_bits(join([put(a) for a in given], 1).array, expected(given, 1))
    assert not written


@joins
def test_arrays_that_are_not_alike_are_refused_or_promoted_as_ever(written, join, expected):
    single, double = np.ones((2, 3), "f4"), np.ones((2, 3), "f8")
    for other in (double, single[:1]):
        with pytest.raises(chainer.utils.type_check.InvalidType):
            join([put(single), put(other)], 1)
    with chainer.using_config("type_check", False):
        made = join([put(single), put(double)], 1).array
        assert_same_bits(made, expected([single, double], 1))
        with pytest.raises(ValueError):
            join([put(single), put(single[:1])], 1)
    assert not written


@pytest.mark.parametrize(
    "divide, shapes",
    [
        (lambda x: F.split_axis(x, [1, 4], axis=1), [(2, 1, 3), (2, 3, 3), (2, 2, 3)]),
        (lambda x: F.separate(x, axis=1), [(2, 3)] * 6),
    ],
    ids=["split_axis", "separate"],
)
def test_gradients_of_parts_are_joined(written, divide, shapes):
    x = chainer.Variable(put(noise((2, 6, 3))))
    given = [noise(shape, seed=k) for k, shape in enumerate(shapes)]
    (gradient,) = chainer.grad(divide(x), [x], [chainer.Variable(put(g)) for g in given])
    assert_same_bits(gradient.array, np.concatenate([g.reshape(2, -1, 3) for g in given], 1))
    assert written == [36]
