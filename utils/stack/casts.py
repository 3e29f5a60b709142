"""Float32 arrays on a GPU as others whose channels are neighbours in memory, by own kernels.

They are of 16 bits, or of float32 for tf32, which cuDNN rounds itself.  CuPy has no such type for
bfloat16, so the 16 bits are uint16 here.
"""

import math

import numpy as np

from utils.stack import kernels

DTYPES = "bfloat16", "float16"
KEPT_IN = {"bfloat16": "uint16", "float16": "uint16", "tf32": "float32"}
BLOCKS, ROWS, TILE = 4096, 8, 32  # a block has TILE * ROWS threads, moves TILE * TILE numbers
PARTS, EACH = 128, 8  # blocks that share a channel; numbers for a thread to be worth starting
MOST = 64  # arrays of a launch: its arguments may take 4 KiB
ARRAY = [(name, "i8") for name in ("from", "to", "size", "rows", "columns", "tiles")]
ARRAYS = np.dtype([("of", ARRAY, MOST), ("count", "i8")])

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
    long long t = blockIdx.x;  // tiles are numbered through all arrays
    for (int k = 0; k < arrays.count; t -= arrays.of[k++].tiles) {
        const From* from = (const From*)arrays.of[k].from;
        To* to = (To*)arrays.of[k].to;
        long long rows = arrays.of[k].rows, columns = arrays.of[k].columns;
        long long across = (columns + TILE - 1) / TILE, down = (rows + TILE - 1) / TILE;
        for (; t < arrays.of[k].tiles; t += gridDim.x) {
            if (rows == 1 || columns == 1) {
                long long i = (t * ROWS + threadIdx.y) * TILE + threadIdx.x;
                if (i < arrays.of[k].size) to[i] = convert(from[i], i % columns);
                continue;
            }
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

// Adds its bias to each channel of (places, channels), then takes the ReLU, if asked for.  A block
// has TILE channels, each `parts`-th ROWS of the places.
extern "C" __global__ void activate(const bits* __restrict__ maps, const float* __restrict__ bias,
                                    bits* __restrict__ made, long long relu, long long parts,
                                    long long places, long long channels) {
    long long c = blockIdx.x / parts * TILE + threadIdx.x;
    if (c >= channels) return;
    float more = bias[c];
#pragma unroll 4
    for (long long r = blockIdx.x % parts * ROWS + threadIdx.y; r < places; r += parts * ROWS) {
        float x = widen(maps[r * channels + c]) + more;
        made[r * channels + c] = narrow(relu && x < 0 ? 0 : x);
    }
}

// What a ReLU that made `made` passes on of a gradient (places, channels), and the sum of that over
// the places for each channel.  Without `made` (null) all is passed on.  Of the blocks, which share
// the work as above, the last one of each TILE channels adds up what all have found, in the same
// order each time.  `done` is 0 before, one for each TILE channels.
extern "C" __global__ void pass_on(const bits* __restrict__ made, const bits* __restrict__ gradient,
                                   bits* __restrict__ passed, float* sums, volatile float* found,
                                   int* done, long long parts, long long places,
                                   long long channels) {
    __shared__ float rows[ROWS][TILE];
    __shared__ int before;
    long long part = blockIdx.x % parts, group = blockIdx.x / parts;
    long long c = group * TILE + threadIdx.x;
    float sum = 0;
    if (c < channels) {
#pragma unroll 4
        for (long long r = part * ROWS + threadIdx.y; r < places; r += parts * ROWS) {
            long long i = r * channels + c;
            float g = widen(gradient[i]);
            if (made && !(widen(made[i]) > 0)) g = 0;
            passed[i] = narrow(g);
            sum += g;
        }
    }
    rows[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && c < channels) {
        for (int y = 1; y < ROWS; y++) sum += rows[y][threadIdx.x];
        found[part * channels + c] = sum;
    }
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0) before = atomicAdd(&done[group], 1);
    __syncthreads();
    if (before + 1 < parts) return;
    sum = 0;
    if (c < channels)
        for (part = threadIdx.y; part < parts; part += ROWS) sum += found[part * channels + c];
    rows[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y || c >= channels) return;
    for (int y = 1; y < ROWS; y++) sum += rows[y][threadIdx.x];
    sums[c] = sum;
}
"""
SIZES = f"#define TILE {TILE}\n#define ROWS {ROWS}\n#define MOST {MOST}\n"
SOURCES = {
    dtype: SIZES + BITS[kept] + CONVERSIONS[dtype] + KERNELS for dtype, kept in KEPT_IN.items()
}


def limit(terms):
    """The power of two that float16 factors must stay below, so that a sum of so many of their
    products does not overflow."""
    return (15 - math.ceil(math.log2(terms))) // 2


class Packed:
    """A float32 array (B, C, ...) as one of `dtype` (B, ..., C) on the current device.

    float16 reaches from 6e-8 to 65504 only: its numbers are multiplied by the power of two that
    brings the largest just below 2**limit.  That never leaves the device, so it needs no loss
    scaling, no skipped steps.  bfloat16 reaches as far as float32.
    """

    def __init__(self, array, dtype, limit):
        self.largest = 0  # null
        if dtype == "float16":
            self.largest = kernels.get_cupy().zeros(1, "int32")
            threads = TILE * ROWS
            blocks = max(1, min(BLOCKS, -(-array.size // threads)))
            kernel = kernels.compiled(SOURCES[dtype], "find_largest")
            kernel((blocks,), (threads,), (array, self.largest, array.size))
        (self.array,) = packed([array], dtype, self.largest, limit)


def packed(arrays, dtype, largest=0, limit=0):
    """Float32 arrays (B, C, ...) as others (B, ..., C) of `dtype`, whose shapes stay (B, C, ...).

    By one launch; one that is the same either way is returned itself.  largest, limit: as Packed
    has them.
    """
    empty = kernels.get_cupy().empty
    made = [a if same(a, dtype) else empty(a.shape, KEPT_IN[dtype]) for a in arrays]
    _transpose("pack", arrays, made, dtype, largest, limit)
    return made


def unpacked(arrays, dtype, factors=(), limit=0, bias=None):
    """What `packed` makes of arrays, back as float32 (B, C, ...); likewise by one launch.

    factors: the two Packed ones that each is the product of.  bias: C numbers to add to the
    channels.
    """
    empty = kernels.get_cupy().empty
    made = [a if bias is None and same(a, dtype) else empty(a.shape, "float32") for a in arrays]
    largest = [factor.largest for factor in factors] or (0, 0)
    _transpose("unpack", arrays, made, dtype, *largest, limit, 0 if bias is None else bias)
    return made


def same(array, dtype):
    """Whether an array (B, C, ...) of float32 has the same numbers in the same order if packed."""
    return KEPT_IN[dtype] == "float32" and 1 in (array.shape[1], math.prod(array.shape[2:]))


def _transpose(name, arrays, made, dtype, *arguments):
    """Have a kernel write all that is made, but what is an array itself."""
    moves = [
        (array.data.ptr, to.data.ptr, array.size, *sides(name, array.shape))
        for array, to in zip(arrays, made, strict=True)
        if array is not to
    ]
    for start in range(0, len(moves), MOST):
        some, table = moves[start : start + MOST], np.zeros(1, ARRAYS)
        table["of"][0, : len(some)], table["count"] = some, len(some)
        blocks = min(BLOCKS, int(table["of"]["tiles"].sum()))
        kernels.compiled(SOURCES[dtype], name)((blocks,), (TILE, ROWS), (table, *arguments))


def sides(name, shape):
    """Rows, columns of the matrices that a kernel transposes, the tiles of all."""
    batch, channels, *axes = shape
    places = math.prod(axes)
    rows, columns = (channels, places) if name == "pack" else (places, channels)
    if 1 in (rows, columns):
        return rows, columns, -(-batch * rows * columns // (TILE * ROWS))
    return rows, columns, batch * -(-rows // TILE) * -(-columns // TILE)


def activated(maps, bias, dtype, relu):
    """Maps (B, C, ...), as Packed has them, with a bias (C,); with `relu` after a ReLU."""
    made = kernels.get_cupy().empty(maps.shape, KEPT_IN[dtype])
    _launch_shared(dtype, "activate", (maps, bias, made, int(relu)), maps)
    return made


def passed_on(gradient, made, dtype, done):
    """What a ReLU passes on of a gradient, the sums of that over all but the channels.

    gradient, made: (B, C, ...) as Packed has them, of what the ReLU made; None for no ReLU.
    done: an int32 array of zeros, one for each of its `groups`, in use.
    """
    empty = kernels.get_cupy().empty
    passed, channels = empty(gradient.shape, KEPT_IN[dtype]), gradient.shape[1]
    sums, found = (empty(shape, "float32") for shape in ((channels,), (PARTS, channels)))
    arrays = 0 if made is None else made, gradient, passed, sums, found, done
    _launch_shared(dtype, "pass_on", arrays, gradient)
    return passed, sums


def _launch_shared(dtype, name, arguments, maps):
    """PARTS blocks at most share the places of a channel."""
    channels = maps.shape[1]
    places = maps.size // channels
    parts = max(1, min(PARTS, places // (ROWS * EACH)))
    shape = (parts * groups(channels),), (TILE, ROWS)
    kernels.compiled(SOURCES[dtype], name)(*shape, (*arguments, parts, places, channels))


def groups(channels):
    """How many blocks side by side have all channels."""
    return -(-channels // TILE)
