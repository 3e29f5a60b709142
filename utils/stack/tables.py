"""Many float32 arrays in one launch of a CUDA kernel, passed as a table of their addresses."""

import numpy as np

from utils.stack import kernels

MOST = 80  # rows in one launch: the table is among its arguments, which may take 4 KiB
COLUMNS = 4  # arrays in a row at most, such as parameter, gradient, two moments
THREADS, BLOCKS = 256, 1024
MIN_PER_THREAD = 8  # numbers for a thread to be worth starting
Table = np.dtype([("at", "u8", (COLUMNS, MOST)), ("size", "i8", MOST), ("count", "i8")])

# The same structure in CUDA.
STRUCT = f"struct Table {{ float* at[{COLUMNS}][{MOST}]; long long size[{MOST}], count; }};"


def accepts(params):
    """Whether these parameters are float32, all on one GPU that takes own kernels."""
    devices = {param.device.name for param in params}
    here = len(devices) == 1 and next(iter(devices)).startswith("@cupy")
    arrays = [param.array for param in params]  # None where there are no numbers yet
    return here and kernels.usable() and all(a is not None and a.dtype == "f4" for a in arrays)


def launches(*columns):
    """Yield (table, a kernel's argument; number of blocks to launch) for columns of float32 arrays.

    columns: lists of arrays; those at the same place of all lists, a row, have the same size.
    Copies of arrays that are not contiguous live until the next table is asked for.
    """
    contiguous = kernels.get_cupy().ascontiguousarray
    for start in range(0, len(columns[0]), MOST):
        part = [[contiguous(array) for array in c[start : start + MOST]] for c in columns]
        sizes = [array.size for array in part[0]]
        table = np.zeros(1, Table)
        table["count"], table["size"][0, : len(sizes)] = len(sizes), sizes
        for k, column in enumerate(part):
            table["at"][0, k, : len(sizes)] = [array.data.ptr for array in column]
        yield table, min(BLOCKS, -(-max(sizes) // (THREADS * MIN_PER_THREAD)))
