"""The sequence-to-sequence ConvLSTM of team-pragmatic-chaos (2017)."""

from models.blocks import convolution, deconvolution, narrowed, transposed_convolution
from models.chance import ScheduledSampling
from models.convlstm import ConvLSTM
from models.encoder_decoder import EncoderDecoder
from models.squash import squash
from utils.stack import chainer

MAPS = 32, 64, 128, 256


def build(history, horizon, channels, size, width="paper", teacher_forcing=1.0, batch_norm=True):
    """Convolutions, a ConvLSTM that encodes, another that decodes, transposed convolutions, tanh.

    The team trained it with --alpha 2 --lr-gen 1e-3.

    width: "paper" for the feature maps as published, "small" for an eighth of them.
    teacher_forcing: how often the decoder is shown the true frame in training, 0 for never, as the
    team decided later; of no effect where the horizon is 1.
    batch_norm: after each convolution but the last; the team added it later.
    """
    a, b, c, d = narrowed(MAPS, width)
    embed = chainer.Sequential(
        convolution(channels, a, normalised=batch_norm),
        convolution(a, b, normalised=batch_norm),
        convolution(b, c, stride=2, normalised=batch_norm),
        convolution(c, d, stride=2, normalised=batch_norm),
    )
    readout = chainer.Sequential(
        deconvolution(d, d, normalised=batch_norm),
        deconvolution(d, c, stride=2, normalised=batch_norm),
        deconvolution(c, b, stride=2, normalised=batch_norm),
        deconvolution(b, a, normalised=batch_norm),
        transposed_convolution(a, channels, stride=1),
        squash,
    )
    encoder, decoder = (ConvLSTM(d, d, peepholes=True, normalised=True) for _ in range(2))
    return EncoderDecoder(
        history,
        horizon,
        channels,
        multiple=4,
        embed=embed,
        encoder=encoder,
        readout=readout,
        decoder=decoder,
        teacher=ScheduledSampling(teacher_forcing),
    )
