"""Matrix products and copies of NumPy arrays by oneDNN, whatever their strides."""

import functools

import numpy as np

from utils.stack import dnnl

OF_THE_OUTPUT = 0  # oneDNN's "undefined": a sum has the data type of the output
CACHED = 1024  # compiled products, before the least recently used one goes


def multiply(a, b, out, add=False):
    """out[...] = a @ b, or with `add` out += a @ b: float32 arrays (..., N, K), (..., K, M).

    No two elements of an array may share memory. Raises dnnl.Error if oneDNN has no kernel for it.
    """
    _run(_product, add, a, b, out)


def copy(source, out, add=False):
    """out[...] = source, or with `add` out += source: float32 arrays of one shape."""
    _run(_reorder, add, source, out)


def _run(compiled, add, *arrays):
    for array in arrays:
        if array.dtype != np.float32:
            raise ValueError(f"not float32: {array.dtype} {array.shape}")
    primitive = compiled(add, *((array.shape, array.strides) for array in arrays))
    primitive(*(array.ctypes.data for array in arrays))


@functools.lru_cache(CACHED)
def _product(add, *layouts):
    a, b, out = map(_descriptor, layouts)
    roles, attributes = (dnnl.SRC, dnnl.WEIGHTS, dnnl.DST), _attributes(add)
    create = "matmul_primitive_desc_create"
    product = dnnl.Primitive(roles, create, dnnl.library().engine, a, b, None, out, attributes)
    if "ref" in product.implementation:
        raise dnnl.Error(f"no fast product for (shape, strides) {layouts}")
    return product


@functools.lru_cache(CACHED)
def _reorder(add, *layouts):
    return dnnl.reorder(*map(_descriptor, layouts), _attributes(add))


def _attributes(add):
    return _accumulating() if add else dnnl.library().attributes


def _descriptor(layout):
    """The memory descriptor of an array, by its shape and its strides in bytes."""
    shape, strides = layout
    if shape[-1] == 1:  # NumPy may have any stride there, oneDNN wants one
        strides = *strides[:-1], 4
    steps = dnnl.Dims(*(stride // 4 for stride in strides))
    create = "memory_desc_create_with_strides"
    return dnnl.Owned("memory_desc", create, len(shape), dnnl.Dims(*shape), dnnl.F32, steps)


@functools.cache
def _accumulating():
    """Attributes that make a kernel add to its output."""
    sums = dnnl.Owned("post_ops", "post_ops_create")
    attributes = dnnl.Owned("primitive_attr", "primitive_attr_create")
    dnnl.library().post_ops_append_sum(sums, 1, 0, OF_THE_OUTPUT)
    dnnl.library().primitive_attr_set_scratchpad_mode(attributes, dnnl.SCRATCHPAD_USER)
    dnnl.library().primitive_attr_set_post_ops(attributes, sums)
    return attributes
