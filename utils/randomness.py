"""The state of NumPy's global random generator, which snapshots save."""

import numpy as np

from utils.stack import chainer


class Randomness(chainer.training.Extension):
    """Saves the generator's state with the trainer, so that a resumed run draws what it would have.

    As an extension it does nothing. Once there are weights, nothing here draws from a global
    generator: the order of clips is drawn by (seed, epoch), random numbers in architectures by
    (seed, count). It is for architectures to come that do, as with Chainer's dropout on a CPU; on
    a GPU that draws from CuPy's, whose state cannot be read.
    """

    name = "randomness"
    trigger = staticmethod(lambda trainer: False)

    def serialize(self, serializer):
        kind, *state = np.random.get_state()
        names = ("keys", "position", "has_gauss", "gauss")
        state = [serializer(name, value) for name, value in zip(names, state, strict=True)]
        np.random.set_state((kind, *state))
