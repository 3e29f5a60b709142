"""A training step as one CUDA graph, which a single call replays on the GPU."""

import contextlib
import functools
import gc
import os
import sys
import weakref
from typing import NamedTuple

from utils.errors import reason
from utils.stack import branches, chainer, cudnn, gpu_adam
from utils.stack.adam import is_adam

WARM_UPS = 3  # steps before one is captured: they compile kernels and choose cuDNN's engines
SPARE = []  # memory pools of graphs that are gone: CuPy 14 never frees the memory of a dropped pool


class Signature(NamedTuple):
    """All that has to stay the same for a captured graph to be valid, but counts of updates."""

    shapes: list  # (shape, dtype) of each array
    hyperparameters: list  # {name: number} of each optimizer
    multiplied_in: str | None  # cudnn.dtype_in_use()
    config: list  # values of Chainer's configuration


class Graph:
    """Calls `step`, a function of arrays on a GPU that updates the networks of `optimizers`.

    A step is hundreds of kernels, which Python takes longer to launch than the GPU to run. After
    WARM_UPS ordinary calls one is captured, and from then on replayed: the same kernels on the same
    addresses. Therefore

    - the arguments are copied to the arrays that the captured kernels read;
    - what the step reports are the same arrays each time, overwritten by the next step;
    - Adam counts its updates on the GPU; the counts on the host are brought up to date after each
      replay, and the learning rate is sent to the GPU before it.

    If shapes, hyperparameters other than Adam's learning rate, counts of updates, the type in which
    layers multiply or Chainer's configuration change between calls, all begins anew with warm-ups.

    A step that cannot be captured, because it waits for the GPU or draws numbers on the host, or
    whose hyperparameters change during the warm-ups, is called as an ordinary function from then
    on. A line on stderr says which it is. With CHAINER_GRAPH=0 every step is, without that line.
    """

    def __init__(self, step, optimizers):
        self.step, self.optimizers = step, list(optimizers)
        self.refused = os.environ.get("CHAINER_GRAPH") == "0"
        self.printed = None  # the last line on stderr
        self.cuda = None  # cupy.cuda
        self.pool, self.stream = None, None  # see `open_pool`
        # Of the present graph, or of that to come after the warm-ups:
        self.signature, self.graph, self.warmed = None, None, 0
        self.inputs = []  # arrays that its kernels read
        self.reported = {}  # {name: array} of what it reports
        self.counters = []  # all on the host that counts updates: optimizers and update rules
        self.gains = []  # what a replay adds to each of `counters`
        self.counts = []  # of `counters`, after the last call

    def __call__(self, *arrays):
        if not self.refused and self.must_begin(arrays):
            self.begin(arrays)
        if self.refused:
            self.step(*arrays)
            return
        for copy, array in zip(self.inputs, arrays, strict=True):
            copy[...] = array
        if self.warmed < WARM_UPS:
            done = self.warm_up()
        else:
            done = (self.graph or self.capture()) and self.replay()
        if not done:
            self.step(*arrays)
        self.counts = self.count()

    def must_begin(self, arrays):
        """Whether this is the first call, or one for which the present graph is not valid."""
        return self.signature != self.signature_of(arrays) or self.counts != self.count()

    def signature_of(self, arrays):
        """The Signature of a call with these arrays."""
        shapes = [(array.shape, array.dtype) for array in arrays]
        hyperparameters = [dict(optimizer.hyperparam.get_dict()) for optimizer in self.optimizers]
        for optimizer, numbers in zip(self.optimizers, hyperparameters, strict=True):
            if is_adam(optimizer):
                del numbers["alpha"]  # the learning rate, which is read on the GPU
        config = [getattr(chainer.config, name) for name in vars(chainer.global_config)]
        return Signature(shapes, hyperparameters, cudnn.dtype_in_use(), config)

    def begin(self, arrays):
        """Drop the present graph, if any, and start warming up for one that takes these arrays."""
        before, self.signature = self.signature, self.signature_of(arrays)
        warming_up = before and self.warmed < WARM_UPS
        if warming_up and before.hyperparameters != self.signature.hyperparameters:
            self.refuse("hyperparameters change from step to step")
            return
        self.counters = []
        for optimizer in self.optimizers:
            rules = (param.update_rule for param in optimizer.target.params())
            self.counters += [optimizer, *rules]
        xp = chainer.backend.get_array_module(*arrays)
        self.cuda = xp.cuda
        xp.cuda.runtime.deviceSynchronize()  # the previous graph may still be running
        self.graph, self.inputs, self.reported = None, [], {}
        if self.pool is None:
            self.open_pool()
        self.pool.free_all_blocks()
        xp.get_default_memory_pool().free_all_blocks()
        self.inputs = [xp.empty_like(array) for array in arrays]
        self.warmed = 0

    def open_pool(self):
        """Take a memory pool and a stream for the graph alone."""
        # A replay writes to all memory that was in use at some time during the capture. From
        # another pool that would since have been given to other arrays.
        allocator = functools.partial(allocate, self.cuda)
        self.pool = SPARE.pop() if SPARE else self.cuda.MemoryPool(allocator)
        self.stream = self.cuda.Stream(non_blocking=True)
        weakref.finalize(self, give_back, self.pool).atexit = False

    @contextlib.contextmanager
    def apart(self):
        """Context of work on the graph's stream, in its memory pool.

        It begins after all work on the current stream, whose later work waits for it.
        """
        here = self.cuda.get_current_stream()
        self.stream.wait_event(here.record())
        with self.cuda.using_allocator(self.pool.malloc), self.stream:
            yield
        here.wait_event(self.stream.record())

    def warm_up(self):
        """Take a step in the graph's memory pool; returns whether that had memory enough for it."""
        values, counts, obstacle = self.host_values(), self.count(), None
        try:
            with self.apart():
                self.step(*self.inputs)
        except MemoryError as error:
            if self.count() != counts:  # one network was updated: the step cannot be repeated
                raise
            obstacle = reason(error)
        if obstacle:
            self.cuda.runtime.deviceSynchronize()
            gc.collect()  # frees what the step allocated
            self.refuse(obstacle)
            return False
        self.warmed += 1
        if self.host_values() != values:
            self.refuse("the network draws or counts on the host")
        elif any(map(gpu_adam.counts_on_the_host, self.optimizers)):
            self.refuse("an optimizer counts on the host")
        return True

    def capture(self):
        """Capture one step, which does not execute it; returns whether that worked."""
        obstacle, words = self.attempt(), f"training steps are a CUDA graph, {cudnn.in_words()}"
        if obstacle:
            with branches.one_by_one():  # several streams are what most often fails to be captured
                if self.attempt():
                    self.refuse(obstacle)
                    return False
            words += f", without networks side by side: {obstacle}"
        if self.printed != words:
            print(words, file=sys.stderr)
            self.printed = words
        return True

    def attempt(self):
        """Try to capture a step -> the reason, as text, why that failed; None if it did not."""
        before, self.reported, obstacle = self.count(), {}, None
        gc.collect()  # not during the capture: it may destroy another graph
        self.pool.free_all_blocks()  # frees the workspaces of cuDNN's engines that were tried
        limit = self.pool.get_limit()
        self.pool.set_limit(size=0)  # at its limit a pool frees its unused blocks: see `allocate`
        try:
            with self.apart(), chainer.reporter.get_current_reporter().scope(self.reported):
                self.graph = self.capture_on(self.stream)
        except Exception as error:  # each library has its own exceptions for what it cannot do
            obstacle = reason(error)
        self.pool.set_limit(size=limit)
        self.gains = [after - t for after, t in zip(self.count(), before, strict=True)]
        self.set_counts(before)
        return obstacle

    def capture_on(self, stream):
        """The cupy.cuda.Graph of one step; an exception of the step ends the capture."""
        stream.begin_capture()
        try:
            self.step(*self.inputs)
        except Exception:
            with contextlib.suppress(Exception):  # the first exception is the one to report
                stream.end_capture()
            raise
        return stream.end_capture()

    def replay(self):
        """Replay the captured step; returns whether CUDA could launch it."""
        for optimizer in self.optimizers:
            gpu_adam.send_rate(optimizer)
        try:
            self.graph.launch()
        except self.cuda.runtime.CUDARuntimeError as error:
            self.refuse(reason(error))
            return False
        self.set_counts([t + gain for t, gain in zip(self.count(), self.gains, strict=True)])
        chainer.report(self.reported)
        return True

    def refuse(self, why):
        """Call `step` as an ordinary function from now on, and say why."""
        print(f"training steps do not become a CUDA graph: {why}", file=sys.stderr)
        self.refused, self.graph, self.inputs, self.reported = True, None, [], {}
        self.pool.free_all_blocks()

    def count(self):
        """The numbers of updates that `counters` have counted."""
        return [counter.t for counter in self.counters]

    def set_counts(self, counts):
        """Set the numbers of updates of `counters`."""
        for counter, t in zip(self.counters, counts, strict=True):
            counter.t = t

    def host_values(self):
        """What the networks save that lies on the host, where a replay would not change it."""
        found = HostValues()
        for optimizer in self.optimizers:
            optimizer.target.serialize(found)
        return found.values


def allocate(cuda, size):
    """Allocate `size` bytes on the GPU for a pool; MemoryError if that fails during a capture.

    On CuPy's own error the pool would free its unused blocks and try again; but the graph that is
    being captured uses their addresses.
    """
    try:
        return cuda.MemoryPointer(cuda.Memory(size), 0)
    except cuda.runtime.CUDARuntimeError as error:
        if cuda.get_current_stream().is_capturing():
            raise MemoryError(reason(error)) from None
        raise


def give_back(pool):
    """Keep the pool of a graph that is gone for the next graph."""
    pool.free_all_blocks()  # all but those of arrays still in use
    SPARE.append(pool)


class HostValues(chainer.Serializer):
    """A serializer that collects the values of a link that do not lie on a GPU."""

    def __init__(self):
        self.values = []

    def __getitem__(self, key):
        return self

    def __call__(self, key, value):
        if not isinstance(value, chainer.backends.cuda.ndarray):
            self.values.append(value)
        return value
