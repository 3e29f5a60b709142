"""NumPy's global generator, which a snapshot must hold for the run to go on as it would have."""

import numpy as np

from utils.stack import chainer


class Randomness(chainer.training.Extension):
    """Save the generator with the trainer; never called.

    It is the only global generator in use: batches are drawn from (seed, epoch), random numbers in
    architectures from (seed, count), and nothing from CuPy's generator, whose state cannot be read.
    """

    name = "randomness"
    trigger = staticmethod(lambda trainer: False)

    def serialize(self, serializer):
        kind, *state = np.random.get_state()
        names = ("keys", "position", "has_gauss", "gauss")
        state = [serializer(name, value) for name, value in zip(names, state, strict=True)]
        np.random.set_state((kind, *state))
