"""Adam on the CPU in pieces that stay in the processor's cache."""

import concurrent.futures
import functools
import os

import numpy as np

from utils.workers import cores

PIECE = 32768  # numbers: with gradient, two moments and a temporary 640 KiB


def install(chainer):
    """Let `chainer`'s Adam update large float32 parameters piece by piece, to the same bits.

    NumPy runs one operation after the other over whole arrays, so a parameter larger than the cache
    is read from memory eleven times instead of once.  Threads share the pieces.  AMSGrad, AdaBound,
    weight decay and other types are left to Chainer's own code.
    """
    rule = chainer.optimizers.adam.AdamRule
    own = rule.update_core_cpu

    @functools.wraps(own)
    def update_core_cpu(self, param):
        hp, arrays = self.hyperparam, (param.grad, param.data, *self.state.values())
        whole = all(type(a) is np.ndarray and a.flags.c_contiguous for a in arrays)
        if not (is_plain(hp) and whole and {a.dtype for a in arrays} == {np.dtype(np.float32)}):
            own(self, param)
            return
        arrays = [a.reshape(-1) for a in arrays]
        rate, errors = self.alpha_t, np.geterr()

        def steps(pieces):
            temporary = np.empty(PIECE, np.float32)
            with np.errstate(**errors):  # a thread has its own
                for piece in pieces:
                    step(hp, rate, *(a[piece] for a in arrays), temporary)

        pieces = [slice(start, start + PIECE) for start in range(0, param.size, PIECE)]
        share(steps, pieces)

    rule.update_core_cpu = update_core_cpu


def is_plain(hyperparam):
    """Whether it is Adam as first published: no AMSGrad, AdaBound, weight decay or schedule."""
    hp = hyperparam
    return not (hp.amsgrad or hp.adabound or hp.weight_decay_rate) and hp.eta == 1


def share(work, pieces):
    """Call work(part of the pieces) in each of several threads, if there are enough pieces."""
    if len(pieces) < 2 or threads() < 2:
        work(pieces)
        return
    parts = [pieces[start :: threads()] for start in range(threads())]
    waiting = [pool(os.getpid()).submit(work, part) for part in parts[1:]]
    work(parts[0])
    for one in waiting:
        one.result()


@functools.cache
def threads():
    """The number of threads, as OpenMP would choose it."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit():
        return max(1, int(asked))
    return cores()


@functools.cache
def pool(process):
    """The threads of the process with this id: a fork does not inherit its parent's."""
    return concurrent.futures.ThreadPoolExecutor(threads() - 1, thread_name_prefix="adam")


def step(hp, rate, grad, data, m, v, temporary):
    """One step of Adam on 1-D float32 arrays, in place; `temporary` is at least as long.

    The operations of chainer/optimizers/adam.py:144-178 in their order, hence the same bits.
    """
    x = temporary[: data.size]
    np.subtract(grad, m, out=x)
    np.multiply(x, 1 - hp.beta1, out=x)
    np.add(m, x, out=m)
    np.multiply(grad, grad, out=x)
    np.subtract(x, v, out=x)
    np.multiply(x, 1 - hp.beta2, out=x)
    np.add(v, x, out=v)
    np.sqrt(v, out=x)
    np.add(x, hp.eps, out=x)
    np.divide(rate, x, out=x)
    np.multiply(x, m, out=x)
    np.subtract(data, x, out=data)
