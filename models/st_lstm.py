"""The spatiotemporal LSTM of Wang et al. (NIPS 2017): layers that also share a memory."""

import numpy as np

from utils.stack import F, L, chainer
from utils.stack.gates import gated, renewed


class SameSize(L.Convolution2D):
    """A convolution to the same size: (B, inputs, H, W) -> (B, outputs, H, W).

    bias: its initial bias; None for none. initialW: as Convolution2D's.
    """

    def __init__(self, inputs, outputs, kernel, bias=None, initialW=None):
        super().__init__(
            inputs,
            outputs,
            kernel,
            pad=kernel // 2,
            nobias=bias is None,
            initialW=initialW,
            initial_bias=bias,
        )


class STLSTM(chainer.Chain):
    """A layer of PredRNN (equation 3 of the paper).

    It is called as layer(x, state, shared): x (B, inputs, H, W); its own state, the hidden maps and
    a list of cells; the memory that all layers share (the paper's M), (B, outputs, H, W). It
    returns its state and the shared memory as they are after x. None stands for either to begin
    with.
    """

    convolution = SameSize  # of frames and memories, kernel x kernel
    # Initial biases of candidate, input and forget gate of the cell, the same of the shared memory,
    # output gate. An open forget gate lets gradients through from the start.
    start = 0, 0, 1, 0, 0, 1, 0

    def __init__(self, inputs, outputs, kernel):
        super().__init__()
        self.outputs = outputs
        start = np.repeat(np.float32(self.start), outputs)
        with self.init_scope():
            self.from_input = self.convolution(inputs, 7 * outputs, kernel, start)
            self.from_hidden = self.convolution(outputs, 4 * outputs, kernel)
            self.from_shared = self.convolution(outputs, 3 * outputs, kernel)
            self.from_memories = self.convolution(2 * outputs, outputs, kernel)
            self.join = SameSize(2 * outputs, outputs, 1)

    def forward(self, x, state, shared):
        blank = self.xp.zeros((len(x), self.outputs, *x.shape[2:]), x.dtype)
        hidden, cells = state or (blank, [blank])
        shared = blank if shared is None else shared
        three = 3 * self.outputs  # candidate, input gate and forget gate
        x_cell, x_shared, x_output = F.split_axis(self.from_input(x), (three, 2 * three), axis=1)
        h_cell, h_output = F.split_axis(self.from_hidden(hidden), (three,), axis=1)
        cells = self.remember(cells, x_cell, h_cell)
        shared = renewed(shared, x_shared, self.from_shared(shared))
        memories = F.concat([cells[-1], shared], axis=1)
        output_gate = x_output, h_output, self.from_memories(memories)
        return (gated(self.join(memories), *output_gate), cells), shared

    def remember(self, cells, *gates):
        """The cells, newest last, after gates (B, 3 * outputs, H, W) have let something in."""
        return [renewed(cells[-1], *gates)]


class Zigzag(chainer.ChainList):
    """Layers on top of each other; the highest one passes the shared memory on to the lowest one at
    the next frame.

    A recurrent layer as in models/convlstm.py.
    """

    def forward(self, frames, memory=None):
        """memory is (the layers' states, the shared memory)."""
        states, shared = memory or ([None] * len(self), None)
        made = []
        for x in F.separate(frames, axis=1):
            before, states = states, []
            for layer, state in zip(self, before, strict=True):
                state, shared = layer(x, state, shared)
                states.append(state)
                x = state[0]
            made.append(x)
        return F.stack(made, axis=1), (states, shared)
