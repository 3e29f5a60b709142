"""An endless stream of random training batches that remembers where it was."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from utils.stack import chainer


class ClipIterator(chainer.dataset.Iterator):
    """Batches of clips from a store, each clip once an epoch in an order drawn from `seed`.

    `next()` returns uint8 (batch, T, C, H, W); the following batch is read meanwhile.  The order of
    an epoch depends on the seed and the epoch alone, so (epoch, position) is all that a snapshot
    has to keep.  A last, partial batch of an epoch is filled from the start of the next one.
    """

    def __init__(self, store, batch_size, seed):
        self.store, self.batch_size, self.seed = store, batch_size, seed
        self.position = 0  # clips drawn since the first epoch began
        self.previous_epoch_detail = -1.0
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="clips")
        self.orders = {}
        self.ahead = None

    def __next__(self):
        if self.ahead is None:
            self.ahead = self.read_at(self.position)
        batch = self.ahead.result()
        self.previous_epoch_detail = self.epoch_detail
        self.position += self.batch_size
        self.ahead = self.read_at(self.position)
        return batch

    next = __next__

    def read_at(self, position):
        drawn = [divmod(k, len(self.store)) for k in range(position, position + self.batch_size)]
        indices = np.array([self.order(epoch)[k] for epoch, k in drawn])
        return self.reader.submit(self.store.read, indices)

    def order(self, epoch):
        """The permutation of all clips in this epoch; only the two in use are kept."""
        if epoch not in self.orders:
            self.orders = {e: o for e, o in self.orders.items() if e == epoch - 1}
            random = np.random.default_rng((self.seed, epoch))
            self.orders[epoch] = random.permutation(len(self.store))
        return self.orders[epoch]

    @property
    def epoch_detail(self):
        return self.position / len(self.store)

    @property
    def epoch(self):
        return self.position // len(self.store)

    @property
    def is_new_epoch(self):
        return int(self.previous_epoch_detail) < self.epoch if self.position else False

    def serialize(self, serializer):
        self.position = int(serializer("position", self.position))
        self.previous_epoch_detail = float(
            serializer("previous_epoch_detail", self.previous_epoch_detail)
        )
        self.ahead = None  # what was read ahead belongs to the old position

    def finalize(self):
        self.reader.shutdown()


def to_past_and_future(history):
    """Return the converter of an updater: uint8 clips -> (past, future) on the device.

    Both are float32 in [-1, 1], (B, history, C, H, W) and (B, T - history, C, H, W).
    """
    from utils.pixels import normalise

    def convert(clips, device):
        frames = normalise(device.send(clips))
        return frames[:, :history], frames[:, history:]

    return convert
