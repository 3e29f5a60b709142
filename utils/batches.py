"""An endless stream of random training batches that remembers where it was."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from utils import pixels
from utils.stack import chainer


class ClipOrder(chainer.dataset.Iterator):
    """Numbers of `count` clips in batches, each once an epoch in an order drawn from `seed`.

    `next()` returns int64 (batch,).  The order of an epoch depends on the seed and the epoch alone,
    so (epoch, position) is all that a snapshot has to keep.  A last, partial batch of an epoch is
    filled from the start of the next one.
    """

    def __init__(self, count, batch_size, seed):
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.position = 0  # clips drawn since the first epoch began
        self.previous_epoch_detail = -1.0
        self.orders = {}

    def __next__(self):
        numbers = self.numbers_at(self.position)
        self.previous_epoch_detail = self.epoch_detail
        self.position += self.batch_size
        return numbers

    def next(self):
        return self.__next__()

    def numbers_at(self, position):
        """The batch that begins `position` clips after the beginning."""
        drawn = [divmod(k, self.count) for k in range(position, position + self.batch_size)]
        return np.array([self.order(epoch)[k] for epoch, k in drawn])

    def order(self, epoch):
        """The permutation of all clips in this epoch; only the two in use are kept."""
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
        self.previous_epoch_detail = float(
            serializer("previous_epoch_detail", self.previous_epoch_detail)
        )


class ClipIterator(ClipOrder):
    """Batches of the clips themselves, out of a store in that order.

    `next()` returns uint8 (batch, T, C, H, W); the following batch is read meanwhile.
    """

    def __init__(self, store, batch_size, seed):
        super().__init__(len(store), batch_size, seed)
        self.store = store
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="clips")
        self.ahead = None

    def __next__(self):
        numbers = super().__next__()
        batch = self.ahead or self.read(numbers)
        self.ahead = self.read(self.numbers_at(self.position))
        return batch.result()

    def read(self, numbers):
        return self.reader.submit(self.store.read, numbers)

    def serialize(self, serializer):
        super().serialize(serializer)
        self.ahead = None  # what was read ahead belongs to the old position

    def finalize(self):
        self.reader.shutdown()


def to_past_and_future(history):
    """Return the converter of an updater: uint8 clips -> (past, future) on the device.

    Both are float32 in [-1, 1], (B, history, C, H, W) and (B, T - history, C, H, W).
    """

    def convert(clips, device):
        return split(pixels.normalise(device.send(clips)), history)

    return convert


def split(frames, history):
    """(B, T, C, H, W) -> the first `history` frames of each clip, the others: both are views."""
    return frames[:, :history], frames[:, history:]
