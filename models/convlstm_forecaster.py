"""The encoding-forecasting ConvLSTM of Shi et al. (NIPS 2015), section 3.2."""

from functools import partial
from itertools import pairwise

from models.blocks import narrowed
from models.chance import ScheduledSampling
from models.convlstm import ConvLSTM, Stack
from models.encoder_decoder import EncoderDecoder, patch_channels
from models.squash import squash
from utils.stack import F, L, chainer

MAPS = 128, 64, 64  # the paper's best on Moving MNIST


def build(history, horizon, channels, size, width="paper", patch=4, sampling_decay=2e-5):
    """Three ConvLSTMs that encode, three that forecast, on frames cut into patches; tanh.

    Unlike the paper's, the gates have no peepholes, a frame is drawn from the last layer's output
    alone, not from those of all three, the last past frame is read by the forecaster, and training
    is by scheduled sampling. The paper's loss is cross-entropy, its optimiser RMSprop: --loss bce=1
    --optimizer rmsprop --lr-gen 1e-3.

    width: "paper" for the feature maps as published, "small" for an eighth of them.
    patch: height and width of the patches that become one pixel of many channels.
    sampling_decay: the forecaster is shown true frames in training (scheduled sampling), with a
    probability that falls from 1 by this much at each iteration; of no effect where the horizon
    is 1.
    """
    maps = narrowed(MAPS, width)
    inputs = patch_channels(channels, patch, size), *maps
    readout = chainer.Sequential(
        L.Convolution2D(maps[-1], inputs[0], 1), partial(F.depth2space, r=patch), squash
    )
    encoder, forecaster = (
        Stack(*(ConvLSTM(a, b, 5) for a, b in pairwise(inputs))) for _ in range(2)
    )
    return EncoderDecoder(
        history,
        horizon,
        channels,
        multiple=patch,
        embed=partial(F.space2depth, r=patch),
        encoder=encoder,
        readout=readout,
        decoder=forecaster,
        teacher=ScheduledSampling(sampling_decay=sampling_decay),
    )
