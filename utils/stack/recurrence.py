"""A ConvLSTM's steps over the frames of a clip, on a CPU, as one function node.

In training Chainer's own nodes are seven for each step. Here, besides, the weights get their
gradient by one convolution over all steps, and the hidden state before the first frame, all zeros,
is not convolved.
"""

import numpy as np

from utils.stack import F, chainer, dnnl, lstm, onednn
from utils.stack.cpu_layers import CpuLayers
from utils.stack.fused_node import OBSTACLES, FusedNode, can_fuse, geometry_of, log_obstacle


def as_one_node(from_frames, conv, memory=None):
    """(hidden state after each frame (B, T, C, H, W), (the last, the cell (B, C, H, W))) of an LSTM
    whose gates (B, 4 * C, H, W) are from_frames[:, t] + conv(hidden state).

    from_frames: (B, T, 4 * C, H, W), the gates of a map side by side, as F.lstm has them.
    conv: the Convolution2D, of stride 1, without bias, from C to 4 * C maps of the same size.
    memory: (hidden state, cell) to begin with, None for zeros.
    None if this cannot be one node: on a GPU, without oneDNN, or as `can_fuse` says.
    """
    inputs = list(map(chainer.as_variable, (from_frames, conv.W, *(memory or ()))))
    if not CpuLayers.accepts(inputs[0].array) or not can_fuse(*inputs):
        return None
    batch, _, gates, *size = from_frames.shape
    geometry = geometry_of(conv, (batch, gates // 4, *size), onednn.dtype_in_use())
    try:
        made, *memory = Recurrence(geometry).apply(inputs)
    except OBSTACLES as obstacle:
        log_obstacle(obstacle)
        return None
    return made, tuple(memory)


class Recurrence(FusedNode):
    """from_frames, W[, hidden state, cell] -> hidden states, the last, the cell.

    geometry: of the convolution of one hidden state.
    """

    def __init__(self, geometry):
        self.geometry = geometry

    def forward(self, inputs):
        self.retain_inputs(range(len(inputs)))
        from_frames, W, *memory = inputs
        W, steps = np.ascontiguousarray(W), from_frames.shape[1]
        hidden = dnnl.empty((steps + 1, *self.geometry.images))  # after so many frames
        hidden[0], c = memory or (0, np.zeros(self.geometry.images, np.float32))
        self.first = 0 if memory else 1  # the first step that convolves a hidden state
        self.kept = []  # (cell before, gates, tanh of the cell after) of each step
        for t in range(steps):
            gates = from_frames[:, t].copy()
            if t >= self.first:
                gates += onednn.convolved("forward", self.geometry, hidden[t], W)
            lstm.activate(gates)
            before, (c, tanh_c) = c, lstm.step(c, gates, hidden[t + 1])
            if chainer.config.enable_backprop:
                self.kept.append((before, gates, tanh_c))
        self.hidden = hidden if self.kept else None
        return np.stack(hidden[1:], axis=1), hidden[-1], c

    def gradients(self, indexes, gmade, gh, gc):
        W = np.ascontiguousarray(self.get_retained_inputs()[1].array)
        gates = dnnl.empty((len(self.kept), *self.geometry.outputs))
        gh, gc = (0 if grad is None else grad for grad in (gh, gc))
        for t, (c, *activated) in reversed(list(enumerate(self.kept))):
            gh = gh if gmade is None else gh + gmade[:, t]
            gc = lstm.gradients(c, *activated, gc, gh, gates[t])
            if t >= self.first and (t or 2 in indexes):
                gh = onednn.convolved("data_gradient", self.geometry, gates[t], W)
        found = {2: gh, 3: gc}
        if 0 in indexes:
            found[0] = np.stack(gates, axis=1)
        if 1 in indexes:
            found[1] = self.weight_gradient(self.hidden[self.first : -1], gates[self.first :])
        return found

    def weight_gradient(self, hidden, gates):
        """The gradient of W, both (steps, B, ...): all steps are one batch."""
        if not len(hidden):
            return np.zeros(self.geometry.weights, np.float32)
        hidden, gates = (x.reshape(-1, *x.shape[2:]) for x in (hidden, gates))
        whole = self.geometry._replace(images=hidden.shape, outputs=gates.shape)
        return onednn.convolved("weight_gradient", whole, hidden, gates)

    def by_nodes(self, from_frames, W, *memory):
        blank = np.zeros(self.geometry.images, np.float32)
        h, c = memory or (blank, blank)
        made = []
        for from_frame in F.separate(from_frames, axis=1):
            gates = F.convolution_2d(h, W, pad=self.geometry.pad, dilate=self.geometry.dilate)
            c, h = F.lstm(c, from_frame + gates)
            made.append(h)
        return [F.stack(made, axis=1), h, c]
