"""Training clips on their way to the device."""

import contextlib
import math
import sys

import numpy as np
from tqdm import tqdm

from utils import pixels
from utils.batches import ClipIterator, ClipOrder, split, to_past_and_future
from utils.stack import chainer, kernels

SHARE = 0.5  # of the GPU's free memory that clips may take; training needs the rest
CHUNK_BYTES = 2**26  # of clips that are read from the store at a time
SLOTS = 2  # batches that may be on their way to the GPU at once
THREADS, BLOCKS = 256, 1024

# Picks a batch out of the clips on the GPU and normalises it as utils/pixels.py does.
GATHER = r"""
extern "C" __global__ void gather(
    const unsigned char* clips, const long long* numbers, float* frames,
    long long clip_size, long long size) {
  for (long long i = FIRST; i < size; i += STEP) {
    float pixel = clips[numbers[i / clip_size] * clip_size + i % clip_size];
    frames[i] = pixel / HALF_RANGEf - 1.0f;
  }
}
""".replace("HALF_RANGE", str(pixels.HALF_RANGE))


def supply(store, batch_size, seed, device):
    """(iterator of batches, converter of a batch to past and future) for an updater.

    On a GPU all clips are uploaded if they fit into its memory; otherwise each batch is read from
    the store while the GPU computes. A line on stderr says which. The clips, their order and what
    snapshots hold are the same either way.
    """
    if device.xp is np:
        return ClipIterator(store, batch_size, seed), to_past_and_future(store.history)
    size = len(store) * math.prod(store.shape)
    free = device.xp.cuda.runtime.memGetInfo()[0]
    free += device.xp.get_default_memory_pool().free_bytes()
    sizes = f"{size / 2**20:.0f} MiB of clips, {free / 2**20:.0f} MiB free on the GPU"
    if size <= SHARE * free:
        with contextlib.suppress(MemoryError):  # another process took it, or it is fragmented
            converter = Gather(store, device)
            print(f"{sizes}: they are kept there", file=sys.stderr)
            return ClipOrder(len(store), batch_size, seed), converter
    print(f"{sizes}: they are read from {store.path} as it trains", file=sys.stderr)
    return ClipIterator(store, batch_size, seed), Upload(store.history, device)


class Gather:
    """A converter of clip numbers, int (B,), to past and future; it holds all clips on the GPU."""

    def __init__(self, store, device):
        xp = device.xp
        self.history = store.history
        self.clips = xp.empty((len(store), *store.shape), np.uint8)
        chunk = max(1, CHUNK_BYTES // math.prod(store.shape))
        with tqdm(total=len(store), unit="clip", desc="to the GPU", disable=None) as bar:
            for start in range(0, len(store), chunk):
                stop = min(start + chunk, len(store))
                clips = store.read(np.arange(start, stop))
                self.clips[start:stop].set(clips)
                xp.cuda.get_current_stream().synchronize()  # else they could be freed too early
                bar.update(stop - start)

    def __call__(self, numbers, device):
        numbers = device.send(np.asarray(numbers, np.int64))
        return split(gathered(self.clips, numbers), self.history)


def gathered(clips, numbers):
    """clips[numbers], float32 (B, T, C, H, W) in [-1, 1].

    clips: uint8 (N, T, C, H, W); numbers: int64 (B,); all arrays are on the GPU.
    """
    if not kernels.usable():
        return pixels.normalise(clips[numbers])
    frames = kernels.get_cupy().empty((len(numbers), *clips.shape[1:]), np.float32)
    sizes = map(np.int64, (clips[0].size, frames.size))
    gather = kernels.compiled(GATHER, "gather")
    gather((BLOCKS,), (THREADS,), (clips, numbers, frames, *sizes))
    return frames


class Upload:
    """A converter of clips, uint8 (B, T, C, H, W), that uploads them while the GPU computes.

    They are copied on a stream of its own, from page-locked memory. SLOTS buffers take turns, so
    that the host can fill one while the GPU still reads the batch before from another.
    """

    def __init__(self, history, device):
        self.history, self.xp = history, device.xp
        self.stream = self.xp.cuda.Stream(non_blocking=True)
        self.slots = []

    def __call__(self, clips, device):
        if not self.slots or self.slots[0].host.shape != clips.shape:
            self.slots = [Slot(self.xp, clips.shape) for _ in range(SLOTS)]
        slot = self.slots.pop(0)
        self.slots.append(slot)
        slot.sent.synchronize()  # its earlier batch is on the GPU: the host may overwrite it
        slot.host[...] = clips
        self.stream.wait_event(slot.taken)
        slot.device.set(slot.host, self.stream)
        slot.sent.record(self.stream)
        here = self.xp.cuda.get_current_stream()
        here.wait_event(slot.sent)
        frames = pixels.normalise(slot.device)
        slot.taken.record(here)
        return split(frames, self.history)


class Slot:
    """Buffers for a batch on the host and on the GPU, with the events that guard them.

    sent: the batch has been copied to the GPU. taken: it has been normalised from there.
    """

    def __init__(self, xp, shape):
        self.host = chainer.backends.cuda.cupyx.empty_pinned(shape, np.uint8)
        self.device = xp.empty(shape, np.uint8)
        self.sent, self.taken = xp.cuda.Event(), xp.cuda.Event()
        self.taken.record()  # the copy waits for earlier work of the current stream on this memory
