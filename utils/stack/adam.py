"""Adam on the CPU: all parameters of a network together, in pieces that fit the cache."""

import concurrent.futures
import functools
import os

import numpy as np

from utils.workers import cores

PIECE = 32768  # parameters; with gradients, two moments and a temporary that is 640 KiB
FLOAT32 = np.dtype(np.float32)


def install(chainer):
    """Let `chainer`'s Adam update the float32 parameters of a network together, to the same bits.

    Chainer's update rules take each parameter array by itself, which costs 80 us even for a small
    one, and each NumPy operation goes over a whole array, so that one larger than the cache is read
    from memory eleven times. Here arrays are updated in pieces, which threads share. AMSGrad,
    AdaBound, weight decay, other dtypes and parameters with their own rules are left to Chainer.
    """
    adam = chainer.optimizers.Adam
    original = adam.update

    @functools.wraps(original)
    def update(self, lossfun=None, *args, **kwargs):
        scaled = lossfun is not None or self._loss_scale is not None
        if scaled or self.target.xp is not np or not is_plain(self.hyperparam):
            original(self, lossfun, *args, **kwargs)
            return
        self.reallocate_cleared_grads()
        self.call_hooks("pre")
        self.t += 1
        states, others = [], []
        for param in self.target.params():
            if arrays := arrays_of(self, param):
                param.update_rule.t += 1
                states.append(arrays)
            else:
                others.append(param)
        update_params(self.hyperparam, self.alpha_t, states)
        for param in others:
            param.update()
        self.call_hooks("post")

    adam.update = update


def arrays_of(optimizer, param):
    """[gradient, values, first moment, second moment] of a parameter as 1-D float32 views.

    () if Chainer has to update it: its rule is of another class or has other hyperparameters or
    hooks than the optimizer, or an array is not C-contiguous float32 or does not exist yet.
    """
    rule = param.update_rule
    if not is_adams(rule) or not rule.enabled or (rule.state or {}).keys() != {"m", "v"}:
        return ()
    alike = vars(rule.hyperparam) == {"_parent": optimizer.hyperparam} and rule.t + 1 == optimizer.t
    hooks = rule._hookable._pre_update_hooks or rule._hookable._post_update_hooks
    if not alike or hooks or param._loss_scale is not None:
        return ()
    arrays = param.grad, param.array, rule.state["m"], rule.state["v"]
    whole = all(type(a) is np.ndarray and a.flags.c_contiguous for a in arrays)
    if not whole or {a.dtype for a in arrays} != {FLOAT32}:
        return ()
    return [a.reshape(-1) for a in arrays]


def update_params(hp, rate, params):
    """One step of Adam, in place.

    hp: the optimizer's hyperparameters. rate: the learning rate with the correction for bias.
    params: a list of what `arrays_of` returns.
    """
    errors = np.geterr()

    def update_pieces(some):
        temporary = np.empty(PIECE, np.float32)
        with np.errstate(**errors):  # each thread has its own settings
            for parts in some:
                step_together(hp, rate, parts, temporary)

    run_in_threads(update_pieces, list(pieces(params)))


def pieces(params):
    """Yield lists of whole params or parts of them, each list with up to PIECE numbers."""
    parts, room = [], PIECE
    for arrays in params:
        for start in range(0, arrays[0].size, PIECE):
            part = [a[start : start + PIECE] for a in arrays]
            if part[0].size > room:
                yield parts
                parts, room = [], PIECE
            parts.append(part)
            room -= part[0].size
    if parts:
        yield parts


def is_adam(optimizer):
    """Whether a Chainer optimizer is Adam or one of its variants, such as AMSGrad."""
    import chainer  # imported late: by the time there is an optimizer it has been patched

    return isinstance(optimizer, chainer.optimizers.Adam)


def is_adams(rule):
    """Whether an update rule is Adam's own, not of a class that may compute something else."""
    import chainer

    return type(rule) is chainer.optimizers.adam.AdamRule


def is_plain(hyperparam):
    """Whether it is Adam as first published: no AMSGrad, AdaBound, weight decay or schedule."""
    hp = hyperparam
    return not (hp.amsgrad or hp.adabound or hp.weight_decay_rate) and hp.eta == 1


def run_in_threads(work, pieces):
    """Call work(some of the pieces) in each of several threads, if there are enough pieces."""
    if len(pieces) < 2 or threads() < 2:
        work(pieces)
        return
    parts = [pieces[start :: threads()] for start in range(threads())]
    futures = [pool(os.getpid()).submit(work, part) for part in parts[1:]]
    work(parts[0])
    for future in futures:
        future.result()


@functools.cache
def threads():
    """The number of threads, as OpenMP would choose: OMP_NUM_THREADS, else one for each core."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit():
        return max(1, int(asked))
    return cores()


@functools.cache
def pool(process):
    """The thread pool of the process with this id: after a fork a child needs its own."""
    return concurrent.futures.ThreadPoolExecutor(threads() - 1, thread_name_prefix="adam")


def step_together(hp, rate, parts, temporary):
    """One `step` for several parts, lists of four arrays, which are joined, then split again."""
    if len(parts) == 1:
        step(hp, rate, *parts[0], temporary)
        return
    grad, *joined = map(np.concatenate, zip(*parts, strict=True))
    step(hp, rate, grad, *joined, temporary)
    start = 0
    for _, *changed in parts:
        stop = start + changed[0].size
        for array, whole in zip(changed, joined, strict=True):
            array[:] = whole[start:stop]
        start = stop


def step(hp, rate, grad, data, m, v, temporary):
    """One step of Adam on 1-D float32 arrays, in place; `temporary` is at least as long.

    The operations of chainer/optimizers/adam.py:189-222 in their order, hence the same bits.
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
