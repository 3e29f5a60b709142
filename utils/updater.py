"""One training step: batch in, parameters moved."""

import numpy as np

from utils import losses
from utils.graph import Graph
from utils.stack import F, chainer


class PredictionUpdater(chainer.training.updaters.StandardUpdater):
    """Train the generator alone on the differences between its predictions and the future.

    terms: {name: (weight, loss)} with loss(predicted, true) -> a scalar, as in utils/losses.py.
    """

    def __init__(self, batches, gen_optimizer, terms, converter, device, **others):
        optimizers = {"gen": gen_optimizer, **others}
        super().__init__(batches, optimizers, converter=converter, device=device)
        self.terms = terms
        self.step = self.learn if device.xp is np else Graph(self.learn, optimizers.values())

    def update_core(self):
        self.step(*self.converter(self.get_iterator("main").next(), self.device))

    def learn(self, past, future):
        """Take a step on frames as the converter gives them; on a GPU it may become a graph, so it
        looks at no number there, sends none to it."""
        gen_optimizer = self.get_optimizer("gen")
        gen = gen_optimizer.target
        loss = self.likeness(gen, gen.lesson(past, future), gen.scales(future))
        descend(gen_optimizer, loss)

    def likeness(self, gen, fakes, reals):
        """The weighted sum of the terms, each summed over the scales."""
        total = 0
        for name, (weight, loss) in self.terms.items():
            term = sum(loss(fake, real) for fake, real in zip(fakes, reals, strict=True))
            chainer.report({name: term}, gen)
            total += weight * term
        return total


class AdversarialUpdater(PredictionUpdater):
    """Train generator and discriminators in turn (Mathieu et al., algorithm 1).

    weight: of the adversarial loss beside the terms.

    Two savings leave every gradient exact.  The discriminators judge real and fake frames in one
    batch, since nothing in them looks across a batch.  One forward pass of the generator serves
    both steps: the discriminators see its frames as plain arrays, so the graph still fits the
    generator's weights when its own turn comes, and is scored by the discriminators just improved.
    """

    def __init__(self, batches, gen_optimizer, dis_optimizer, weight, terms, converter, device):
        super().__init__(batches, gen_optimizer, terms, converter, device, dis=dis_optimizer)
        self.weight = weight

    def learn(self, past, future):
        gen_optimizer, dis_optimizer = self.get_optimizer("gen"), self.get_optimizer("dis")
        gen, dis = gen_optimizer.target, dis_optimizer.target
        pasts, reals = gen.scales(past), gen.scales(future)
        fakes = gen.lesson(past, future)

        descend(dis_optimizer, self.discrimination(dis, pasts, reals, fakes))
        loss = self.likeness(gen, fakes, reals)
        loss += self.weight * self.persuasion(gen, dis, pasts, fakes)
        descend(gen_optimizer, loss)

    def discrimination(self, dis, pasts, reals, fakes):
        """Loss of the discriminators (equation 2): real is 1, fake is 0; summed over the scales."""
        twice = [F.concat([past, past], axis=0) for past in pasts]
        both = [F.concat([r, f.array], axis=0) for r, f in zip(reals, fakes, strict=True)]
        judged = F.concat(dis(twice, both), axis=0)  # at once: the smallest kernels are many
        scales = len(pasts)
        real, fake = F.split_axis(F.reshape(judged, (scales, 2, -1)), 2, axis=1)
        loss = scales * (losses.bce(real, 1) + losses.bce(fake, 0))
        chainer.report({"loss": loss}, dis)
        return loss

    def persuasion(self, gen, dis, pasts, fakes):
        """Adversarial loss of the generator (equation 3): all its frames should pass for real."""
        adv = len(pasts) * losses.bce(F.concat(dis(pasts, fakes), axis=0), 1)
        chainer.report({"adversarial": adv}, gen)
        return adv


def descend(optimizer, loss):
    """Take one step of the optimizer down loss.

    Gradients are worked out for the optimizer's own target and nothing else, so a network that
    only passes a gradient on neither spends time on its weights nor is touched.  A network without
    parameters has nothing to learn.
    """
    params = list(optimizer.target.params())
    if params:
        chainer.grad([loss], params, set_grad=True)
        optimizer.update()
        optimizer.target.cleargrads()  # as large as the network: not to be kept for long
