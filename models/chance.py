"""Random numbers that a network draws in training, reproducible after it is saved and loaded."""

import contextlib

import numpy as np

from utils.stack import F, chainer


class RandomLink(chainer.Link):
    """A series of NumPy generators.

    Its seed and the number of generators drawn are saved with the weights, so a resumed run draws
    the same random numbers as one that was never stopped.
    """

    def __init__(self):
        super().__init__()
        self.add_persistent("seed", int(np.random.randint(2**31)))  # from train.py's --seed
        self.add_persistent("draws", 0)

    def generator(self):
        """The next np.random.Generator of the series."""
        self.draws += 1
        return np.random.default_rng((self.seed, self.draws))


@contextlib.contextmanager
def keeping_series(chain):
    """Weights may be loaded in this context without the random series saved with them.

    A fresh run that starts from trained weights draws by its own seed, from the first number on.
    """
    links = [link for link in chain.links() if isinstance(link, RandomLink)]
    series = [(link.seed, link.draws) for link in links]
    yield
    for link, (seed, draws) in zip(links, series, strict=True):
        link.seed, link.draws = seed, draws


class GaussianNoise(RandomLink):
    """Adds noise in training; its standard deviation is `scale` times the frames' range of 2.

    ValueError for a scale that is negative, infinite or NaN.
    """

    def __init__(self, scale):
        super().__init__()
        if not 0 <= scale < np.inf:
            raise ValueError(f"--model-options noise={scale}: must be a number from 0 up")
        self.scale = scale

    def forward(self, frames):
        """Frames in [-1, 1], any shape -> the same with noise, unclipped."""
        if not self.scale or not chainer.config.train:
            return frames
        noise = self.generator().normal(0, 2 * self.scale, frames.shape)
        return frames + self.device.send(noise.astype(frames.dtype))


class ScheduledSampling(RandomLink):
    """Sometimes shows a network in training true frames instead of those it predicted.

    The n-th call, counted from 0, shows each true frame of each clip with the probability
    teacher_forcing - n * sampling_decay. Without decay that is teacher forcing, with it the
    scheduled sampling of Bengio et al. (NIPS 2015). ValueError for a probability beyond 0 and 1,
    or a decay that is negative, infinite or NaN.
    """

    def __init__(self, teacher_forcing=1.0, sampling_decay=0.0):
        super().__init__()
        first, decay = teacher_forcing, sampling_decay
        if not 0 <= first <= 1:
            raise ValueError(f"--model-options teacher_forcing={first}: must be from 0 to 1")
        if not 0 <= decay < np.inf:
            raise ValueError(f"--model-options sampling_decay={decay}: must be a number from 0 up")
        self.first, self.decay = first, decay

    def forward(self, future):
        """True frames (B, T, C, H, W) -> show(t, prediction of frame t (B, 1, C, H, W)), which
        returns the frame to go on from."""
        generator = self.generator()
        probability = self.first - (self.draws - 1) * self.decay
        shown = self.device.send(generator.random((*future.shape[:2], 1, 1, 1)) < probability)

        def show(t, predicted):
            return F.where(shown[:, t : t + 1], future[:, t : t + 1], predicted)

        return show
