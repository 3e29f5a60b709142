"""Matrix products of NumPy arrays by oneDNN, whatever their strides."""

import functools

import numpy as np

from utils.stack import dnnl
from utils.stack.dnnl import (
    DST,
    F32,
    FROM,
    SCRATCHPAD_USER,
    SRC,
    TO,
    WEIGHTS,
    Dims,
    Owned,
    Primitive,
    library,
)

OF_THE_OUTPUT = 0  # the data type that a sum is in
KEPT = 1024  # compiled products, before the least recently used one goes


def multiply(a, b, out, add=False):
    """out[...] = a @ b, or with `add` the sum of both: float32 arrays (..., N, K), (..., K, M).

    No two elements of an array may share a place in memory.  Raises dnnl.Error if oneDNN cannot.
    """
    _run(functools.partial(_product, add), {SRC: a, WEIGHTS: b, DST: out})


def copy(source, out, add=False):
    """out[...] = source, or with `add` += : float32 arrays of one shape, as in `multiply`."""
    _run(functools.partial(_reorder, add), {FROM: source, TO: out})


def _run(compiled, arrays):
    for array in arrays.values():
        if array.dtype != np.float32:
            raise ValueError(f"not float32: {array.dtype} {array.shape}")
    primitive, *layouts = compiled(*((a.shape, a.strides) for a in arrays.values()))
    pairs = zip(arrays.items(), layouts, strict=True)
    primitive({role: dnnl.memory(layout, a.ctypes.data) for (role, a), layout in pairs})


@functools.lru_cache(KEPT)
def _product(add, *places):
    a, b, out = map(_layout, places)
    attributes = _adding() if add else library().attributes
    create = "matmul_primitive_desc_create"
    product = Primitive(create, library().engine, a, b, None, out, attributes)
    if "ref" in product.implementation:
        raise dnnl.Error(f"no fast product for (shape, strides) {places}")
    return product, a, b, out


@functools.lru_cache(KEPT)
def _reorder(add, *places):
    source, out = map(_layout, places)
    ends = source, library().engine, out, library().engine
    attributes = _adding() if add else library().attributes
    return Primitive("reorder_primitive_desc_create", *ends, attributes), source, out


def _layout(place):
    shape, strides = place
    if shape[-1] == 1:  # whatever NumPy has there
        strides = *strides[:-1], 4
    steps = Dims(*(stride // 4 for stride in strides))
    create = "memory_desc_create_with_strides"
    return Owned("memory_desc", create, len(shape), Dims(*shape), F32, steps)


@functools.cache
def _adding():
    """Attributes by which a kernel adds to its output."""
    sums = Owned("post_ops", "post_ops_create")
    attributes = Owned("primitive_attr", "primitive_attr_create")
    library().post_ops_append_sum(sums, 1, 0, OF_THE_OUTPUT)
    library().primitive_attr_set_scratchpad_mode(attributes, SCRATCHPAD_USER)
    library().primitive_attr_set_post_ops(attributes, sums)
    return attributes
