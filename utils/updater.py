"""One training step: batch in, parameters moved."""

import numpy as np

from utils import losses
from utils.graph import Graph
from utils.stack import F, chainer


class PredictionUpdater(chainer.training.updaters.StandardUpdater):
    """Train the generator alone, on how far its predictions are from the future.

    batches, converter: an iterator and a function of its batches that returns past and future, as
    supply.supply makes them.
    optimizers: {"gen": the generator's}.
    terms: {name: (weight, loss)} with loss(predicted, true) -> a scalar, as in utils/losses.py.
    """

    def __init__(self, batches, optimizers, terms, converter, device):
        super().__init__(batches, optimizers, converter=converter, device=device)
        self.terms = terms
        self.step = self.learn if device.xp is np else Graph(self.learn, optimizers.values())

    def update_core(self):
        """One iteration: the next batch, one step."""
        past, future = self.converter(self.get_iterator("main").next(), self.device)
        self.step(past, future)

    def learn(self, past, future):
        """Take a step on past (B, history, C, H, W) and future (B, horizon, C, H, W) frames.

        On a GPU the step is captured as a CUDA graph, so it must not send numbers to the GPU or
        wait for any from it.
        """
        gen_optimizer = self.get_optimizer("gen")
        gen = gen_optimizer.target
        loss = self.prediction_loss(gen, gen.training_pyramid(past, future), gen.at_scales(future))
        descend(gen_optimizer, loss)

    def prediction_loss(self, gen, fakes, reals):
        """The weighted sum of the terms, each summed over the scales."""
        total = 0
        for name, (weight, loss) in self.terms.items():
            term = sum(loss(fake, real) for fake, real in zip(fakes, reals, strict=True))
            chainer.report({name: term}, gen)
            total += weight * term
        return total


class AdversarialUpdater(PredictionUpdater):
    """Train generator and discriminators in turn (Mathieu et al., algorithm 1).

    optimizers: {"gen": the generator's, "dis": the discriminators'}.
    adversarial_weight: of the adversarial loss beside the terms.

    Both learn from the same batch; the paper draws one for each. Apart from that, two things save
    time and leave every gradient exact. The discriminators judge real and fake frames in one
    batch, since nothing in them mixes the clips of a batch. One forward pass of the generator
    serves both steps: the discriminators learn from its frames as plain arrays, so its graph stays
    valid for its own step, in which the updated discriminators judge the same frames.
    """

    def __init__(self, batches, optimizers, terms, converter, device, *, adversarial_weight):
        super().__init__(batches, optimizers, terms, converter, device)
        self.adversarial_weight = adversarial_weight

    def learn(self, past, future):
        """Step the discriminators, then the generator."""
        gen_optimizer, dis_optimizer = self.get_optimizer("gen"), self.get_optimizer("dis")
        gen, dis = gen_optimizer.target, dis_optimizer.target
        pasts, reals = gen.at_scales(past), gen.at_scales(future)
        fakes = gen.training_pyramid(past, future)

        descend(dis_optimizer, self.dis_loss(dis, pasts, reals, fakes))
        loss = self.prediction_loss(gen, fakes, reals)
        loss += self.adversarial_weight * self.adversarial_loss(gen, dis, pasts, fakes)
        descend(gen_optimizer, loss)

    def dis_loss(self, dis, pasts, reals, fakes):
        """Loss of the discriminators (L_adv^D): real is 1, fake is 0; summed over the scales.

        pasts, reals, fakes: lists of frames (B, T, C, h, w), one for each scale, coarse to fine.
        """
        twice = [F.concat([past, past], axis=0) for past in pasts]
        both = [F.concat([r, f.array], axis=0) for r, f in zip(reals, fakes, strict=True)]
        logits = F.concat(dis(twice, both), axis=0)  # one loss for all scales: fewer kernels
        scales = len(pasts)
        real, fake = F.split_axis(F.reshape(logits, (scales, 2, -1)), 2, axis=1)
        loss = scales * (losses.bce(real, 1) + losses.bce(fake, 0))
        chainer.report({"loss": loss}, dis)
        return loss

    def adversarial_loss(self, gen, dis, pasts, fakes):
        """Adversarial loss of the generator (L_adv^G): all its frames should pass for real."""
        adv = len(pasts) * losses.bce(F.concat(dis(pasts, fakes), axis=0), 1)
        chainer.report({"adversarial": adv}, gen)
        return adv


def descend(optimizer, loss):
    """Take one step of the optimizer down `loss`, a scalar Variable.

    Gradients are computed for the parameters of the optimizer's own network alone: another network
    that the loss went through gets none and stays as it is. A network without parameters, such as
    last_frame, has nothing to learn.
    """
    params = list(optimizer.target.params())
    if params:
        chainer.grad([loss], params, set_grad=True)
        optimizer.update()
        optimizer.target.cleargrads()  # frees memory: gradients are as large as the network
