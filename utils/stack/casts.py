"""Float32 arrays on a GPU as 16-bit ones whose channels are neighbours in memory, by own kernels.

CuPy has no such type for bfloat16, so the 16 bits are uint16 here.
"""

import functools
import math

DTYPES = "bfloat16", "float16"
BLOCKS, ROWS, TILE = 4096, 8, 32  # a block has TILE * ROWS threads, moves TILE * TILE numbers

# The only instructions that differ.  They need no header of CUDA's, which may not be installed.
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
}
BITS = "typedef unsigned short bits;"
KERNELS = r"""
#define START (((long long)blockIdx.x * ROWS + threadIdx.y) * TILE + threadIdx.x)
#define STEP ((long long)gridDim.x * ROWS * TILE)

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
    bool first = threadIdx.x == 0 && threadIdx.y == 0;
    if (first) here = 0;
    __syncthreads();
    int mine = 0;
    for (long long i = START; i < size; i += STEP)
        mine = max(mine, __float_as_int(fabsf(from[i])));
    atomicMax(&here, mine);
    __syncthreads();
    if (first) atomicMax(largest, here);
}

// One (rows, columns) matrix after the other to (columns, rows), in tiles, so that threads that
// are neighbours read neighbours, write neighbours.  A single row or column only changes its type.
template <typename From, typename To, typename Convert>
__device__ void transpose(const From* from, To* to, long long batch, long long rows,
                          long long columns, Convert convert) {
    if (rows == 1 || columns == 1) {
        for (long long i = START; i < batch * rows * columns; i += STEP)
            to[i] = convert(from[i], i % columns);
        return;
    }
    __shared__ To tile[TILE][TILE + 1];  // one more: a column's numbers lie in different banks
    long long across = (columns + TILE - 1) / TILE, down = (rows + TILE - 1) / TILE;
    for (long long t = blockIdx.x; t < batch * across * down; t += gridDim.x) {
        long long start = t / (across * down) * rows * columns;
        long long row = t / across % down * TILE, column = t % across * TILE;
        long long c = column + threadIdx.x, r = row + threadIdx.x;
        for (int y = threadIdx.y; y < TILE && row + y < rows; y += ROWS)
            if (c < columns)
                tile[y][threadIdx.x] = convert(from[start + (row + y) * columns + c], c);
        __syncthreads();
        for (int y = threadIdx.y; y < TILE && column + y < columns; y += ROWS)
            if (r < rows) to[start + (column + y) * rows + r] = tile[threadIdx.x][y];
        __syncthreads();
    }
}

// (batch, channels, places) -> (batch, places, channels)
extern "C" __global__ void pack(const float* from, bits* to, const int* largest, long long limit,
                                long long batch, long long channels, long long places) {
    int power = shift(largest, limit);
    transpose(from, to, batch, channels, places,
              [=](float x, long long) { return narrow(ldexpf(x, power)); });
}

// (batch, places, channels) -> (batch, channels, places), the shifts of both factors undone,
// `bias` (null for none) added to each channel
extern "C" __global__ void unpack(const bits* from, float* to, const int* first, const int* second,
                                  long long limit, const float* bias, long long batch,
                                  long long places, long long channels) {
    int power = -shift(first, limit) - shift(second, limit);
    transpose(from, to, batch, places, channels, [=](bits x, long long channel) {
        return ldexpf(widen(x), power) + (bias ? bias[channel] : 0);
    });
}
"""


def limit(terms):
    """The power of two that float16 factors must stay below, so that a sum of so many of their
    products does not overflow."""
    return (15 - math.ceil(math.log2(terms))) // 2


class Packed:
    """A float32 array (B, C, ...) as a 16-bit one (B, ..., C) of the current device.

    float16 reaches from 6e-8 to 65504 only: its numbers are multiplied by the power of two that
    brings the largest just below 2**limit.  That never leaves the device, so it needs no loss
    scaling, no skipped steps.  bfloat16 reaches as far as float32.
    """

    def __init__(self, array, dtype, limit):
        import cupy

        batch, channels, *axes = array.shape
        self.largest = 0  # null
        if dtype == "float16":
            self.largest = cupy.zeros(1, "int32")
            _launch(dtype, "find_largest", array.size, (array, self.largest, array.size))
        self.array = cupy.empty(array.shape, "uint16")
        sizes = batch, channels, math.prod(axes)
        _launch(dtype, "pack", array.size, (array, self.array, self.largest, limit, *sizes))


def unpacked(array, dtype, factors, limit, bias=None):
    """The product of two Packed factors, uint16 (B, ..., C) -> float32 (B, C, ...).

    array.shape is (B, C, ...), as Packed has it.  bias: C numbers to add to the channels.
    """
    import cupy

    batch, channels, *axes = array.shape
    result = cupy.empty(array.shape, "float32")
    powers = *(factor.largest for factor in factors), limit
    sizes = batch, math.prod(axes), channels
    arguments = array, result, *powers, 0 if bias is None else bias, *sizes
    _launch(dtype, "unpack", array.size, arguments)
    return result


def _launch(dtype, name, size, arguments):
    blocks = max(1, min(BLOCKS, -(-size // (TILE * ROWS))))
    _kernel(dtype, name)((blocks,), (TILE, ROWS), arguments)


@functools.cache
def _kernel(dtype, name):
    import cupy

    return cupy.RawKernel(source(dtype), name)


def source(dtype):
    """The kernels in CUDA C++."""
    sizes = f"#define TILE {TILE}\n#define ROWS {ROWS}\n"
    return sizes + BITS + CONVERSIONS[dtype] + KERNELS
