"""The generator with the highest PSNR on the test clips so far."""

from pathlib import Path

from utils import rundir
from utils.stack import chainer
from utils.weights import save_weights


class Best(chainer.training.Extension):
    """Writes rundir.BEST whenever val/psnr, which Validation reports, is the highest so far."""

    name = "best"

    def __init__(self, gen):
        self.gen = gen
        self.psnr = float("-inf")

    def __call__(self, trainer):
        psnr = trainer.observation["val/psnr"]
        if psnr > self.psnr:
            save_weights(Path(trainer.out) / rundir.BEST, self.gen)
            self.psnr = psnr

    def serialize(self, serializer):
        self.psnr = float(serializer("psnr", float(self.psnr)))
