"""Arrays whose channels are last, of 16 bits or 32: the kernels that make them, there and back."""

import numpy as np
import pytest

from tests.arrays import put, random, rounded
from utils.stack import casts, kernels

SHAPES = [
    (1, 1, 1),
    (2, 3, 5, 7),
    (3, 33, 4, 9),  # more than one tile of 32 each way
    (2, 64, 64),
    (4, 100, 1, 1),  # a linear layer: nothing changes places
    (5, 1, 40, 2),
    (2, 15, 3, 4, 5),
]


def halves(found, dtype):
    """uint16 of a type -> float32."""
    if dtype == "float16":
        return found.view("f2").astype("f4")
    return (found.astype("u4") << 16).view("f4")


@pytest.mark.gpu
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", casts.DTYPES)
@pytest.mark.parametrize("blocks", [1, 4096])
def test_an_array_is_packed_then_unpacked(gpu, monkeypatch, shape, dtype, blocks):
    monkeypatch.setattr(casts, "BLOCKS", blocks)
    x, bias = random(shape), random(shape[1], 1)
    packed = casts.Packed(put(x), dtype, limit=3)
    power = 1.0 if dtype == "bfloat16" else 2.0 ** (3 - np.frexp(np.abs(x).max())[1])
    narrow = rounded(x) if dtype == "bfloat16" else (x * power).astype("f2").astype("f4")
    last = np.moveaxis(narrow, 1, -1)
    found = halves(packed.array.get().reshape(-1), dtype)
    np.testing.assert_array_equal(found, last.reshape(-1))

    one = casts.Packed(put(np.ones((1, 1), np.float32)), dtype, limit=3)
    power *= 1.0 if dtype == "bfloat16" else 4.0  # 1 -> 4 is the largest power below 2**3
    (back,) = casts.unpacked([packed.array], dtype, [packed, one], 3, put(bias))
    columns = bias.reshape(-1, *[1] * len(shape[2:]))
    np.testing.assert_array_equal(back.get(), narrow / np.float32(power) + columns)
    assert back.shape == shape and back.flags.c_contiguous


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["bfloat16", "tf32"])
@pytest.mark.parametrize("blocks", [1, 7, 4096])
@pytest.mark.parametrize("most", [1, 3, 64])
def test_many_arrays_at_once_are_packed_as_one_by_one(gpu, monkeypatch, dtype, blocks, most):
    monkeypatch.setattr(casts, "BLOCKS", blocks)
    monkeypatch.setattr(casts, "MOST", most)
    launched, compiled = [], kernels.compiled
    monkeypatch.setattr(kernels, "compiled", lambda *a: launched.append(a[1]) or compiled(*a))
    numbers = [random(shape, k) for k, shape in enumerate(SHAPES)]
    arrays = [put(x) for x in numbers]
    together = casts.packed(arrays, dtype)
    moved = sum(not casts.same(a, dtype) for a in arrays)
    assert launched == ["pack"] * -(-moved // most)
    if dtype == "bfloat16":
        numbers = [rounded(x) for x in numbers]
    for x, found in zip(numbers, together, strict=True):
        last = np.moveaxis(x, 1, -1).reshape(-1)
        flat = found.get().reshape(-1)
        np.testing.assert_array_equal(halves(flat, dtype) if dtype == "bfloat16" else flat, last)
        assert found.shape == x.shape
    for x, found in zip(numbers, casts.unpacked(together, dtype), strict=True):
        np.testing.assert_array_equal(found.get(), x)
    assert len(launched) == 2 * -(-moved // most)


@pytest.mark.gpu
def test_no_kernel_is_launched_where_nothing_changes(gpu, monkeypatch):
    monkeypatch.setattr(kernels, "compiled", None)
    one = put(random((3, 4)))
    assert casts.packed([one], "tf32")[0] is casts.unpacked([one], "tf32")[0] is one
    assert casts.packed([], "bfloat16") == casts.unpacked([], "bfloat16") == []


@pytest.mark.gpu
@pytest.mark.parametrize("largest", [0, 1e-45, 1e-38, 0.9999, 1, 1.5, 65504, 3e38, np.inf, np.nan])
def test_float16_scales_the_largest_number_to_below_the_limit(gpu, largest):
    x = np.array([[0, -largest, largest / 2]], np.float32)
    limit = 4
    packed = casts.Packed(put(x), "float16", limit)
    found = halves(packed.array.get().reshape(-1), "float16")
    if 1e-37 < largest < np.inf:
        assert 2 ** (limit - 1) <= -found[1] <= 2**limit
    elif np.isfinite(largest):
        assert 0 <= -found[1] <= 2**limit
    else:
        np.testing.assert_array_equal(found, x[0])


@pytest.mark.parametrize("terms", [1, 2, 25, 6400, 65536, 10**7])
def test_limit_is_as_high_as_a_sum_allows(terms):
    product = 4.0 ** casts.limit(terms)
    assert terms * product <= 65504 < terms * product * 16
