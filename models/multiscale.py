"""The multi-scale generator of Mathieu, Couprie and LeCun (ICLR 2016), table 1."""

from models.blocks import narrowed, sequential
from models.predictor import Predictor, stacked, unstacked
from models.pyramids import factors_of
from models.resampling import enlarge
from models.squash import squash
from utils.stack import F, L, chainer

# Kernels and feature maps of each scale, coarse to fine; further scales repeat the last. The
# authors' public training script has an eighth of these maps.
KERNELS = ((3, 3, 3, 3), (5, 3, 3, 5), (5, 3, 3, 3, 3, 5), (7, 5, 5, 5, 5, 7))
MAPS = ((128, 256, 128),) * 2 + ((128, 256, 512, 256, 128),) * 2


def build(history, horizon, channels, size, pyramid=None, width="paper"):
    """The generator for clips of `size`, its scales of the sizes that `pyramid` lists.

    pyramid: their shorter sides from coarse to fine such as "4-16-32-64", the last one the clips'.
    width: "paper" for the paper's feature maps, "small" for an eighth of them.
    """
    maps = [narrowed(of_scale, width) for of_scale in MAPS]
    return MultiScale(history, horizon, channels, factors_of(pyramid, size), maps, KERNELS)


class MultiScale(Predictor):
    """Predict small, then refine: each scale adds detail to the enlarged guess of the one below.

    The paper's recursion for its multi-scale network, with the tanh of the authors' code after the
    sum: guess_k = tanh(enlarge(guess_{k-1}) + refine_k(past_k, enlarge(guess_{k-1}))).
    Fully convolutional: trained on 32x32 clips, it predicts frames of any size.
    """

    adversarial = True

    def __init__(self, history, horizon, channels, factors, maps, kernels):
        super().__init__(history, horizon, channels)
        self.factors = tuple(factors)
        self.multiple = self.factors[0]
        seen, made = history * channels, horizon * channels
        with self.init_scope():
            self.refiners = chainer.ChainList()
            for level in range(len(factors)):
                spec = min(level, len(kernels) - 1)
                inputs = seen + made if level else seen
                self.refiners.append(Refiner(inputs, (*maps[spec], made), kernels[spec]))

    def pyramid(self, past):
        """past (B, history, C, H, W) -> [(B, horizon, C, H/f, W/f) for f in factors]."""
        guess, guesses = None, []
        for seen, refine in zip(self.at_scales(past), self.refiners, strict=True):
            seen = stacked(seen)
            if guess is None:
                guess = squash(refine(seen))
            else:
                guess = enlarge(guess, seen.shape[-2] // guess.shape[-2])
                guess = squash(guess + refine(F.concat([seen, guess])))
            guesses.append(guess)
        return [unstacked(guess, self.channels) for guess in guesses]


class Refiner(chainer.ChainList):
    """Convolutions that keep the size, ReLU between them, the last one linear."""

    def __init__(self, inputs, maps, kernels):
        super().__init__()
        for outputs, kernel in zip(maps, kernels, strict=True):
            self.append(L.Convolution2D(inputs, outputs, kernel, pad=kernel // 2))
            inputs = outputs

    def forward(self, x):
        """(B, inputs, H, W) -> (B, maps[-1], H, W)."""
        return sequential(x, list(self), len(self) - 1)
