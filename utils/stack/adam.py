"""Adam on the CPU in pieces that stay in the processor's cache."""

import functools

import numpy as np

PIECE = 32768  # numbers; those of a parameter, its gradient, its moments, a room: 640 KiB


def install(chainer):
    """Let `chainer`'s Adam update large float32 parameters piece by piece, to the same bits.

    NumPy works through whole arrays, one operation after the other; a parameter larger than the
    cache then comes from memory eleven times instead of once.  AMSGrad, AdaBound, weight decay,
    other types stay with Chainer's own code.
    """
    rule = chainer.optimizers.adam.AdamRule
    own = rule.update_core_cpu

    @functools.wraps(own)
    def update_core_cpu(self, param):
        hp, arrays = self.hyperparam, (param.grad, param.data, *self.state.values())
        plain = not (hp.amsgrad or hp.adabound or hp.weight_decay_rate) and hp.eta == 1
        whole = all(type(a) is np.ndarray and a.flags.c_contiguous for a in arrays)
        if not (plain and whole and {a.dtype for a in arrays} == {np.dtype(np.float32)}):
            own(self, param)
            return
        grad, data, m, v = (a.reshape(-1) for a in arrays)
        room = np.empty(PIECE, np.float32)
        for start in range(0, data.size, PIECE):
            piece = slice(start, start + PIECE)
            step(hp, self.alpha_t, grad[piece], data[piece], m[piece], v[piece], room)

    rule.update_core_cpu = update_core_cpu


def step(hp, rate, grad, data, m, v, room):
    """One step of Adam on 1-D float32 arrays, in place; room: for as many numbers.

    The operations of chainer/optimizers/adam.py:144-178 in their order, hence the same bits.
    """
    x = room[: data.size]
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
