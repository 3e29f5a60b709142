"""The second "video prediction network" sketched in Keras: an LSTM between frames."""

from models.blocks import convolution, deconvolution, narrowed, to_frames, transposed_convolution
from models.convlstm import ConvLSTM
from models.encoder_decoder import EncoderDecoder
from utils.stack import chainer

MAPS = 64, 128, 256, 512  # of the convolutions
UNITS = 256  # of the LSTM


def build(history, horizon, channels, size, width="paper"):
    """Convolutions on each frame, an LSTM that encodes, another that decodes, back up, sigmoid.

    The sketch flattens the last maps for the LSTM, which ties it to one frame size, and applies the
    decoding LSTM after the transposed convolutions, which cannot run. Here an LSTM of as many
    units, with shared weights, runs at each position of the last maps, before the transposed
    convolutions.

    width: "paper" for the feature maps of the sketch, "small" for an eighth of them.
    """
    a, b, c, d, units = narrowed((*MAPS, UNITS), width)
    embed = chainer.Sequential(
        convolution(channels, a, kernel=4, stride=2),
        convolution(a, b, kernel=4, stride=2),
        convolution(b, c, kernel=4, stride=2),
        convolution(c, d, kernel=4, stride=2),
    )
    readout = chainer.Sequential(
        deconvolution(units, c, stride=2),
        deconvolution(c, b, stride=2),
        deconvolution(b, a, stride=2),
        transposed_convolution(a, channels, stride=2),
        to_frames,
    )
    encoder, decoder = ConvLSTM(d, units, kernel=1), ConvLSTM(d, units, kernel=1)
    return EncoderDecoder(
        history,
        horizon,
        channels,
        multiple=16,
        embed=embed,
        encoder=encoder,
        readout=readout,
        decoder=decoder,
    )
