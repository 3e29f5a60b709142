"""A training step as one CUDA graph, which a GPU repeats with a single call."""

import contextlib
import functools
import gc
import os
import sys
import weakref

from utils.errors import first_line
from utils.stack import branches, chainer, cudnn, gpu_adam

WARM_UPS = 3  # steps before one is captured: they compile kernels, choose cuDNN's engines
SPARE = []  # pools of graphs that are gone: CuPy 14 never frees what a dropped pool has


class Graph:
    """Calls `step`, a function of arrays on a GPU that moves the targets of `optimizers`.

    A step is hundreds of kernels, which Python needs longer to launch than the GPU to run.  After
    WARM_UPS calls the next is captured, from then on replayed: the same kernels on the same
    addresses.  The arrays are copied to where the graph reads them; what the step reports are the
    same arrays each time, overwritten by the next; Adam counts on the GPU, its counts on the host
    follow, and its learning rate is sent there.  Where arrays have other shapes, or other
    hyperparameters, counts, the type that is multiplied or Chainer's configuration were changed in
    between, all begins anew, with warm-ups.  A step that cannot be captured, since it waits for the
    GPU or draws numbers on the host, or whose hyperparameters do not stay as they are for that
    long, runs as it is, as do all with CHAINER_GRAPH=0.  A line says what has become of it.
    """

    def __init__(self, step, optimizers):
        self.step, self.optimizers = step, list(optimizers)
        self.form, self.graph, self.pool, self.said = None, None, None, None
        self.refused = os.environ.get("CHAINER_GRAPH") == "0"

    def __call__(self, *arrays):
        if not self.refused and (self.form != self.form_of(arrays) or self.counts != self.count()):
            self.begin(arrays)
        if self.refused:
            self.step(*arrays)
            return
        for held, array in zip(self.inputs, arrays, strict=True):
            held[...] = array
        if self.warmed < WARM_UPS:
            done = self.warm_up()
        else:
            done = (self.graph or self.capture()) and self.replay()
        if not done:
            self.step(*arrays)
        self.counts = self.count()

    def form_of(self, arrays):
        """What a graph was captured for."""
        shapes = [(array.shape, array.dtype) for array in arrays]
        numbers = [dict(optimizer.hyperparam.get_dict()) for optimizer in self.optimizers]
        for hyperparameters in numbers:
            if "amsgrad" in hyperparameters:  # those of Adam, whose rate is read on the GPU
                del hyperparameters["alpha"]
        config = [getattr(chainer.config, name) for name in vars(chainer.global_config)]
        return shapes, numbers, cudnn.dtype_in_use(), config

    def begin(self, arrays):
        """Forget the graph there is; warm up for one that reads arrays such as these."""
        before, self.form = self.form, self.form_of(arrays)
        if before and self.warmed < WARM_UPS and before[1] != self.form[1]:
            self.refuse("hyperparameters change from step to step")
            return
        xp = chainer.backend.get_array_module(*arrays)
        self.cuda = xp.cuda
        xp.cuda.runtime.deviceSynchronize()  # the graph before, if any, may still be at work
        self.graph, self.inputs, self.reported = None, [], {}
        if self.pool is None:
            self.open_pool()
        self.pool.free_all_blocks()
        xp.get_default_memory_pool().free_all_blocks()
        self.inputs = [xp.empty_like(array) for array in arrays]
        self.warmed = 0

    def open_pool(self):
        """Take memory and a stream for the graph alone."""
        # Only what belongs to the graph lies in this pool, which is kept as long as the graph:
        # elsewhere, memory that the capture had for a while would be given to others, then
        # overwritten by each replay.
        allocator = functools.partial(allocate, self.cuda)
        self.pool = SPARE.pop() if SPARE else self.cuda.MemoryPool(allocator)
        self.stream = self.cuda.Stream(non_blocking=True)
        weakref.finalize(self, give_back, self.pool).atexit = False

    @contextlib.contextmanager
    def apart(self):
        """Work on the graph's stream, in its memory; after all before, before all that follows."""
        here = self.cuda.get_current_stream()
        self.stream.wait_event(here.record())
        with self.cuda.using_allocator(self.pool.malloc), self.stream:
            yield
        here.wait_event(self.stream.record())

    def warm_up(self):
        """Take a step; whether there was memory for it beside what others hold."""
        numbers, counts, obstacle = self.numbers(), self.count(), None
        try:
            with self.apart():
                self.step(*self.inputs)
        except MemoryError as error:
            if self.count() != counts:  # one network has moved
                raise
            obstacle = first_line(error)
        if obstacle:
            self.cuda.runtime.deviceSynchronize()
            gc.collect()  # what the step had
            self.refuse(obstacle)
            return False
        self.warmed += 1
        if self.numbers() != numbers:
            self.refuse("the network draws or counts on the host")
        elif any(map(gpu_adam.counts_on_the_host, self.optimizers)):
            self.refuse("an optimizer counts on the host")
        return True

    def capture(self):
        """Capture one step, which is not executed thereby; whether that worked."""
        obstacle, words = self.attempt(), f"training steps are a CUDA graph, {cudnn.in_words()}"
        if obstacle:
            with branches.one_by_one():  # work on several streams asks most of a capture
                if self.attempt():
                    self.refuse(obstacle)
                    return False
            words += f", without networks side by side: {obstacle}"
        if self.said != words:
            print(words, file=sys.stderr)
            self.said = words
        return True

    def attempt(self):
        """Capture a step -> what stands in the way, if anything."""
        before, self.reported, obstacle = self.count(), {}, None
        gc.collect()  # not during the capture: it may destroy another graph
        self.pool.free_all_blocks()  # what cuDNN's engines took as they were tried
        try:
            with self.apart(), chainer.reporter.get_current_reporter().scope(self.reported):
                self.graph = self.capture_on(self.stream)
        except Exception as error:  # each library has one of its own for what it cannot do here
            obstacle = first_line(error)
        self.gains = [after - t for after, t in zip(self.count(), before, strict=True)]
        self.set_counts(before)
        return obstacle

    def capture_on(self, stream):
        """The cupy.cuda.Graph of one step; whatever the step raises ends the capture."""
        stream.begin_capture()
        try:
            self.step(*self.inputs)
        except Exception:
            with contextlib.suppress(Exception):  # that it is broken is known
                stream.end_capture()
            raise
        return stream.end_capture()

    def replay(self):
        """Take the captured step; whether CUDA has begun it."""
        for optimizer in self.optimizers:
            gpu_adam.tell_rate(optimizer)
        try:
            self.graph.launch()
        except self.cuda.runtime.CUDARuntimeError as error:
            self.refuse(first_line(error))
            return False
        self.set_counts([t + gain for t, gain in zip(self.count(), self.gains, strict=True)])
        chainer.report(self.reported)
        return True

    def refuse(self, reason):
        """Run step by step from now on, and say why."""
        print(f"training steps do not become a CUDA graph: {reason}", file=sys.stderr)
        self.refused, self.graph, self.inputs, self.reported = True, None, [], {}
        self.pool.free_all_blocks()

    def counters(self):
        """All on the host that counts steps."""
        for optimizer in self.optimizers:
            yield optimizer
            yield from (param.update_rule for param in optimizer.target.params())

    def count(self):
        """What `counters` are at."""
        return [counter.t for counter in self.counters()]

    def set_counts(self, counts):
        """Have `counters` be at these."""
        for counter, t in zip(self.counters(), counts, strict=True):
            counter.t = t

    def numbers(self):
        """What the networks keep on the host; a graph would not change it."""
        found = HostNumbers()
        for optimizer in self.optimizers:
            optimizer.target.serialize(found)
        return found.values


def allocate(cuda, size):
    """So many bytes of the GPU for a pool, or a MemoryError while a graph is captured.

    To CuPy's own error a pool answers by freeing what lies idle, of which a graph has addresses.
    """
    try:
        return cuda.MemoryPointer(cuda.Memory(size), 0)
    except cuda.runtime.CUDARuntimeError as error:
        if cuda.get_current_stream().is_capturing():
            raise MemoryError(first_line(error)) from None
        raise


def give_back(pool):
    """Keep the pool of a graph that is gone for the next one."""
    pool.free_all_blocks()  # but those with arrays still in use
    SPARE.append(pool)


class HostNumbers(chainer.Serializer):
    """Collects all that is saved of a link and does not lie on a GPU."""

    def __init__(self):
        self.values = []

    def __getitem__(self, key):
        return self

    def __call__(self, key, value):
        if not isinstance(value, chainer.backends.cuda.ndarray):
            self.values.append(value)
        return value
