"""Independent networks computed at the same time on a GPU, each on a CUDA stream of its own.

The kernels of small layers leave most of a GPU idle, and in a single stream wait for each other.
"""

import contextlib
import functools
import logging
import os
from itertools import accumulate, pairwise

from utils.errors import reason
from utils.stack import F, chainer, kernels

logger = logging.getLogger(__name__)
_one_by_one = False  # whether networks are computed one after the other


@contextlib.contextmanager
def one_by_one():
    """In this context, as with CHAINER_BRANCHES=0, networks are computed one after the other."""
    global _one_by_one
    before, _one_by_one = _one_by_one, True
    try:
        yield
    finally:
        _one_by_one = before


def applied(links, xs):
    """[link(x) for link, x in zip(links, xs)], Variables.

    On a GPU the links are computed at the same time, forward and backward, unless a forward pass
    has failed to do so before in this process.
    """
    global _one_by_one
    xs = list(map(chainer.as_variable, xs))
    sequential = _one_by_one or os.environ.get("CHAINER_BRANCHES") == "0"
    on_gpu = isinstance(xs[0].array, chainer.backends.cuda.ndarray)
    if on_gpu and not (sequential or chainer.get_function_hooks()):
        inputs = [[x, *link.params()] for link, x in zip(links, xs, strict=True)]
        try:
            return Branches(links).apply(sum(inputs, []))
        except Exception as error:
            if kernels.capturing():
                raise
            _one_by_one = True
            logger.warning("networks compute one after the other: %s", reason(error))
    return [link(x) for link, x in zip(links, xs, strict=True)]


class Branches(chainer.FunctionNode):
    """x, parameters of the first link, x, parameters of the second, ... -> the output of each link.

    The links' own function nodes form sequential graphs inside this one, which its backward pass
    asks for gradients.
    """

    def __init__(self, links):
        self.links = links

    def forward(self, inputs):
        sizes = [1 + len(list(link.params())) for link in self.links]
        self.places = list(pairwise(accumulate(sizes, initial=0)))  # of each link's inputs
        self.retain_inputs([start for start, _ in self.places])
        self.graphs = []  # of each link, as of `graph_of`
        with side_by_side(len(self.links)) as streams:
            for link, stream, (start, _) in zip(self.links, streams, self.places, strict=True):
                with stream:
                    self.graphs.append(self.graph_of(link, chainer.Variable(inputs[start])))
        return tuple(y.array for _, y in self.graphs)

    def graph_of(self, link, x):
        """([x, parameters of a link], its output): the ends of the graph of link(x)."""
        return [x, *link.params()], link(x)

    def backward(self, indexes, grad_outputs):
        if chainer.config.enable_backprop:
            return self.differentiable_gradients(indexes, grad_outputs)
        found = {}
        with side_by_side(len(self.links)) as streams:
            parts = zip(self.graphs, grad_outputs, streams, self.places, strict=True)
            for (inputs, y), gy, stream, (start, end) in parts:
                some = [i for i in indexes if start <= i < end]
                if some and gy is not None:
                    with stream:
                        wanted = [inputs[i - start] for i in some]
                        found |= zip(some, chainer.grad([y], wanted, [gy]), strict=True)
        return tuple(found.get(i) for i in indexes)

    def differentiable_gradients(self, indexes, grad_outputs):
        """The same for double backpropagation: the links are computed again, on one stream."""
        found, xs = {}, self.get_retained_inputs()
        parts = zip(self.links, xs, grad_outputs, self.places, strict=True)
        for link, x, gy, (start, end) in parts:
            some = [i for i in indexes if start <= i < end]
            if some and gy is not None:
                # x must not be made from the link's own parameters: that path would count twice.
                inputs, y = self.graph_of(link, F.identity(x))
                wanted = [inputs[i - start] for i in some]
                gradients = chainer.grad([y], wanted, [gy], enable_double_backprop=True)
                found |= zip(some, gradients, strict=True)
        return tuple(found.get(i) for i in indexes)


@contextlib.contextmanager
def side_by_side(count):
    """Context that yields `count` streams.

    Their work begins after that which the current stream was given before the context; what it is
    given later waits for theirs.

    CuPy reuses freed memory only on the stream that it was allocated on. So no array is
    overwritten too early, as long as in this context nothing is put on the current stream and no
    array is passed from one of these streams to another.
    """
    cuda = kernels.get_cupy().cuda
    here, streams = cuda.get_current_stream(), side_streams(cuda.Device().id, count)
    start = here.record()
    for stream in streams:
        stream.wait_event(start)
    try:
        yield streams
    except BaseException:
        with contextlib.suppress(Exception):  # the first error is the one to tell
            follow(here, streams)
        raise
    follow(here, streams)


def follow(here, streams):
    """Make the stream `here` wait for all work that the others have been given."""
    for stream in streams:
        here.wait_event(stream.record())


@functools.cache
def side_streams(device, count):
    """Streams of a device, always the same ones: each has memory that CuPy keeps for it."""
    return [kernels.get_cupy().cuda.Stream(non_blocking=True) for _ in range(count)]
