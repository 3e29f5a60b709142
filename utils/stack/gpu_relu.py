"""Bias and ReLU on a GPU, with their gradients, for arrays with channels last in memory."""

from utils.stack import casts, kernels

TILE, ROWS = 32, 8  # channels of a block, rows of places that it goes through side by side
PARTS = 128  # blocks that share a channel, at most
MIN_PER_THREAD = 8  # numbers for a thread to be worth starting

KERNELS = r"""
// Adds its bias to each channel of (places, channels), then takes the ReLU, if asked for.  A block
// has TILE channels, each `parts`-th ROWS of the places.
extern "C" __global__ void activate(const bits* __restrict__ maps, const float* __restrict__ bias,
                                    bits* __restrict__ output, long long relu, long long parts,
                                    long long places, long long channels) {
    long long c = blockIdx.x / parts * TILE + threadIdx.x;
    if (c >= channels) return;
    float b = bias[c];
#pragma unroll 4
    for (long long r = blockIdx.x % parts * ROWS + threadIdx.y; r < places; r += parts * ROWS) {
        float x = widen(maps[r * channels + c]) + b;
        output[r * channels + c] = narrow(relu && x < 0 ? 0 : x);
    }
}

// What a ReLU that wrote `output` passes on of a gradient (places, channels), and the sum of that
// over the places for each channel.  Without `output` (null) all is passed on.  Of the blocks,
// which share the work as above, the last one of each TILE channels adds up the partial sums of
// all, in the same order each time.  `done`, one number for each TILE channels, 0 before, counts
// the blocks that have written theirs.
extern "C" __global__ void pass_on(const bits* __restrict__ output,
                                   const bits* __restrict__ gradient, bits* __restrict__ passed,
                                   float* sums, volatile float* partial, int* done,
                                   long long parts, long long places, long long channels) {
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
            if (output && !(widen(output[i]) > 0)) g = 0;
            passed[i] = narrow(g);
            sum += g;
        }
    }
    rows[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && c < channels) {
        for (int y = 1; y < ROWS; y++) sum += rows[y][threadIdx.x];
        partial[part * channels + c] = sum;
    }
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0) before = atomicAdd(&done[group], 1);
    __syncthreads();
    if (before + 1 < parts) return;
    sum = 0;
    if (c < channels)
        for (part = threadIdx.y; part < parts; part += ROWS) sum += partial[part * channels + c];
    rows[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y || c >= channels) return;
    for (int y = 1; y < ROWS; y++) sum += rows[y][threadIdx.x];
    sums[c] = sum;
}
"""
SIZES = f"#define TILE {TILE}\n#define ROWS {ROWS}\n"
SOURCES = {dtype: SIZES + there + KERNELS for dtype, there in casts.TYPES.items()}


def activated(maps, bias, dtype, relu):
    """Maps (B, C, ...), packed as by casts.packed, plus a bias (C,), after a ReLU if `relu`."""
    output = kernels.get_cupy().empty(maps.shape, casts.STORED_AS[dtype])
    _launch_shared(dtype, "activate", (maps, bias, output, int(relu)), maps)
    return output


def passed_on(gradient, output, dtype, done):
    """(gradient of a ReLU's input; its sums over all but the channels, the bias's gradient).

    gradient: of the ReLU's output, (B, C, ...), packed as by casts.packed. output: the ReLU's,
    None if there is none. done: int32 zeros, at least groups(C), which the kernel counts up.
    """
    empty = kernels.get_cupy().empty
    passed, channels = empty(gradient.shape, casts.STORED_AS[dtype]), gradient.shape[1]
    sums, partial = (empty(shape, "float32") for shape in ((channels,), (PARTS, channels)))
    arrays = 0 if output is None else output, gradient, passed, sums, partial, done
    _launch_shared(dtype, "pass_on", arrays, gradient)
    return passed, sums


def _launch_shared(dtype, name, arguments, maps):
    """Launch a kernel in which up to PARTS blocks share the places of each channel."""
    channels = maps.shape[1]
    places = maps.size // channels
    parts = max(1, min(PARTS, places // (ROWS * MIN_PER_THREAD)))
    shape = (parts * groups(channels),), (TILE, ROWS)
    kernels.compiled(SOURCES[dtype], name)(*shape, (*arguments, parts, places, channels))


def groups(channels):
    """How many blocks of TILE channels all channels take."""
    return -(-channels // TILE)
