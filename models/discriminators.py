"""The discriminators of Mathieu, Couprie and LeCun (ICLR 2016), table 1, one for each scale."""

from typing import NamedTuple

from models.blocks import of_width, sequential
from models.predictor import stacked
from utils.stack import F, L, branches, chainer


class Layout(NamedTuple):
    """The layers that judge one frame size."""

    convolutions: tuple  # of (kernel, maps, stride), valid
    pool: int  # max pooling after them, 1 for none
    units: tuple  # of the fully connected layers before the logit


# {width: {smallest frame side that the layers are for: layers}}. "small" is what the authors'
# public training script has. The paper has none beyond 32x32: strides of 2 keep the first fully
# connected layer for 64x64 at 13 million weights, where the layers of 32x32 would need 254 million.
LAYOUTS = {
    "paper": {
        4: Layout(((3, 64, 1),), 1, (512, 256)),
        8: Layout(((3, 64, 1), (3, 128, 1), (3, 128, 1)), 1, (1024, 512)),
        16: Layout(((5, 128, 1), (5, 256, 1), (5, 256, 1)), 1, (1024, 512)),
        32: Layout(((7, 128, 1), (7, 256, 1), (5, 512, 1), (5, 128, 1)), 1, (1024, 512)),
        40: Layout(((7, 128, 1), (7, 256, 1), (5, 512, 2), (5, 128, 2)), 1, (1024, 512)),
        96: Layout(((7, 128, 2), (7, 256, 1), (5, 512, 2), (5, 128, 2)), 1, (1024, 512)),
    },
    "small": {
        4: Layout(((3, 32, 1),), 1, (256, 128)),
        8: Layout(((3, 32, 1), (3, 32, 1), (3, 64, 1)), 1, (256, 128)),
        16: Layout(((5, 32, 1), (5, 32, 1), (5, 64, 1)), 1, (256, 128)),
        32: Layout(((7, 32, 1), (7, 32, 1), (5, 64, 1), (5, 128, 1)), 2, (256, 128)),
        40: Layout(((7, 32, 1), (7, 32, 1), (5, 64, 2), (5, 128, 2)), 2, (256, 128)),
        96: Layout(((7, 32, 2), (7, 32, 1), (5, 64, 2), (5, 128, 2)), 2, (256, 128)),
    },
}
SMALLEST = 3  # the kernel of the first layers


class Discriminators(chainer.ChainList):
    """One discriminator for each scale, which tells real future frames from predicted ones.

    sizes: the (height, width) of each scale, coarse to fine. conditional: each sees the past
    frames beside the future ones, as in the paper; otherwise the future ones alone. Raises
    ValueError for frames too small for any layers, or a width other than "paper" and "small".
    """

    def __init__(self, sizes, history, horizon, channels, width="paper", conditional=True):
        super().__init__()
        self.conditional = conditional
        inputs = (history + horizon if conditional else horizon) * channels
        layouts = of_width(LAYOUTS, width)
        for height, breadth in sizes:
            if min(height, breadth) < SMALLEST:
                raise ValueError(
                    f"discriminators judge frames from {SMALLEST}x{SMALLEST} up, not of {height}x"
                    f"{breadth}: give --no-adversarial, a --pyramid without them or larger clips"
                )
            fits = max((s for s in layouts if s <= min(height, breadth)), default=min(layouts))
            self.append(Discriminator((height, breadth), inputs, layouts[fits]))

    @classmethod
    def of(cls, gen, size, width=None, conditional=True):
        """Discriminators for the predictions of a generator for clips of `size` (height, width)."""
        sizes = [[length // factor for length in size] for factor in gen.factors]
        return cls(sizes, gen.history, gen.horizon, gen.channels, width or "paper", conditional)

    def forward(self, pasts, futures):
        """Judge each scale: lists of (B, history, C, h, w) and (B, horizon, C, h, w), coarse to
        fine, in [-1, 1] -> list of (B, 1), the logits of "this future is real"."""
        inputs = []
        for past, future in zip(pasts, futures, strict=True):
            frames = F.concat([past, future], axis=1) if self.conditional else future
            inputs.append(stacked(frames))
        return branches.applied(self, inputs)


class Discriminator(chainer.Chain):
    """Valid convolutions and fully connected layers, ReLU between them, a logit at the end."""

    def __init__(self, size, inputs, layout):
        super().__init__()
        self.pool = layout.pool
        height, width = size
        with self.init_scope():
            self.convolutions = chainer.ChainList()
            for kernel, maps, stride in layout.convolutions:
                self.convolutions.append(L.Convolution2D(inputs, maps, kernel, stride))
                height, width = ((n - kernel) // stride + 1 for n in (height, width))
                inputs = maps
            inputs *= (height // self.pool) * (width // self.pool)
            self.layers = chainer.ChainList()
            for units in (*layout.units, 1):
                self.layers.append(L.Linear(inputs, units))
                inputs = units

    def forward(self, x):
        """(B, inputs, h, w) in [-1, 1] -> (B, 1) logits."""
        x = sequential(x, list(self.convolutions), len(self.convolutions))
        if self.pool > 1:
            x = F.max_pooling_2d(x, self.pool, cover_all=False)
        return sequential(F.reshape(x, (len(x), -1)), list(self.layers), len(self.layers) - 1)
