"""Plans that the real cuDNN makes for an H200, which needs the library but no GPU."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.gpu_convolution import convolution, layers
from utils.stack import casts, cudnn_engines, cudnn_plans
from utils.stack.cudnn_plans import DIRECTIONS, NONDETERMINISTIC, TENSOR_CORE
from utils.stack.geometry import Geometry

H200 = {
    **{"deviceName": "NVIDIA H200", "deviceVer": 900, "driverVer": 13000, "warpSize": 32},
    **{"multiProcessorCount": 132, "smClockRateKHz": 1980000, "memClockRateKHz": 3201000},
    **{"totalGlobalMem": 150000000000, "l2CacheSize": 62914560, "regsPerBlock": 65536},
    **{"maxGridSize": [2**31 - 1, 65535, 65535], "maxBlockSize": [1024, 1024, 64]},
    **{"maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048, "maxCtasPerSM": 32},
    **{"maxRegistersPerSM": 65536, "maxSharedMemoryPerBlock": 49152},
    **{"maxSharedMemoryPerBlockOptin": 232448, "reservedSharedMemoryPerBlock": 1024},
    **{"supportCoopLaunch": 1, "isTccDriver": 0, "pciDeviceId": 0, "cudaDeviceId": 0},
    "memoryBusWidth": 6144,  # from cuDNN 9.28 on
}
try:
    cudnn_plans.library()
except (OSError, AttributeError) as error:
    pytest.skip(f"no cuDNN: {error}", allow_module_level=True)
try:
    DEVICE = cudnn_plans.Properties(json.dumps(H200))
except cudnn_plans.Error as error:
    if "SUBLIBRARY" not in str(error):  # from 9.28 on one of them needs the driver's library
        raise
    pytest.skip(f"no cuDNN that plans without a driver: {error}", allow_module_level=True)

DTYPES = tuple(cudnn_plans.DATA_TYPES)


def all_plans(direction, geometry, bias=False, last=False):
    """As the provider looks for them, an iterator."""
    last, unwanted = last or geometry.dtype in casts.DTYPES, cudnn_engines.unwanted(geometry.dtype)
    search = direction, geometry, bias, last, unwanted, cudnn_engines.WORKSPACE
    return cudnn_plans.plans(DEVICE, *search)


def first_plan(*search, **options):
    return next(all_plans(*search, **options), None)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [8, 64])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_every_layer_of_the_paper_has_a_plan(direction, batch, dtype):
    found = 0
    for geometry in layers(batch).values():
        search = all_plans(direction, geometry._replace(dtype=dtype))
        plans = list(itertools.islice(search, cudnn_engines.TRIED))
        assert plans, geometry
        assert max(plan.workspace for plan in plans) <= cudnn_engines.WORKSPACE
        fast = [TENSOR_CORE in plan.notes for plan in plans]
        taken, made = geometry.weights[1], geometry.weights[0]
        if dtype == "float32":
            assert not any(fast)
        elif min(taken, made) >= 128 and geometry.images[-1] >= 16:
            assert any(fast), geometry  # autotune finds it
        found += 1
    assert found == 43


@pytest.mark.parametrize("batch", [8, 64])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_every_layer_has_one_with_channels_last_in_tf32(direction, batch):
    for geometry in layers(batch).values():
        plan = first_plan(direction, geometry._replace(dtype="tf32"), last=True)
        assert plan, geometry
        if min(geometry.weights[:2]) >= 128 and geometry.images[-1] >= 16:
            assert TENSOR_CORE in plan.notes, geometry


@pytest.mark.parametrize("dtype", ["float32", "tf32"])
@pytest.mark.parametrize("batch", [8, 64])
def test_bias_is_added_in_one_go(batch, dtype):
    for geometry in layers(batch).values():
        assert first_plan("forward", geometry._replace(dtype=dtype), bias=True), geometry


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_every_layer_has_a_plan_of_which_each_run_gives_the_same_bits(direction, dtype):
    from utils.stack import chainer

    with chainer.using_config("cudnn_deterministic", True):
        for geometry in layers(8).values():
            plan = first_plan(direction, geometry._replace(dtype=dtype))
            assert plan and NONDETERMINISTIC not in plan.notes, geometry


@st.composite
def geometries(draw):
    """Two axes or three, any stride, dilation, padding, groups, odd sizes, odd channels."""
    axes = draw(st.sampled_from([2, 2, 3]))

    def per_axis(low, high):
        return draw(st.tuples(*axes * [st.integers(low, high)]))

    kernel, stride, dilate, pad = per_axis(1, 5), per_axis(1, 3), per_axis(1, 2), per_axis(0, 2)
    outputs = per_axis(1, 9)
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    taken, made = (groups * draw(st.sampled_from([1, 3, 5, 8, 15])) for _ in range(2))
    steps = zip(kernel, stride, dilate, pad, outputs, strict=True)
    size = [max(1, s * (o - 1) + d * (k - 1) + 1 - 2 * p) for k, s, d, p, o in steps]
    steps = zip(size, kernel, stride, dilate, pad, strict=True)
    outputs = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, d, p in steps]
    batch = draw(st.integers(1, 3))
    shapes = (batch, taken, *size), (made, taken // groups, *kernel), (batch, made, *outputs)
    return Geometry(*shapes, stride, pad, dilate, groups, draw(st.sampled_from(DTYPES)))


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(geometries(), st.sampled_from(list(DIRECTIONS)))
def test_any_geometry_has_a_plan(geometry, direction):
    assert first_plan(direction, geometry)


def test_geometry_that_makes_no_sense_is_an_error():
    geometry = convolution(2, 3, 4, 8, 3, 1)._replace(outputs=(2, 4, 9, 9), pad=(1, 2))
    with pytest.raises(cudnn_plans.Error, match="BAD_PARAM"):
        first_plan("forward", geometry._replace(images=(2, 5, 8, 8)))


def test_strides():
    assert cudnn_plans.strides((2, 3, 4, 5), channels_last=False) == [60, 20, 5, 1]
    assert cudnn_plans.strides((2, 3, 4, 5), channels_last=True) == [60, 1, 15, 3]
