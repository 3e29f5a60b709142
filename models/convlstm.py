"""The convolutional LSTM of Shi et al. (NIPS 2015): layers that remember over a clip's frames.

Each layer here is called as layer(frames, memory): frames (B, T, inputs, H, W), T above 0, with the
memory that an earlier call returned, or None to begin with. It returns its output for each frame,
(B, T, outputs, H, W), and its memory after the last.
"""

import numpy as np

from models.predictor import per_frame
from utils.stack import F, L, chainer, recurrence
from utils.stack.gates import gated


class ConvLSTM(chainer.Chain):
    """An LSTM whose matrix products are convolutions (equation 3 of the paper).

    `input_conv` convolves the frame (the paper's W_x), `hidden_conv` the hidden state (its W_h).

    peepholes: the gates see the cell as well. The paper weighs it by a number for each pixel,
    which ties the layer to one frame size; here it is one for each map.
    normalised: the gates' inputs are normalised over maps and pixels of a clip (Ba, Kiros and
    Hinton, 2016), all four together and without the peepholes, with a gain and a bias for each map.
    Others normalise each gate by itself, and the cell before its tanh.
    bias: whether the gates have biases of their own; `normalised` gates have none.
    """

    def __init__(self, inputs, outputs, kernel=3, peepholes=False, normalised=False, bias=True):
        super().__init__()
        self.outputs = outputs
        how = {"ksize": kernel, "pad": kernel // 2}
        # Each map has its candidate, input, forget and output gate side by side, as F.lstm wants.
        # An open forget gate lets gradients through from the start.
        start = np.tile(np.float32([0, 0, 1, 0]), outputs)
        with self.init_scope():
            self.input_conv = L.Convolution2D(
                inputs, 4 * outputs, **how, nobias=normalised or not bias, initial_bias=start
            )
            self.hidden_conv = L.Convolution2D(outputs, 4 * outputs, **how, nobias=True)
            norm = L.GroupNormalization(1, 4 * outputs, initial_beta=start)
            self.norm = norm if normalised else None
            self.peepholes = chainer.Parameter(0, (3, 1, outputs, 1, 1)) if peepholes else None

    def forward(self, frames, memory=None):
        """memory is (h, c), each (B, outputs, H, W)."""
        from_frames = per_frame(self.input_conv, frames)
        if self.norm is None and self.peepholes is None:
            made = recurrence.as_one_node(from_frames, self.hidden_conv, memory)
            if made is not None:
                return made
        if memory is None:
            batch, time, _, height, width = from_frames.shape
            blank = self.xp.zeros((batch, self.outputs, height, width), from_frames.dtype)
            # Zeros need no convolution, but where nothing follows, its weights need a gradient.
            memory = blank if time == 1 else None, blank
        made = []
        for from_frame in F.separate(from_frames, axis=1):
            memory = self.step(from_frame, *memory)
            made.append(memory[0])
        return F.stack(made, axis=1), memory

    def step(self, from_frame, h, c):
        """The memory after one more frame; from_frame is (B, 4 * outputs, H, W), h None for 0."""
        gates = from_frame if h is None else from_frame + self.hidden_conv(h)
        if self.norm is not None:
            gates = self.norm(gates)
        if self.peepholes is None:
            c, h = F.lstm(c, gates)
            return h, c
        peep_i, peep_f, peep_o = F.separate(self.peepholes)
        g, i, f, o = F.separate(F.reshape(gates, (*c.shape[:2], 4, *c.shape[2:])), axis=2)
        c = F.sigmoid(f + peep_f * c) * c + gated(g, i, peep_i * c)
        return gated(c, o, peep_o * c), c


class NormalisedConvLSTM(chainer.Chain):
    """A ConvLSTM with batch normalisation of its outputs, not of its memory."""

    def __init__(self, inputs, outputs):
        super().__init__()
        with self.init_scope():
            self.cell = ConvLSTM(inputs, outputs)
            self.norm = L.BatchNormalization(outputs)

    def forward(self, frames, memory=None):
        """memory is the ConvLSTM's."""
        frames, memory = self.cell(frames, memory)
        return per_frame(self.norm, frames), memory


class Stack(chainer.ChainList):
    """Layers on top of each other."""

    def forward(self, frames, memory=None):
        """memory is the list of the layers' own."""
        memories = []
        for layer, its_own in zip(self, memory or [None] * len(self), strict=True):
            frames, its_own = layer(frames, its_own)
            memories.append(its_own)
        return frames, memories
