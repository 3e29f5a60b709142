"""The multi-scale GAN in PyTorch as its users write it: networks, training steps, rollout.

Written from the paper and apart from models/ and utils/, so that each side checks the other.
"""

import torch
import torch.nn.functional as F
from torch import nn

# Coarse to fine. Of the generator's convolutions: kernels, then maps but for the last one's.
GENERATOR = (
    ((3, 3, 3, 3), (128, 256, 128)),
    ((5, 3, 3, 5), (128, 256, 128)),
    ((5, 3, 3, 3, 3, 5), (128, 256, 512, 256, 128)),
    ((7, 5, 5, 5, 5, 7), (128, 256, 512, 256, 128)),
)
# By width. Of the discriminators: kernels, maps, final pooling, fully connected units.
DISCRIMINATORS = {
    "paper": (
        ((3,), (64,), 1, (512, 256)),
        ((3, 3, 3), (64, 128, 128), 1, (1024, 512)),
        ((5, 5, 5), (128, 256, 256), 1, (1024, 512)),
        ((7, 7, 5, 5), (128, 256, 512, 128), 1, (1024, 512)),
    ),
    "small": (
        ((3,), (32,), 1, (256, 128)),
        ((3, 3, 3), (32, 32, 64), 1, (256, 128)),
        ((5, 5, 5), (32, 32, 64), 1, (256, 128)),
        ((7, 7, 5, 5), (32, 32, 64, 128), 2, (256, 128)),
    ),
}
SHRINKING = {"paper": 1, "small": 8}  # of the generator's maps
FACTORS = (8, 4, 2, 1)  # how much smaller than the frames each scale is


class Generator(nn.Module):
    """Each scale refines the enlarged guess of the one below; frames are (B, T*C, H, W)."""

    def __init__(self, width, history, horizon, channels, scales=GENERATOR):
        super().__init__()
        seen, made = history * channels, horizon * channels
        self.refiners = nn.ModuleList()
        for level, (kernels, maps) in enumerate(scales):
            inputs = seen + made if level else seen
            maps = [count // SHRINKING[width] for count in maps]
            layers = []
            for kernel, outputs in zip(kernels, (*maps, made), strict=True):
                layers += nn.Conv2d(inputs, outputs, kernel, padding="same"), nn.ReLU(inplace=True)
                inputs = outputs
            self.refiners.append(nn.Sequential(*layers[:-1]))

    def pyramid(self, pasts):
        """Past frames at each scale -> the future at each, coarse to fine."""
        guesses = []
        for past, refine in zip(pasts, self.refiners, strict=True):
            if not guesses:
                guess = torch.tanh(refine(past))
            else:
                guess = F.interpolate(guess, past.shape[-2:])
                guess = torch.tanh(guess + refine(torch.cat([past, guess], 1)))
            guesses.append(guess)
        return guesses

    def forward(self, past):
        """Past frames of any size -> the future."""
        height, width = past.shape[-2:]
        rest = [-size % FACTORS[0] for size in (width, height)]
        past = F.pad(past, (0, rest[0], 0, rest[1]), mode="replicate")
        return self.pyramid(scales(past))[-1][..., :height, :width]


def discriminators(width, history, horizon, channels, size):
    """A ModuleList, coarse to fine; each takes past and future together, gives logits (B, 1)."""
    found = nn.ModuleList()
    for factor, (kernels, maps, pool, units) in zip(FACTORS, DISCRIMINATORS[width], strict=True):
        inputs, side = (history + horizon) * channels, size // factor
        layers = []
        for kernel, outputs in zip(kernels, maps, strict=True):
            layers += nn.Conv2d(inputs, outputs, kernel), nn.ReLU(inplace=True)
            inputs, side = outputs, side - kernel + 1
        layers += [nn.MaxPool2d(pool)] * (pool > 1) + [nn.Flatten()]
        inputs *= (side // pool) ** 2
        for outputs in units:
            layers += nn.Linear(inputs, outputs), nn.ReLU(inplace=True)
            inputs = outputs
        found.append(nn.Sequential(*layers, nn.Linear(inputs, 1)))
    return found


def scales(frames):
    """Frames at each scale, coarse to fine, by averaging."""
    return [F.avg_pool2d(frames, factor) if factor > 1 else frames for factor in FACTORS]


def prediction_loss(fakes, reals):
    """L2 and gradient difference loss, summed over the scales, with weights 1."""
    pairs = list(zip(fakes, reals, strict=True))
    return sum(F.mse_loss(f, r) for f, r in pairs) + sum(gdl(f, r) for f, r in pairs)


def gdl(fake, real):
    """Mean difference between the slopes of the two, down plus across."""
    across = real.diff(dim=-1).abs() - fake.diff(dim=-1).abs()
    down = real.diff(dim=-2).abs() - fake.diff(dim=-2).abs()
    return across.abs().mean() + down.abs().mean()


def bce(logits, target):
    """Mean binary cross-entropy of sigmoid(logits) to target, 1 or 0."""
    targets = torch.full_like(logits, target)
    return F.binary_cross_entropy_with_logits(logits, targets)


def split(clips, history):
    """uint8 (B, T, C, H, W) -> past and future at each scale, (B, T*C, h, w) in [-1, 1]."""
    frames = clips.float().div_(127.5).sub_(1)
    return scales(frames[:, :history].flatten(1, 2)), scales(frames[:, history:].flatten(1, 2))


def autocast(dtype, clips):
    """The context in which layers compute in dtype on the device of the clips."""
    return torch.autocast(clips.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16)


def descend(optimizer, loss):
    """Take one step of the optimizer down loss."""
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def generator_step(gen, gen_optimizer, clips, history, dtype=torch.float32):
    """Train the generator alone -> its loss."""
    pasts, reals = split(clips, history)
    with autocast(dtype, clips):
        loss = prediction_loss(gen.pyramid(pasts), reals)
    descend(gen_optimizer, loss)
    return loss.detach()


def adversarial_step(
    gen, dis, gen_optimizer, dis_optimizer, clips, history, weight, dtype=torch.float32
):
    """Train the discriminators, then the generator, scored by them -> the losses of both."""
    pasts, reals = split(clips, history)
    with autocast(dtype, clips):
        fakes = gen.pyramid(pasts)

        dis_loss = 0
        for judge, past, real, fake in zip(dis, pasts, reals, fakes, strict=True):
            both = torch.cat([torch.cat([past, real], 1), torch.cat([past, fake.detach()], 1)])
            of_real, of_fake = judge(both).chunk(2)
            dis_loss += bce(of_real, 1.0) + bce(of_fake, 0.0)
    descend(dis_optimizer, dis_loss)

    dis.requires_grad_(False)  # the gradients of their weights are not needed here
    with autocast(dtype, clips):
        scored = zip(dis, pasts, fakes, strict=True)
        adv = sum(bce(judge(torch.cat([past, fake], 1)), 1.0) for judge, past, fake in scored)
        gen_loss = prediction_loss(fakes, reals) + weight * adv
    dis.requires_grad_(True)
    descend(gen_optimizer, gen_loss)
    return gen_loss.detach(), dis_loss.detach()


@torch.inference_mode()
def rollout(gen, past, frames, channels):
    """Predict `frames` frames, each from those before it: (B, T*C, H, W) -> (B, frames*C, H, W)."""
    seen, future = past, []
    for _ in range(frames):
        future.append(gen(seen))
        seen = torch.cat([seen[:, channels:], future[-1]], 1)
    return torch.cat(future, 1)
