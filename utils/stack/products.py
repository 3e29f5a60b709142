"""Matrix products and copies of NumPy arrays by oneDNN, whatever their strides."""

import functools

import numpy as np

from utils.stack import dnnl

OF_THE_OUTPUT = 0  # the data type that a sum is in
KEPT = 1024  # compiled products, before the least recently used one goes


def multiply(a, b, out, add=False):
    """out[...] = a @ b, or with `add` out += a @ b: float32 arrays (..., N, K), (..., K, M).

    No two elements of an array may share memory.  Raises dnnl.Error if oneDNN has no kernel for it.
    """
    _run(functools.partial(_product, add), {dnnl.SRC: a, dnnl.WEIGHTS: b, dnnl.DST: out})


def copy(source, out, add=False):
    """out[...] = source, or with `add` out += source: float32 arrays of one shape."""
    _run(functools.partial(_reorder, add), {dnnl.FROM: source, dnnl.TO: out})


def _run(compiled, arrays):
    for array in arrays.values():
        if array.dtype != np.float32:
            raise ValueError(f"not float32: {array.dtype} {array.shape}")
    primitive, *descriptors = compiled(*((a.shape, a.strides) for a in arrays.values()))
    pairs = zip(arrays.items(), descriptors, strict=True)
    primitive({role: dnnl.memory(d, a.ctypes.data) for (role, a), d in pairs})


@functools.lru_cache(KEPT)
def _product(add, *places):
    a, b, out = map(_descriptor, places)
    attributes = _adding() if add else dnnl.library().attributes
    create = "matmul_primitive_desc_create"
    product = dnnl.Primitive(create, dnnl.library().engine, a, b, None, out, attributes)
    if "ref" in product.implementation:
        raise dnnl.Error(f"no fast product for (shape, strides) {places}")
    return product, a, b, out


@functools.lru_cache(KEPT)
def _reorder(add, *places):
    source, out = map(_descriptor, places)
    ends = source, dnnl.library().engine, out, dnnl.library().engine
    attributes = _adding() if add else dnnl.library().attributes
    return dnnl.Primitive("reorder_primitive_desc_create", *ends, attributes), source, out


def _descriptor(place):
    """The memory descriptor of an array, by its shape and its strides in bytes."""
    shape, strides = place
    if shape[-1] == 1:  # NumPy may have any stride there, oneDNN wants one
        strides = *strides[:-1], 4
    steps = dnnl.Dims(*(stride // 4 for stride in strides))
    create = "memory_desc_create_with_strides"
    return dnnl.Owned("memory_desc", create, len(shape), dnnl.Dims(*shape), dnnl.F32, steps)


@functools.cache
def _adding():
    """Attributes that make a kernel add to its output."""
    sums = dnnl.Owned("post_ops", "post_ops_create")
    attributes = dnnl.Owned("primitive_attr", "primitive_attr_create")
    dnnl.library().post_ops_append_sum(sums, 1, 0, OF_THE_OUTPUT)
    dnnl.library().primitive_attr_set_scratchpad_mode(attributes, dnnl.SCRATCHPAD_USER)
    dnnl.library().primitive_attr_set_post_ops(attributes, sums)
    return attributes
