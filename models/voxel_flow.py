"""Deep voxel flow (Liu et al., ICCV 2017), which makes the next frame of pixels of the last two."""

from models.blocks import NEARLY_ZERO, convolution, narrowed
from models.multiscale import factors
from models.predictor import Predictor, stacked, unstacked
from models.resampling import enlarge
from utils.stack import F, L, chainer

MAPS = 64, 128, 256


def build(history, horizon, channels, size, pyramid=None, width="paper"):
    """The authors' network, for any history and horizon.

    pyramid: shorter sides from coarse to fine such as "8-16-32", each scale correcting the motion
    that the one below found; a single scale unless given.
    width: "paper" for the feature maps of the authors' code, "small" for an eighth of them.
    """
    scales = [1] if pyramid is None else factors(pyramid, size)
    reach = max(size) / 4  # the authors' code: tanh / 2, where the frame is 2 across
    return VoxelFlow(history, horizon, channels, scales, narrowed(MAPS, width), reach)


class VoxelFlow(Predictor):
    """Says for each future pixel where it was in the last frame and how far to trust that.

    Motion is taken to be steady: a pixel displaced by v between the last frame and the k-th after
    it is displaced by v (k+1) / k in the last frame but one, which fills in where the last is not
    trusted.  No pixel is invented, so frames stay in [-1, 1].
    """

    def __init__(self, history, horizon, channels, factors, maps, reach):
        super().__init__(history, horizon, channels)
        self.factors, self.reach = tuple(factors), reach
        self.multiple = 2 ** len(maps) * self.factors[0]
        seen, made = history * channels, 3 * horizon
        with self.init_scope():
            self.nets = chainer.ChainList()
            for level in range(len(factors)):
                self.nets.append(MotionNet(seen + made if level else seen, maps, made))

    def pyramid(self, past):
        """past (B, history, C, H, W) -> [(B, horizon, C, H/f, W/f) for f in factors]."""
        motion, futures = None, []
        for factor, seen, net in zip(self.factors, self.scales(past), self.nets, strict=True):
            if motion is None:
                motion = net(stacked(seen))
            else:
                motion = enlarge(motion, seen.shape[-1] // motion.shape[-1])
                motion += net(F.concat([stacked(seen), motion]))
            futures.append(self.follow(seen, motion, factor))
        return futures

    def follow(self, seen, motion, factor):
        """Move pixels: seen (B, history, C, h, w), motion (B, 3 * horizon, h, w) -> the future."""
        seen = chainer.as_array(seen)
        last, before = seen[:, -1], seen[:, max(0, self.history - 2)]
        future = []
        for k, maps in enumerate(F.separate(unstacked(motion, 3), axis=1), 1):
            flow, trust = F.split_axis(maps, [2], axis=1)
            flow = F.tanh(flow) * (self.reach / factor)
            trust = F.sigmoid(trust + 2)  # the last frame counts most to begin with
            moved = sample(before, flow * ((k + 1) / k))
            future.append(moved + F.broadcast_to(trust, moved.shape) * (sample(last, flow) - moved))
        return F.stack(future, axis=1)


class MotionNet(chainer.Chain):
    """Halves the frame three times, doubles it again, with skip connections; last layer linear.

    The skip connections are the paper's; the authors' code has none.  It upsamples bilinearly, not
    by repeating pixels as here.
    """

    def __init__(self, inputs, maps, outputs):
        super().__init__()
        a, b, c = maps
        with self.init_scope():
            self.down = chainer.ChainList(
                convolution(inputs, a, 5, normalised=True),
                convolution(a, b, 5, normalised=True),
                convolution(b, c, 3, normalised=True),
            )
            self.up = chainer.ChainList(
                convolution(c + c, c, 3, normalised=True),
                convolution(c + b, b, 3, normalised=True),
                convolution(b + a, a, 5, normalised=True),
            )
            self.last = L.Convolution2D(a, outputs, 5, pad=2, initialW=NEARLY_ZERO)

    def forward(self, x):
        """(N, inputs, H, W), H and W multiples of 8 -> (N, outputs, H, W)."""
        skips = []
        for down in self.down:
            x = down(x)
            skips.append(x)
            x = F.max_pooling_2d(x, 2)
        for up in self.up:
            x = up(F.concat([enlarge(x, 2), skips.pop()], axis=1))
        return self.last(x)


def sample(images, flow):
    """Images (N, C, H, W) read at each pixel's place plus flow (N, 2, H, W), bilinearly.

    flow is in pixels, to the right, then down; beyond an edge its last pixels go on.  Gradients
    reach the flow alone: the images are an array.
    """
    xp = chainer.backend.get_array_module(images)
    number, _, height, width = images.shape
    across, down = F.separate(flow, axis=1)
    x = F.clip(across + xp.arange(width, dtype=flow.dtype), 0.0, width - 1.0)
    y = F.clip(down + xp.arange(height, dtype=flow.dtype)[:, None], 0.0, height - 1.0)
    left, top = xp.floor(x.array), xp.floor(y.array)
    # NaN, which clipping leaves, reads pixel 0: what it weighs is NaN, for the loss to tell.
    columns, rows = (xp.fmax(side, 0).astype(int) for side in (left, top))
    columns = columns, xp.minimum(columns + 1, width - 1)
    rows = rows, xp.minimum(rows + 1, height - 1)
    image = xp.arange(number)[:, None, None]
    (a, b), (c, d) = (
        [images[image, :, row, column].transpose(0, 3, 1, 2) for column in columns] for row in rows
    )
    x, y = (x - left)[:, None], (y - top)[:, None]  # (N, 1, H, W), how far past the pixel
    upper, lower = a + (b - a) * x, c + (d - c) * x
    return upper + (lower - upper) * y
