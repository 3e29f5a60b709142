"""Deep voxel flow (Liu et al., ICCV 2017): next frames made of displaced pixels of the last two."""

from models.blocks import NEARLY_ZERO, convolution, narrowed
from models.predictor import Predictor, stacked, unstacked
from models.pyramids import factors_of
from models.resampling import enlarge
from utils.stack import F, L, chainer

MAPS = 64, 128, 256


def build(history, horizon, channels, size, pyramid=None, width="paper"):
    """The authors' network, for any history of at least two frames and any horizon; ValueError for
    a single past frame, which shows no motion.

    Unlike theirs it begins with nearly the last frame: its last layer is nearly zero, the trust
    sigmoid(x + 2), not (1 + tanh(x)) / 2. Theirs trained with --loss l1=1 --lr-gen 3e-4 -b 32.

    pyramid: shorter sides from coarse to fine such as "8-16-32", each scale correcting the motion
    that the one below found; a single scale unless given.
    width: "paper" for the feature maps of the authors' code, "small" for an eighth of them.
    """
    if history < 2:
        raise ValueError("--arch voxel-flow: one past frame shows no motion; cut with --history 2")
    factors = [1] if pyramid is None else factors_of(pyramid, size)
    reach = max(size) / 4  # largest displacement; the authors': tanh / 2, for frames 2 units wide
    return VoxelFlow(history, horizon, channels, factors, narrowed(MAPS, width), reach)


class VoxelFlow(Predictor):
    """Predicts, for each future pixel, where it was in the last frame and how far to trust that.

    Motion is taken to be steady: what moves by v from the last frame to the k-th predicted one
    moves by v (k+1) / k from the last frame but one, which fills in where the last is not trusted.
    Every value is an average of past pixels, so frames stay in [-1, 1].

    reach: the largest displacement per axis, in pixels of the full-size frame.
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
        for factor, seen, net in zip(self.factors, self.at_scales(past), self.nets, strict=True):
            if motion is None:
                motion = net(stacked(seen))
            else:
                motion = enlarge(motion, seen.shape[-1] // motion.shape[-1])
                motion += net(F.concat([stacked(seen), motion]))
            futures.append(self.follow(seen, motion, factor))
        return futures

    def follow(self, seen, motion, factor):
        """Displace pixels of the last two frames by the predicted motion.

        seen: (B, history, C, h, w), the past; motion: (B, 3 * horizon, h, w), for each frame the
        flow to the right, down, and the trust, before tanh and sigmoid. Returns
        (B, horizon, C, h, w).
        """
        seen = chainer.as_array(seen)
        last, before = seen[:, -1], seen[:, -2]
        future = []
        for k, maps in enumerate(F.separate(unstacked(motion, 3), axis=1), 1):
            flow, trust = F.split_axis(maps, [2], axis=1)
            flow = F.tanh(flow) * (self.reach / factor)
            trust = F.sigmoid(trust + 2)  # before training the last frame counts most
            moved = sample(before, flow * ((k + 1) / k))
            future.append(moved + F.broadcast_to(trust, moved.shape) * (sample(last, flow) - moved))
        return F.stack(future, axis=1)


class MotionNet(chainer.Chain):
    """Halves the frame three times, doubles it again, with skip connections; last layer linear.

    The skip connections are the paper's; the authors' code has none, and upsamples bilinearly where
    pixels are repeated here.
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
    """Sample images (N, C, H, W), an array, bilinearly at each pixel's position plus the flow.

    flow: (N, 2, H, W), pixels to the right and down. Beyond an edge the pixels on it are repeated.
    Gradients reach the flow alone.
    """
    return Sample(images).apply((flow,))[0]


class Sample(chainer.FunctionNode):
    """`sample` as one function node, ten times as fast on a CPU as F.spatial_transformer_sampler.

    Its gradient cannot be differentiated again: NotImplementedError.
    """

    def __init__(self, images):
        self.images = images

    def forward(self, inputs):
        (flow,), (number, maps, height, width) = inputs, self.images.shape
        xp = chainer.backend.get_array_module(flow)
        across = flow[:, :1] + xp.arange(width, dtype=flow.dtype)
        down = flow[:, 1:] + xp.arange(height, dtype=flow.dtype)[:, None]
        columns, x, in_width = neighbours(across, width)
        rows, y, in_height = neighbours(down, height)
        first = height * width * xp.arange(number * maps).reshape(number, maps, 1, 1)
        (a, b), (c, d) = (
            [self.images.take(first + width * row + column) for column in columns] for row in rows
        )
        above, below = b - a, d - c
        upper, lower = a + above * x, c + below * x
        step = lower - upper
        if chainer.config.enable_backprop:
            self.slopes = (above + (below - above) * y, in_width), (step, in_height)
        return (upper + step * y,)

    def backward(self, indexes, grad_outputs):
        if chainer.config.enable_backprop:  # set in a backward pass if it is to be differentiated
            raise NotImplementedError("gradients of a motion have no gradients")
        gy, xp = grad_outputs[0].array, grad_outputs[0].xp
        sums = [(gy * slope).sum(axis=1, keepdims=True) * inside for slope, inside in self.slopes]
        return (chainer.as_variable(xp.concatenate(sums, axis=1)),)


def neighbours(places, length):
    """The two pixels of an axis of `length` pixels between which each place (N, 1, H, W) lies.

    Returns ((index of the pixel before, of the one after), distance past the first in [0, 1],
    whether the place is within the axis); places beyond its ends are moved to them.
    """
    xp = chainer.backend.get_array_module(places)
    inside = (places >= 0) & (places <= length - 1)
    places = xp.clip(places, 0, length - 1)
    before = xp.floor(places)
    # A NaN survives clipping. It reads pixel 0 with a weight of NaN, so the loss will be NaN, too.
    number = xp.fmax(before, 0).astype(int)
    return (number, xp.minimum(number + 1, length - 1)), places - before, inside
