"""F.lstm on the CPU: its gradient reuses the gates, which Chainer's computes again."""

import functools

import numpy as np

HALF = np.float32(0.5)


def install(chainer):
    """Let `chainer`'s LSTM of float32 arrays keep its activated gates for its gradient.

    Their tanh, and that of the cell, takes longer than all else. A gradient that is to be
    differentiated, and batches that have become smaller, are left to Chainer's own code.
    """
    lstm = chainer.functions.rnn.lstm.LSTM
    original, original_backward = lstm.forward, lstm.backward

    @functools.wraps(original)
    def forward(self, inputs):
        c, x = inputs
        fit = type(c) is type(x) is np.ndarray and c.dtype == x.dtype == np.float32
        self.kept = None
        if not (fit and len(c) == len(x)):
            return original(self, inputs)
        self.retain_inputs((0, 1))
        self.retain_outputs((0,))
        gates, h = x.copy(), np.empty_like(c)
        activate(gates)
        c_next, tanh_c = step(c, gates, h)
        if chainer.config.enable_backprop:
            self.kept = gates, tanh_c
        return c_next, h

    @functools.wraps(original_backward)
    def backward(self, indexes, grads):
        if self.kept is None or chainer.config.enable_backprop:
            return original_backward(self, indexes, grads)
        c, _ = self.get_retained_inputs()
        gates, tanh_c = self.kept
        gx = np.empty_like(gates)
        gc = gradients(c.array, gates, tanh_c, *map(array_of, grads), gx)
        return chainer.as_variable(gc), chainer.as_variable(gx)

    def array_of(grad):
        return 0 if grad is None else grad.array

    lstm.forward, lstm.backward = forward, backward


def activate(gates):
    """Activate gates (B, 4 * C, ...) in place: tanh of the candidate, sigmoid of the others."""
    three = by_gate(gates)[1:]
    three *= HALF
    np.tanh(gates, out=gates)
    three *= HALF  # sigmoid(x) = tanh(x / 2) / 2 + 1 / 2
    three += HALF


def sigmoid(x):
    """The sigmoid of an array, as F.sigmoid computes it."""
    return np.tanh(x * HALF) * HALF + HALF


def step(c, gates, h):
    """(the next cell, its tanh), the next hidden state written to `h`, all (B, C, ...), from a cell
    and activated gates."""
    a, i, f, o = by_gate(gates)
    c_next = a * i + f * c
    tanh_c = np.tanh(c_next)
    np.multiply(o, tanh_c, out=h)
    return c_next, tanh_c


def by_gate(x):
    """(B, 4 * C, ...) -> views of candidate, input, forget and output gate, (B, C, ...) each."""
    batch, maps, *size = x.shape
    return np.moveaxis(x.reshape(batch, maps // 4, 4, *size), 2, 0)


def gradients(c, gates, tanh_c, gc, gh, gx):
    """The gradient of c, that of the gates before activation written to `gx`, from those of the
    outputs of `step`, gc of the next cell and gh of h."""
    a, i, f, o = by_gate(gates)
    ga, gi, gf, go = by_gate(gx)
    gc = gh * o * (1 - tanh_c * tanh_c) + gc
    np.multiply(gc * i, 1 - a * a, out=ga)
    np.multiply(gc * a, i * (1 - i), out=gi)
    np.multiply(gc * c, f * (1 - f), out=gf)
    np.multiply(gh * tanh_c, o * (1 - o), out=go)
    return gc * f
