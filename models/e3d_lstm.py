"""E3D-LSTM (Wang et al., ICLR 2019): 3D convolutions, and cells that are recalled by likeness."""

from itertools import pairwise

from models.blocks import narrowed
from models.encoder_decoder import on_patches, patch_channels
from models.st_lstm import STLSTM, SameSize, Zigzag
from utils.stack import F, L, chainer, windows
from utils.stack.gates import gated, summed

MAPS = (64,) * 4
WINDOW = 2  # successive frames that are seen at a time
KERNEL = 5
RECALLED = 5  # cells that are kept
PIECE = 2**20  # likenesses that are computed at a time, 4 MB of them


def build(history, horizon, channels, size, width="paper", patch=4, sampling_decay=2e-5):
    """Four eidetic LSTMs that read the past, then go on with their own frames.

    The authors' code normalises the outputs of its convolutions, too, recalls all cells since the
    beginning, puts the output gate through tanh before its sigmoid and, unlike the paper, keeps of
    the memory that the layers share not the memory itself but tanh of a convolution of it. Here all
    is as in the paper, and the last RECALLED cells are recalled. The paper's loss is --loss
    l1=1,l2=1.
    The output is linear and may leave [-1, 1] slightly.

    width: "paper" for the feature maps as published, "small" for an eighth of them.
    patch: height and width of the patches that become one pixel of many channels.
    sampling_decay: true frames are shown in training (scheduled sampling), with a probability that
    falls from 1 by this much at each iteration; of no effect where the horizon is 1.
    """
    maps = narrowed(MAPS, width)
    inputs = patch_channels(channels, patch, size), *maps
    cells = Windows(Zigzag(*(EideticLSTM(a, b, KERNEL) for a, b in pairwise(inputs))))
    return on_patches(history, horizon, channels, cells, WINDOW * maps[-1], patch, sampling_decay)


class Windows(chainer.Chain):
    """Gives a recurrent layer windows of two frames, t - 1 and t, with zeros before the first.

    The windows' first frames, then their second ones, lie one behind the other along the batch
    axis: (2 * B, T, C, H, W). This is a recurrent layer, too, as in models/convlstm.py; its output
    has the maps of both frames.
    """

    def __init__(self, layer):
        super().__init__()
        with self.init_scope():
            self.layer = layer

    def forward(self, frames, memory=None):
        """memory is (the last frame, the layer's memory)."""
        before, memory = memory or (self.xp.zeros_like(chainer.as_array(frames[:, :1])), None)
        before = F.concat([before, frames[:, :-1]], axis=1)
        made, memory = self.layer(F.concat([before, frames], axis=0), memory)
        return F.concat(F.split_axis(made, WINDOW, axis=0), axis=2), (frames[:, -1:], memory)


class OverTime(chainer.Chain):
    """A 3D convolution of windows with a kernel of 2 in time, to the same size, with zeros after
    the second frame: (2 * B, inputs, H, W) -> (2 * B, outputs, H, W).

    bias: its initial bias; None for none.
    """

    def __init__(self, inputs, outputs, kernel, bias=None):
        super().__init__()
        initial = chainer.initializers.LeCunNormal(WINDOW**-0.5)  # both kernels are one
        with self.init_scope():
            self.same = SameSize(inputs, outputs, kernel, bias, initial)
            self.ahead = SameSize(inputs, outputs, kernel, initialW=initial)

    def forward(self, x):
        bias = () if self.same.b is None else (self.same.b,)
        return windows.convolved(x, self.same.W, self.ahead.W, *bias)


class EideticLSTM(STLSTM):
    """An STLSTM of windows whose forget gate asks what to recall of earlier cells (the paper's
    RECALL)."""

    convolution = OverTime
    start = 0, 0, 0, 0, 0, 1, 0  # a query forgets nothing

    def __init__(self, inputs, outputs, kernel):
        super().__init__(inputs, outputs, kernel)
        with self.init_scope():
            self.norm = L.GroupNormalization(1, outputs)

    def remember(self, cells, *gates):
        candidate, input_gate, query = F.split_axis(summed(gates), 3, axis=1)
        recalled = recall(F.sigmoid(query), cells)
        kept = from_places(self.norm(to_places(cells[-1]) + recalled), query.shape)
        return [*cells, kept + gated(candidate, input_gate)][-RECALLED:]


def recall(query, cells):
    """What the cells hold where they are like the query: softmax(query cells^T) cells.

    query: (2 * B, K, H, W); cells: a list of the same. Returns (B, K, places of a window).
    """
    places = to_places(query)
    held = F.concat(list(map(to_places, cells)), axis=2)
    step = max(1, PIECE // (len(places) * held.shape[2]))
    found = []
    for first in range(0, places.shape[2], step):
        likeness = F.matmul(places[:, :, first : first + step], held, transa=True)
        found.append(F.matmul(held, F.softmax(likeness, axis=2), transb=True))
    return F.concat(found, axis=2)


def to_places(x):
    """(2 * B, K, H, W) -> (B, K, 2 * H * W): windows side by side."""
    x = F.reshape(x, (WINDOW, -1, *x.shape[1:]))
    return F.reshape(F.transpose(x, (1, 2, 0, 3, 4)), (*x.shape[1:3], -1))


def from_places(x, shape):
    """(B, K, 2 * H * W) -> the shape (2 * B, K, H, W)."""
    batch, maps, *size = shape
    x = F.reshape(x, (batch // WINDOW, maps, WINDOW, *size))
    return F.reshape(F.transpose(x, (2, 0, 1, 3, 4)), shape)
