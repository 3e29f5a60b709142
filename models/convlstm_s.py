"""ConvLSTM-S of OpenSTL, the configuration behind its published Moving MNIST numbers."""

from itertools import pairwise

from models.blocks import narrowed
from models.convlstm import ConvLSTM, Stack
from models.encoder_decoder import on_patches, patch_channels

MAPS = (128,) * 4


def build(history, horizon, channels, size, width="paper", patch=4, sampling_decay=2e-5):
    """Four ConvLSTMs without biases that read the past, then go on with their own frames.

    OpenSTL counts 15.08 million weights for Moving MNIST; 3.41 million of them, two convolutions in
    each cell that its forward pass never calls, are left out here. Its loss counts how well the
    past frames are predicted too; ours is that of the future alone. The output is linear and may
    leave [-1, 1] slightly.

    width: "paper" for the feature maps as published, "small" for an eighth of them.
    patch: height and width of the patches that become one pixel of many channels; 2 for KTH.
    sampling_decay: true frames are shown in training (scheduled sampling), with a probability that
    falls from 1 by this much at each iteration; of no effect where the horizon is 1.
    """
    maps = narrowed(MAPS, width)
    inputs = patch_channels(channels, patch, size), *maps
    cells = Stack(*(ConvLSTM(a, b, 5, bias=False) for a, b in pairwise(inputs)))
    return on_patches(history, horizon, channels, cells, maps[-1], patch, sampling_decay)
