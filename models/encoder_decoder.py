"""What the recurrent architectures share: frames go in one by one, then come out one by one."""

from functools import partial

from models.chance import ScheduledSampling
from models.predictor import Predictor, per_frame
from utils.stack import F, L, chainer


def patch_channels(channels, patch, size):
    """Channels of a pixel that a patch x patch square of the frame becomes; ValueError if frames of
    `size` (height, width) cannot be cut into these."""
    if any(side % patch for side in size):
        problem = f"--model-options patch={patch}: clips are {size[0]}x{size[1]}"
        raise ValueError(f"{problem}; give a divisor of both sides")
    return channels * patch**2


def on_patches(history, horizon, channels, cells, maps, patch, sampling_decay):
    """An EncoderDecoder of one recurrent layer, as OpenSTL builds them all.

    A pixel that the layer sees is a patch x patch square of the frame, in [0, 1], which is drawn
    from the layer's output by a linear map. That map has a bias here, which OpenSTL's has not:
    without one a background that is not black has to be made of what the layer remembers. maps:
    number of the output's maps.
    """
    linear = L.Convolution2D(maps, channels * patch**2, 1)
    return EncoderDecoder(
        history,
        horizon,
        channels,
        multiple=patch,
        embed=partial(to_squares, patch=patch),
        encoder=cells,
        readout=chainer.Sequential(linear, partial(from_squares, patch=patch)),
        teacher=ScheduledSampling(sampling_decay=sampling_decay),
    )


def to_squares(images, patch):
    """(N, C, H, W) in [-1, 1] -> (N, C * patch^2, H / patch, W / patch) in [0, 1]."""
    return F.space2depth((images + 1) / 2, patch)


def from_squares(squares, patch):
    """The inverse of `to_squares`."""
    return 2 * F.depth2space(squares, patch) - 1


class EncoderDecoder(Predictor):
    """Reads all past frames but the last, then makes each next frame from the one before.

    embed: images (N, C, H, W) -> features (N, K, h, w).
    encoder, decoder: recurrent layers as in models/convlstm.py, the decoder going on from the
    encoder's memory; without a decoder the encoder itself goes on.
    readout: the decoder's output (N, M, h, w) -> images (N, C, H, W).
    teacher: ScheduledSampling, where training shows true frames.
    """

    def __init__(
        self,
        history,
        horizon,
        channels,
        *,
        multiple,
        embed,
        encoder,
        readout,
        decoder=None,
        teacher=None,
    ):
        super().__init__(history, horizon, channels)
        self.multiple = multiple
        with self.init_scope():
            self.embed, self.readout = embed, readout
            self.encoder, self.decoder, self.teacher = encoder, decoder, teacher

    def pyramid(self, past):
        """past (B, history, C, H, W) -> [(B, horizon, C, H, W)]."""
        return [self.recur(past, lambda t, predicted: predicted)]

    def training_pyramid(self, past, future):
        """As `pyramid`, made of the frames that the teacher shows."""
        if self.teacher is None or self.horizon == 1:  # nothing follows the only frame
            return self.pyramid(past)
        return [self.recur(past, self.teacher(future))]

    def recur(self, past, show):
        """past -> (B, horizon, C, H, W); what follows frame t is made from show(t, frame t)."""
        memory = None
        if self.history > 1:
            _, memory = self.encoder(per_frame(self.embed, past[:, :-1]))
        decoder = self.decoder or self.encoder
        frame, future = past[:, -1:], []
        for t in range(self.horizon):
            made, memory = decoder(per_frame(self.embed, frame), memory)
            future.append(per_frame(self.readout, made))
            if t + 1 < self.horizon:
                frame = show(t, future[-1])
        return F.concat(future, axis=1)
