"""PredRNN (Wang et al., NIPS 2017), in the configuration of OpenSTL's Moving MNIST numbers."""

from itertools import pairwise

from models.blocks import narrowed
from models.encoder_decoder import on_patches, patch_channels
from models.st_lstm import STLSTM, Zigzag

MAPS = (128,) * 4
KERNEL = 5


def build(history, horizon, channels, size, width="paper", patch=4, sampling_decay=2e-5):
    """Four spatiotemporal LSTMs that read the past, then go on with their own frames.

    OpenSTL's gates have no biases but for a constant 1 in the forget gates; here they are the
    paper's. Its loss counts how well the past frames are predicted too; ours is that of the future
    alone. The output is linear and may leave [-1, 1] slightly.

    width: "paper" for the feature maps as published, "small" for an eighth of them.
    patch: height and width of the patches that become one pixel of many channels.
    sampling_decay: true frames are shown in training (scheduled sampling), with a probability that
    falls from 1 by this much at each iteration; of no effect where the horizon is 1.
    """
    maps = narrowed(MAPS, width)
    inputs = patch_channels(channels, patch, size), *maps
    cells = Zigzag(*(STLSTM(a, b, KERNEL) for a, b in pairwise(inputs)))
    return on_patches(history, horizon, channels, cells, maps[-1], patch, sampling_decay)
