"""What every architecture has in common: frames in, frames out, at any frame size."""

from models.resampling import shrink
from utils.stack import F, chainer


class Predictor(chainer.Chain):
    """A network that predicts `horizon` frames from the `history` frames before them.

    A subclass defines `pyramid(past)`: past (B, history, C, H, W), float32 in [-1, 1], H and W
    multiples of `multiple` -> a list of (B, horizon, C, H/f, W/f), one for each f of `factors`,
    coarse to fine. An architecture with a single scale returns a list of one.
    """

    factors = (1,)  # how much smaller than the frame each prediction is, coarse to fine
    multiple = 1  # what H and W must be a multiple of inside `pyramid`
    adversarial = False  # whether it was meant to train against discriminators

    def __init__(self, history, horizon, channels):
        super().__init__()
        self.history, self.horizon, self.channels = history, horizon, channels

    def training_pyramid(self, past, future):
        """`pyramid` in training, where the true future, (B, horizon, C, H, W), is known.

        Architectures that learn by being shown true frames in between override it.
        """
        return self.pyramid(past)

    def forward(self, past):
        """Predict the frames after past, (B, history, C, H, W) in [-1, 1], any H and W.

        Returns (B, horizon, C, H, W). Where H or W is not a multiple of `multiple` the frames
        are continued with their last row or column and the prediction is cropped back.
        """
        height, width = past.shape[-2:]
        below, right = -height % self.multiple, -width % self.multiple
        if below or right:
            edges = *[(0, 0)] * 3, (0, below), (0, right)
            past = self.xp.pad(past, edges, mode="edge")
        future = self.pyramid(past)[-1]
        if future.shape[-2:] != (height, width):
            future = future[..., :height, :width]
        return future

    def at_scales(self, frames):
        """Frames (B, T, C, H, W) -> the same at the sizes of `pyramid`, coarse to fine.

        Each coarse pixel is the mean of the f x f pixels it stands for.
        """
        return [shrink(frames, factor) for factor in self.factors]


def stacked(frames):
    """(B, T, C, H, W) -> (B, T*C, H, W): a clip's frames as the channels of one image."""
    batch, _, _, height, width = frames.shape
    return F.reshape(frames, (batch, -1, height, width))


def unstacked(maps, channels):
    """(B, T*C, H, W) -> (B, T, C, H, W): the channels of one image as frames again."""
    batch, _, height, width = maps.shape
    return F.reshape(maps, (batch, -1, channels, height, width))


def per_frame(function, frames):
    """(B, T, C, H, W) -> (B, T, ...): a function of images (N, C, H, W) applied to all frames."""
    batch, time, *image = frames.shape
    made = function(F.reshape(frames, (batch * time, *image)))
    return F.reshape(made, (batch, time, *made.shape[1:]))
