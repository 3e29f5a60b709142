"""An endless stream of random training batches that remembers where it was."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from utils import pixels
from utils.stack import chainer

READ_BYTES = 2**20  # of batches read at once: several take two thirds of the time of one by one


class ClipOrder(chainer.dataset.Iterator):
    """Batches of clip numbers, int64 (batch,): each of `count` clips once an epoch, shuffled.

    The order of an epoch depends on the seed and the number of the epoch alone, so all later
    batches follow from `position`; a snapshot keeps previous_epoch_detail, too, which tells Chainer
    of new epochs. An incomplete batch at the end of an epoch is filled from the start of the next
    one.
    """

    def __init__(self, count, batch_size, seed):
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.position = 0  # clips drawn since the first epoch began
        self.previous_epoch_detail = -1.0
        self.orders = {}

    def __next__(self):
        numbers = self.numbers_at(self.position, 1)
        self.advance()
        return numbers

    def advance(self):
        """Move on by one batch."""
        self.previous_epoch_detail = self.epoch_detail
        self.position += self.batch_size

    def next(self):  # Chainer calls it
        return self.__next__()

    def numbers_at(self, position, batches):
        """Clip numbers of successive batches, one array; `position`: clips drawn before them."""
        stop = position + batches * self.batch_size
        drawn = [divmod(k, self.count) for k in range(position, stop)]
        return np.array([self.order(epoch)[k] for epoch, k in drawn])

    def order(self, epoch):
        """The permutation of all clips in this epoch; it and the one before are cached."""
        if epoch not in self.orders:
            self.orders = {e: o for e, o in self.orders.items() if e == epoch - 1}
            random = np.random.default_rng((self.seed, epoch))
            self.orders[epoch] = random.permutation(self.count)
        return self.orders[epoch]

    @property
    def epoch_detail(self):
        return self.position / self.count

    @property
    def epoch(self):
        return self.position // self.count

    @property
    def is_new_epoch(self):
        return int(self.previous_epoch_detail) < self.epoch if self.position else False

    def serialize(self, serializer):
        self.position = int(serializer("position", self.position))
        if self.position < 0:
            raise ValueError(f"clip {self.position}")
        self.previous_epoch_detail = float(
            serializer("previous_epoch_detail", self.previous_epoch_detail)
        )


class ClipIterator(ClipOrder):
    """Batches of clips, uint8 (batch, T, C, H, W), read from a store in the order of ClipOrder.

    A thread reads the next batches in the background.
    """

    def __init__(self, store, batch_size, seed):
        super().__init__(len(store), batch_size, seed)
        self.store = store
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="clips")
        fit = READ_BYTES // (batch_size * math.prod(store.shape))
        self.at_once = max(1, min(fit, len(store) // batch_size))
        self.batches, self.ahead = iter(()), None

    def __next__(self):
        batch = next(self.batches, None)
        if batch is None:
            several = self.ahead or self.read(self.position)
            self.ahead = self.read(self.position + self.at_once * self.batch_size)
            self.batches = iter(np.split(several.result(), self.at_once))
            batch = next(self.batches)
        self.advance()
        return batch

    def read(self, position):
        """A Future of `at_once` batches from this position on, one array."""
        return self.reader.submit(self.store.read, self.numbers_at(position, self.at_once))

    def serialize(self, serializer):
        super().serialize(serializer)
        if isinstance(serializer, chainer.Deserializer):
            self.batches, self.ahead = iter(()), None  # what was read ahead is of the old position

    def finalize(self):
        self.reader.shutdown()


def to_past_and_future(history):
    """The converter of an updater: (clips, uint8 (B, T, C, H, W), device) -> (past, future).

    Both are on the device, float32 in [-1, 1], (B, history, C, H, W), (B, T - history, C, H, W).
    """

    def convert(clips, device):
        return split(pixels.normalise(device.send(clips)), history)

    return convert


def split(frames, history):
    """(B, T, C, H, W) -> views (past, future): the first `history` frames of each clip, others."""
    return frames[:, :history], frames[:, history:]
