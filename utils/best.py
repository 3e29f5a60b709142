"""The generator with the highest PSNR on the test clips so far."""

from pathlib import Path

from utils import rundir
from utils.archive import is_whole
from utils.errors import warn
from utils.stack import chainer
from utils.weights import save_weights


class Best(chainer.training.Extension):
    """Writes rundir.BEST whenever val/psnr, which Validation reports, is the highest so far.

    fingerprint: of the test clips. A run that is resumed with other test clips forgets the best
    PSNR, which cannot be compared.
    """

    name = "best"

    def __init__(self, gen, fingerprint):
        self.gen, self.fingerprint = gen, fingerprint
        self.psnr = float("-inf")

    def initialize(self, trainer):
        path = Path(trainer.out) / rundir.BEST
        if self.psnr > float("-inf") and not is_whole(path):
            warn(f"{path}: damaged or gone, it is chosen anew")
            self.psnr = float("-inf")

    def __call__(self, trainer):
        psnr = trainer.observation["val/psnr"]
        if psnr > self.psnr:
            save_weights(Path(trainer.out) / rundir.BEST, self.gen)
            self.psnr = psnr

    def serialize(self, serializer):
        psnr = float(serializer("psnr", float(self.psnr)))
        if str(serializer("clips", self.fingerprint)) == self.fingerprint:
            self.psnr = psnr
        else:
            warn(f"{rundir.BEST} was the best on other test clips, it is chosen anew")
