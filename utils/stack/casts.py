"""Float32 arrays on a GPU converted to ones with channels last, and back, by own CUDA kernels.

The converted arrays are of 16 bits, or float32 for tf32, which cuDNN rounds itself. CuPy has no
bfloat16, so arrays of 16 bits are of dtype uint16 here.
"""

import math

import numpy as np

from utils.stack import kernels

DTYPES = "bfloat16", "float16"  # those of 16 bits
# {type that cuDNN multiplies: dtype of the CuPy array that holds it}
STORED_AS = {"bfloat16": "uint16", "float16": "uint16", "tf32": "float32"}
BLOCKS, ROWS, TILE = 4096, 8, 32  # a block has TILE * ROWS threads and moves TILE * TILE numbers
MOST = 64  # arrays in one launch, whose arguments may take 4 KiB
# As the structures Array and Arrays of the kernels.
ARRAY = [(name, "i8") for name in ("from", "to", "size", "rows", "columns", "tiles")]
ARRAYS = np.dtype([("of", ARRAY, MOST), ("count", "i8")])

# All that differs between the types. Instead of CUDA's headers, which may not be installed, PTX
# instructions convert the numbers.
CONVERSIONS = {
    "bfloat16": r"""
__device__ bits narrow(float x) {
    bits y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}
__device__ float widen(bits x) { return __int_as_float((int)x << 16); }
""",
    "float16": r"""
__device__ bits narrow(float x) {
    bits y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}
__device__ float widen(bits x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
    return y;
}
""",
    "tf32": r"""
__device__ float narrow(float x) { return x; }
__device__ float widen(float x) { return x; }
""",
}
BITS = {"uint16": "typedef unsigned short bits;", "float32": "typedef float bits;"}
KERNELS = r"""
struct Array { const void* from; void* to; long long size, rows, columns, tiles; };
struct Arrays { Array of[MOST]; long long count; };

// The power of two that brings numbers up to `largest` (float bits, null for none) below
// 2^limit; 0 where there is none but zeros, or an infinity that has to stay one.
__device__ int shift(const int* largest, long long limit) {
    if (!largest || *largest == 0 || *largest >= 0x7f800000) return 0;
    return min((int)limit + 126 - (*largest >> 23), 126);
}

// Puts the largest absolute value of `size` numbers into `largest`, which is 0 before.  NaN is
// larger than infinity: for floats above 0 the bits are in the order of the values.
extern "C" __global__ void find_largest(const float* from, int* largest, long long size) {
    __shared__ int here;
    if (threadIdx.x == 0) here = 0;
    __syncthreads();
    int mine = 0;
    for (long long i = FIRST; i < size; i += STEP)
        mine = max(mine, __float_as_int(fabsf(from[i])));
    atomicMax(&here, mine);
    __syncthreads();
    if (threadIdx.x == 0) atomicMax(largest, here);
}

// The (rows, columns) matrices of each array to (columns, rows), in tiles, so that threads that are
// neighbours read neighbours, write neighbours.  A single row or column only changes its type.
template <typename From, typename To, typename Convert>
__device__ void transpose(const Arrays& arrays, Convert convert) {
    __shared__ To tile[TILE][TILE + 1];  // one more: a column's numbers lie in different banks
    unsigned t = blockIdx.x;  // tiles are numbered through all arrays
    for (int k = 0; k < arrays.count; t -= arrays.of[k++].tiles) {
        const From* from = (const From*)arrays.of[k].from;
        To* to = (To*)arrays.of[k].to;
        unsigned rows = arrays.of[k].rows, columns = arrays.of[k].columns;
        unsigned across = (columns + TILE - 1) / TILE, each = (rows + TILE - 1) / TILE * across;
        for (; t < arrays.of[k].tiles; t += gridDim.x) {
            if (rows == 1 || columns == 1) {
                long long i = ((long long)t * ROWS + threadIdx.y) * TILE + threadIdx.x;
                if (i < arrays.of[k].size) to[i] = convert(from[i], i % columns);
                continue;
            }
            long long start = (long long)(t / each) * rows * columns;
            unsigned row = t % each / across * TILE, column = t % each % across * TILE;
            unsigned c = column + threadIdx.x, r = row + threadIdx.x;
            From read[TILE / ROWS] = {};  // one after the other each would be waited for
#pragma unroll
            for (int j = 0; j < TILE / ROWS; j++) {
                unsigned y = row + threadIdx.y + j * ROWS;
                if (y < rows && c < columns) read[j] = from[start + (long long)y * columns + c];
            }
#pragma unroll
            for (int j = 0; j < TILE / ROWS; j++)
                if (c < columns) tile[threadIdx.y + j * ROWS][threadIdx.x] = convert(read[j], c);
            __syncthreads();
#pragma unroll
            for (int j = 0; j < TILE / ROWS; j++) {
                unsigned y = column + threadIdx.y + j * ROWS;
                if (y < columns && r < rows)
                    to[start + (long long)y * rows + r] = tile[threadIdx.x][threadIdx.y + j * ROWS];
            }
            __syncthreads();
        }
    }
}

// (batch, channels, places) -> (batch, places, channels)
extern "C" __global__ void pack(const Arrays arrays, const int* largest, long long limit) {
    int power = shift(largest, limit);
    transpose<float, bits>(arrays, [=](float x, long long) { return narrow(ldexpf(x, power)); });
}

// (batch, places, channels) -> (batch, channels, places), the shifts of both factors undone,
// `bias` (null for none) added to each channel
extern "C" __global__ void unpack(const Arrays arrays, const int* first, const int* second,
                                  long long limit, const float* bias) {
    int power = -shift(first, limit) - shift(second, limit);
    transpose<bits, float>(arrays, [=](bits x, long long channel) {
        return ldexpf(widen(x), power) + (bias ? bias[channel] : 0);
    });
}
"""
SIZES = f"#define TILE {TILE}\n#define ROWS {ROWS}\n#define MOST {MOST}\n"
TYPES = {dtype: BITS[kept] + CONVERSIONS[dtype] for dtype, kept in STORED_AS.items()}
SOURCES = {dtype: SIZES + there + KERNELS for dtype, there in TYPES.items()}


def limit(terms):
    """The largest `limit` for which a sum of `terms` products of numbers below 2**limit does not
    overflow float16."""
    return (15 - math.ceil(math.log2(terms))) // 2


class Packed:
    """A float32 array (B, C, ...) as one of `dtype` (B, ..., C) on the current device.

    float16 reaches from 6e-8 to 65504 only, so numbers are multiplied by the power of two that
    brings the largest of them just below 2**limit; then no loss scaling is needed and no step has
    to be skipped. The power is found on the device and stays there. bfloat16 reaches as far as
    float32.
    """

    def __init__(self, array, dtype, limit):
        self.largest = 0  # a null pointer to the kernels
        if dtype == "float16":
            self.largest = kernels.get_cupy().zeros(1, "int32")
            threads = TILE * ROWS
            blocks = max(1, min(BLOCKS, -(-array.size // threads)))
            kernel = kernels.compiled(SOURCES[dtype], "find_largest")
            kernel((blocks,), (threads,), (array, self.largest, array.size))
        (self.array,) = packed([array], dtype, self.largest, limit)


def packed(arrays, dtype, largest=0, limit=0):
    """Convert float32 arrays (B, C, ...) to `dtype` with channels last in memory, in one launch.

    The new arrays still state the shape (B, C, ...). An array whose memory would be the same is
    returned as it is. largest, limit: as in Packed.
    """
    empty = kernels.get_cupy().empty
    results = [a if same(a, dtype) else empty(a.shape, STORED_AS[dtype]) for a in arrays]
    _transpose("pack", arrays, results, dtype, largest, limit)
    return results


def unpacked(arrays, dtype, factors=(), limit=0, bias=None):
    """The inverse of `packed`: arrays back to float32 (B, C, ...), in one launch.

    factors: the two Packed of which each array is the product; their scaling is undone. bias:
    C numbers to add to the channels.
    """
    empty = kernels.get_cupy().empty
    results = [a if bias is None and same(a, dtype) else empty(a.shape, "f4") for a in arrays]
    largest = [factor.largest for factor in factors] or (0, 0)
    _transpose("unpack", arrays, results, dtype, *largest, limit, 0 if bias is None else bias)
    return results


def same(array, dtype):
    """Whether packing a float32 array (B, C, ...) would leave its memory as it is."""
    return STORED_AS[dtype] == "float32" and 1 in (array.shape[1], math.prod(array.shape[2:]))


def _transpose(name, arrays, results, dtype, *arguments):
    """Launch a kernel that writes each result from its array, unless they are the same one."""
    moves = [
        (array.data.ptr, to.data.ptr, array.size, *matrices(name, array.shape))
        for array, to in zip(arrays, results, strict=True)
        if array is not to
    ]
    for start in range(0, len(moves), MOST):
        some, table = moves[start : start + MOST], np.zeros(1, ARRAYS)
        table["of"][0, : len(some)], table["count"] = some, len(some)
        blocks = min(BLOCKS, int(table["of"]["tiles"].sum()))
        kernels.compiled(SOURCES[dtype], name)((blocks,), (TILE, ROWS), (table, *arguments))


def matrices(name, shape):
    """(rows, columns, tiles in all) of the matrices that a kernel transposes in an array."""
    batch, channels, *axes = shape
    places = math.prod(axes)
    rows, columns = (channels, places) if name == "pack" else (places, channels)
    if 1 in (rows, columns):
        return rows, columns, -(-batch * rows * columns // (TILE * ROWS))
    return rows, columns, batch * -(-rows // TILE) * -(-columns // TILE)
