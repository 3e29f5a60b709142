"""Twins of the architectures of models/ in PyTorch as its users write it, and their training step.

Each takes past frames (B, T, C, H, W) and gives the next one (B, C, H, W); a width is its only
option. last-frame is left out: it has no weights to train.
"""

from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import torch_multiscale

EPSILON = 2e-5  # of batch normalisation, Chainer's
# Coarse to fine, as torch_multiscale.GENERATOR: kernels, then maps but for the last one's.
GENERATOR_8TO8 = (
    ((3, 3, 3, 3), (16, 32, 64)),
    ((5, 3, 3, 3), (16, 32, 64)),
    ((5, 5, 5, 5), (32, 64, 128)),
    ((7, 5, 5, 5, 5), (32, 64, 128, 128)),
)


def training_step(net, optimizer, clips, history):
    """Train a twin on uint8 clips (B, T, C, H, W) -> its loss."""
    if isinstance(net, MultiScale):
        return torch_multiscale.generator_step(net, optimizer, clips, history)
    frames = clips.float().div_(127.5).sub_(1)
    past, future = frames[:, :history], frames[:, history]
    loss = torch_multiscale.prediction_loss([net(past)], [future])
    torch_multiscale.descend(optimizer, loss)
    return loss.detach()


def per_frame(function, frames):
    """(B, T, C, H, W) -> (B, T, ...): a function of images applied to all frames."""
    return function(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])


def convolution(inputs, outputs, kernel=3, stride=1, normalised=False):
    """Convolution, batch normalisation if asked for, ReLU."""
    pad, bias = (kernel - 1) // 2, not normalised
    return activated(nn.Conv2d(inputs, outputs, kernel, stride, pad, bias=bias), normalised)


def deconvolution(inputs, outputs, stride=1, normalised=False):
    """Transposed convolution, batch normalisation if asked for, ReLU."""
    return activated(transposed_convolution(inputs, outputs, stride, not normalised), normalised)


def transposed_convolution(inputs, outputs, stride, bias=True):
    """Transposed convolution to size * stride, stride 1 or 2."""
    return nn.ConvTranspose2d(inputs, outputs, 2 + stride, stride, 1, bias=bias)


def activated(layer, normalised):
    norm = [nn.BatchNorm2d(layer.out_channels, EPSILON)] if normalised else []
    return nn.Sequential(layer, *norm, nn.ReLU(inplace=True))


class ToFrames(nn.Module):
    """Sigmoid, to the frames' range."""

    def forward(self, x):
        return 2 * x.sigmoid() - 1


class ConvLSTM(nn.Module):
    """models/convlstm.py, with the gates one after the other: candidate, input, forget, output."""

    def __init__(self, inputs, outputs, kernel=3, peepholes=False, normalised=False, bias=True):
        super().__init__()
        self.outputs = outputs
        bias = bias and not normalised
        self.input_conv = nn.Conv2d(inputs, 4 * outputs, kernel, padding="same", bias=bias)
        self.hidden_conv = nn.Conv2d(outputs, 4 * outputs, kernel, padding="same", bias=False)
        self.norm = nn.GroupNorm(1, 4 * outputs) if normalised else None
        self.peepholes = nn.Parameter(torch.zeros(3, outputs, 1, 1)) if peepholes else None

    def forward(self, frames, memory=None):
        """Frames (B, T, C, H, W) -> the output for each, the memory (h, c) after the last."""
        from_frames = per_frame(self.input_conv, frames)
        if memory is None:
            batch, _, _, height, width = from_frames.shape
            memory = (from_frames.new_zeros(batch, self.outputs, height, width),) * 2
        (h, c), made = memory, []
        for from_frame in from_frames.unbind(1):
            gates = from_frame + self.hidden_conv(h)
            if self.norm is not None:
                gates = self.norm(gates)
            g, i, f, o = gates.chunk(4, 1)
            if self.peepholes is not None:
                i, f = i + self.peepholes[0] * c, f + self.peepholes[1] * c
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            if self.peepholes is not None:
                o = o + self.peepholes[2] * c
            h = o.sigmoid() * c.tanh()
            made.append(h)
        return torch.stack(made, 1), (h, c)


class NormalisedConvLSTM(nn.Module):
    """A ConvLSTM with batch normalisation of its outputs, not of its memory."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.cell = ConvLSTM(inputs, outputs)
        self.norm = nn.BatchNorm2d(outputs, EPSILON)

    def forward(self, frames, memory=None):
        frames, memory = self.cell(frames, memory)
        return per_frame(self.norm, frames), memory


class Stack(nn.ModuleList):
    """Recurrent layers on top of each other."""

    def forward(self, frames, memory=None):
        memories = []
        for layer, its_own in zip(self, memory or [None] * len(self), strict=True):
            frames, its_own = layer(frames, its_own)
            memories.append(its_own)
        return frames, memories


class EncoderDecoder(nn.Module):
    """models/encoder_decoder.py: reads all past frames but the last, makes the next from that."""

    def __init__(self, embed, encoder, readout, decoder=None):
        super().__init__()
        self.embed, self.readout = embed, readout
        self.encoder, self.decoder = encoder, decoder

    def forward(self, past):
        _, memory = self.encoder(per_frame(self.embed, past[:, :-1]))
        made, _ = (self.decoder or self.encoder)(per_frame(self.embed, past[:, -1:]), memory)
        return self.readout(made[:, 0])


class MultiScale(torch_multiscale.Generator):
    """models/multiscale.py."""

    def __init__(self, history, channels, width, scales=torch_multiscale.GENERATOR):
        super().__init__(width, history, 1, channels, scales)

    def forward(self, past):
        return super().forward(past.flatten(1, 2))


def multiscale_8to8(history, channels, width):
    """models/multiscale_8to8.py."""
    return MultiScale(history, channels, "paper", GENERATOR_8TO8)  # it has no other width


def conv2d(history, channels, width):
    """models/conv2d.py."""
    layer = nn.Conv2d(history * channels, channels, 3, padding="same")
    return nn.Sequential(nn.Flatten(1, 2), layer)


def catz(history, channels, width, maps=32):
    """models/catz.py."""
    layers = convolution(history * channels, maps), nn.MaxPool2d(2), convolution(maps, maps)
    last = nn.Conv2d(maps, channels, 3, padding="same")
    return nn.Sequential(nn.Flatten(1, 2), *layers, nn.Upsample(scale_factor=2), last)


class Conv3DResidual(nn.Module):
    """models/conv3d_residual.py: frames are the maps."""

    def __init__(self, history, channels, width):
        super().__init__()
        self.change = nn.Conv3d(history, 1, 3, padding="same")

    def forward(self, past):
        return past[:, -1] + self.change(past)[:, 0]


class ConvLSTMResidual(nn.Module):
    """models/convlstm_residual.py."""

    def __init__(self, history, channels, width, maps=6):
        super().__init__()
        self.convlstm = ConvLSTM(channels, maps)
        self.change = nn.Conv2d(maps, channels, 3, padding="same")

    def forward(self, past):
        _, (h, _) = self.convlstm(past)
        return past[:, -1] + self.change(h)


class Ensemble(nn.Module):
    """models/ensemble.py; the first way of three is the last frame itself."""

    def __init__(self, *shape):
        super().__init__()
        self.conv3d, self.convlstm = Conv3DResidual(*shape), ConvLSTMResidual(*shape)
        _, channels, _ = shape
        self.join = nn.Conv2d(3 * channels, channels, 3, padding="same")

    def forward(self, past):
        return self.join(torch.cat([past[:, -1], self.conv3d(past), self.convlstm(past)], 1))


class Hourglass(nn.Module):
    """models/hourglass.py."""

    def __init__(self, history, channels, width, maps=4):
        super().__init__()
        self.full = NormalisedConvLSTM(channels, maps)
        self.halved = NormalisedConvLSTM(maps, 2 * maps)
        self.quarter = ConvLSTM(2 * maps, 4 * maps)
        self.up = NormalisedConvLSTM(4 * maps, 4 * maps)
        self.half_again = NormalisedConvLSTM(4 * maps, 2 * maps)
        self.full_again = NormalisedConvLSTM(2 * maps, maps)
        self.choose = nn.Conv2d(channels + maps, channels, 1)

    def forward(self, past):
        shrink, enlarge = nn.MaxPool2d(2), nn.Upsample(scale_factor=2)
        full, _ = self.full(past)
        half, _ = self.halved(per_frame(shrink, full))
        quarter, _ = self.quarter(per_frame(shrink, half))
        up, _ = self.up(per_frame(enlarge, quarter))
        half_again, _ = self.half_again(up)
        full_again, _ = self.full_again(per_frame(enlarge, half + half_again))
        return self.choose(torch.cat([past[:, -1], full_again[:, -1]], 1))


class SkipAutoencoder(nn.Module):
    """models/skip_autoencoder.py."""

    def __init__(self, history, channels, width):
        super().__init__()
        maps = {"paper": (32, 64, 128, 256, 512), "small": (4, 8, 16, 32, 64)}[width]
        *upper, bottom = maps
        self.first = convolution(history * channels, maps[0])
        self.down = nn.ModuleList(convolution(a, b, stride=2) for a, b in pairwise(maps))
        self.up = nn.ModuleList([deconvolution(bottom, upper[-1], stride=2)])
        for above, below in zip(upper[-2::-1], upper[:0:-1], strict=True):
            self.up.append(deconvolution(2 * below, above, stride=2))
        self.last = transposed_convolution(2 * maps[0], channels, stride=1)

    def forward(self, past):
        x, skips = self.first(past.flatten(1, 2)), []
        for down in self.down:
            skips.append(x)
            x = down(x)
        for up in self.up:
            x = torch.cat([up(x), skips.pop()], 1)
        return self.last(x).tanh()


class VoxelFlow(nn.Module):
    """models/voxel_flow.py with a single scale."""

    def __init__(self, history, channels, width):
        super().__init__()
        a, b, c = {"paper": (64, 128, 256), "small": (8, 16, 32)}[width]
        conv = partial(convolution, normalised=True)
        self.down = nn.ModuleList([conv(history * channels, a, 5), conv(a, b, 5), conv(b, c, 3)])
        self.up = nn.ModuleList([conv(c + c, c, 3), conv(c + b, b, 3), conv(b + a, a, 5)])
        self.last = nn.Conv2d(a, 3, 5, padding="same")

    def forward(self, past):
        x, skips = past.flatten(1, 2), []
        for down in self.down:
            x = down(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        for up in self.up:
            x = up(torch.cat([F.interpolate(x, scale_factor=2), skips.pop()], 1))
        flow, trust = self.last(x).split([2, 1], 1)
        flow, trust = flow.tanh() * (max(past.shape[-2:]) / 4), (trust + 2).sigmoid()
        moved = sample(past[:, -2], 2 * flow)
        return moved + trust * (sample(past[:, -1], flow) - moved)


def sample(images, flow):
    """Images read at each pixel's place plus flow (B, 2, H, W), in pixels, bilinearly."""
    height, width = images.shape[-2:]
    across = (flow[:, 0] + torch.arange(width)) * (2 / (width - 1)) - 1
    down = (flow[:, 1] + torch.arange(height)[:, None]) * (2 / (height - 1)) - 1
    places = torch.stack([across, down], -1)
    return F.grid_sample(images, places, padding_mode="border", align_corners=True)


def convlstm_forecaster(history, channels, width, patch=4):
    """models/convlstm_forecaster.py."""
    *_, last = maps = {"paper": (128, 64, 64), "small": (16, 8, 8)}[width]
    inputs = channels * patch**2, *maps
    readout = nn.Sequential(nn.Conv2d(last, inputs[0], 1), nn.PixelShuffle(patch), nn.Tanh())
    encoder, decoder = (Stack(ConvLSTM(a, b, 5) for a, b in pairwise(inputs)) for _ in range(2))
    return EncoderDecoder(nn.PixelUnshuffle(patch), encoder, readout, decoder)


def convlstm_s(history, channels, width, patch=4):
    """models/convlstm_s.py."""
    maps = {"paper": (128,) * 4, "small": (16,) * 4}[width]
    inputs = channels * patch**2
    cells = Stack(ConvLSTM(a, b, 5, bias=False) for a, b in pairwise((inputs, *maps)))
    return on_patches(cells, inputs, maps[-1], patch)


def same_size(inputs, outputs, kernel, bias=False):
    """A convolution to the same size; kernel: its sides, two or three."""
    if len(kernel) == 2:
        return nn.Conv2d(inputs, outputs, kernel, padding="same", bias=bias)
    pad = 0, kernel[1] // 2, kernel[2] // 2
    return Conv3dAhead(inputs, outputs, kernel, padding=pad, bias=bias)


class Conv3dAhead(nn.Conv3d):
    """A convolution that looks ahead in time, padded by zeros there."""

    def forward(self, x):
        return super().forward(F.pad(x, (0, 0, 0, 0, 0, self.kernel_size[0] - 1)))


class STLSTM(nn.Module):
    """models/st_lstm.py."""

    def __init__(self, inputs, outputs, kernel):
        super().__init__()
        self.outputs = outputs
        self.from_input = same_size(inputs, 7 * outputs, kernel, bias=True)
        self.from_hidden = same_size(outputs, 4 * outputs, kernel)
        self.from_shared = same_size(outputs, 3 * outputs, kernel)
        self.from_memories = same_size(2 * outputs, outputs, kernel)
        self.join = same_size(2 * outputs, outputs, (1,) * len(kernel))

    def forward(self, x, state, shared):
        blank = x.new_zeros(len(x), self.outputs, *x.shape[2:])
        hidden, cells = state or (blank, [blank])
        shared = blank if shared is None else shared
        sizes = [3 * self.outputs, 3 * self.outputs, self.outputs]
        own, common, output = self.from_input(x).split(sizes, 1)
        own_too, output_too = self.from_hidden(hidden).split(sizes[1:], 1)
        cells = self.remember(own + own_too, cells)
        shared = renewed(shared, common + self.from_shared(shared))
        memories = torch.cat([cells[-1], shared], 1)
        output = (output + output_too + self.from_memories(memories)).sigmoid()
        return (output * self.join(memories).tanh(), cells), shared

    def remember(self, gates, cells):
        return [renewed(cells[-1], gates)]


def renewed(memory, gates):
    """A memory after its gates: candidate, input gate, forget gate."""
    candidate, let_in, keep = gates.chunk(3, 1)
    return keep.sigmoid() * memory + let_in.sigmoid() * candidate.tanh()


class EideticLSTM(STLSTM):
    """models/e3d_lstm.py, for clips too short to forget a cell."""

    def __init__(self, inputs, outputs, kernel):
        super().__init__(inputs, outputs, kernel)
        self.norm = nn.GroupNorm(1, outputs)

    def remember(self, gates, cells):
        candidate, let_in, query = gates.chunk(3, 1)
        held = torch.cat([cell.flatten(2) for cell in cells], 2).transpose(1, 2)
        places = query.sigmoid().flatten(2).transpose(1, 2)
        found = (places @ held.transpose(1, 2)).softmax(2) @ held
        kept = self.norm(cells[-1] + found.transpose(1, 2).reshape(query.shape))
        return [*cells, kept + let_in.sigmoid() * candidate.tanh()]


class Zigzag(nn.ModuleList):
    """Layers on top of each other, with a memory that climbs them."""

    def forward(self, frames, memory=None):
        states, shared = memory or ([None] * len(self), None)
        made = []
        for x in frames.unbind(1):
            before, states = states, []
            for layer, state in zip(self, before, strict=True):
                state, shared = layer(x, state, shared)
                states.append(state)
                x = state[0]
            made.append(x)
        return torch.stack(made, 1), (states, shared)


class Windows(nn.Module):
    """Shows a recurrent layer each frame together with the one before it."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, frames, memory=None):
        before, memory = memory or (torch.zeros_like(frames[:, :1]), None)
        frames = torch.cat([before, frames], 1)
        made, memory = self.layer(torch.stack([frames[:, :-1], frames[:, 1:]], 3), memory)
        return made.transpose(2, 3).flatten(2, 3), (frames[:, -1:], memory)


class ToSquares(nn.PixelUnshuffle):
    """models/encoder_decoder.py's to_squares."""

    def forward(self, images):
        return super().forward((images + 1) / 2)


class FromSquares(nn.PixelShuffle):
    """models/encoder_decoder.py's from_squares."""

    def forward(self, squares):
        return 2 * super().forward(squares) - 1


def on_patches(cells, inputs, maps, patch):
    """models/encoder_decoder.py's function of that name."""
    readout = nn.Sequential(nn.Conv2d(maps, inputs, 1), FromSquares(patch))
    return EncoderDecoder(ToSquares(patch), cells, readout)


def predrnn(history, channels, width, patch=4):
    """models/predrnn.py."""
    maps = {"paper": (128,) * 4, "small": (16,) * 4}[width]
    inputs = channels * patch**2
    cells = Zigzag(STLSTM(a, b, (5, 5)) for a, b in pairwise((inputs, *maps)))
    return on_patches(cells, inputs, maps[-1], patch)


def e3d_lstm(history, channels, width, patch=4):
    """models/e3d_lstm.py."""
    maps = {"paper": (64,) * 4, "small": (8,) * 4}[width]
    inputs = channels * patch**2
    cells = Zigzag(EideticLSTM(a, b, (2, 5, 5)) for a, b in pairwise((inputs, *maps)))
    return on_patches(Windows(cells), inputs, 2 * maps[-1], patch)


def seq2seq(history, channels, width):
    """models/seq2seq.py."""
    a, b, c, d = {"paper": (32, 64, 128, 256), "small": (4, 8, 16, 32)}[width]
    conv, deconv = (partial(kind, normalised=True) for kind in (convolution, deconvolution))
    embed = conv(channels, a), conv(a, b), conv(b, c, stride=2), conv(c, d, stride=2)
    back = deconv(d, d), deconv(d, c, 2), deconv(c, b, 2), deconv(b, a)
    readout = nn.Sequential(*back, transposed_convolution(a, channels, 1), nn.Tanh())
    encoder, decoder = (ConvLSTM(d, d, peepholes=True, normalised=True) for _ in range(2))
    return EncoderDecoder(nn.Sequential(*embed), encoder, readout, decoder)


def vpn(history, channels, width):
    """models/vpn.py."""
    *_, last = maps = {"paper": (64, 128, 128, 64), "small": (8, 16, 16, 8)}[width]
    cells = Stack(NormalisedConvLSTM(a, b) for a, b in pairwise((channels, *maps)))
    readout = nn.Sequential(transposed_convolution(last, channels, 1), ToFrames())
    return EncoderDecoder(nn.Identity(), cells, readout)


def vpn_lstm(history, channels, width):
    """models/vpn_lstm.py."""
    a, b, c, d, units = {"paper": (64, 128, 256, 512, 256), "small": (8, 16, 32, 64, 32)}[width]
    embed = nn.Sequential(*(convolution(*maps, 4, 2) for maps in pairwise((channels, a, b, c, d))))
    back = (deconvolution(*maps, 2) for maps in pairwise((units, c, b, a)))
    readout = nn.Sequential(*back, transposed_convolution(a, channels, 2), ToFrames())
    encoder, decoder = (ConvLSTM(d, units, kernel=1) for _ in range(2))
    return EncoderDecoder(embed, encoder, readout, decoder)


TWINS = {
    "catz": catz,
    "conv2d": conv2d,
    "conv3d-residual": Conv3DResidual,
    "convlstm-forecaster": convlstm_forecaster,
    "convlstm-residual": ConvLSTMResidual,
    "convlstm-s": convlstm_s,
    "e3d-lstm": e3d_lstm,
    "ensemble": Ensemble,
    "hourglass": Hourglass,
    "multiscale": MultiScale,
    "multiscale-8to8": multiscale_8to8,
    "predrnn": predrnn,
    "seq2seq": seq2seq,
    "skip-autoencoder": SkipAutoencoder,
    "voxel-flow": VoxelFlow,
    "vpn": vpn,
    "vpn-lstm": vpn_lstm,
}
