"""A "video prediction network", sketched in Keras: a stack of ConvLSTMs.

It is no Video Pixel Network (Kalchbrenner et al., ICML 2017), which has the same initials.
"""

from itertools import pairwise

from models.blocks import narrowed, to_frames, transposed_convolution
from models.convlstm import NormalisedConvLSTM, Stack
from models.encoder_decoder import EncoderDecoder
from utils.stack import F, chainer

MAPS = 64, 128, 128, 64


def build(history, horizon, channels, size, width="paper"):
    """ConvLSTMs at full size, each batch normalised, a transposed convolution, sigmoid.

    After the past it goes on with the frames that it predicts.

    width: "paper" for the feature maps of the sketch, "small" for an eighth of them.
    """
    maps = narrowed(MAPS, width)
    inputs = channels, *maps
    cells = Stack(*(NormalisedConvLSTM(a, b) for a, b in pairwise(inputs)))
    readout = chainer.Sequential(transposed_convolution(maps[-1], channels, stride=1), to_frames)
    return EncoderDecoder(
        history,
        horizon,
        channels,
        multiple=1,
        embed=F.identity,
        encoder=cells,
        readout=readout,
    )
