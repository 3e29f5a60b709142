"""Train a network to predict the next frames: data/trainclips -> result/."""

import argparse
import sys

import constants
from utils import rundir
from utils.errors import Diverged, UserError, memory_for, one_line
from utils.signals import leaving_at_once
from utils.usage import Parser, number, place, whole

OF_THE_COMMAND = ("gpu", "resume", "load", "out", "minutes")  # -r takes the others from the run
STATUS = """exit status: 0 trained, 2 a mistake or a file that cannot be written, 3 NaN or infinity,
130 Ctrl-C, 143 SIGTERM; after these two all is saved for -r to go on"""


def parse(argv):
    parser = Parser(__doc__, STATUS)
    add, count, rate = parser.add_argument, whole(1), number(0)
    seed, on_or_off = whole(0, 2**32 - 1), argparse.BooleanOptionalAction
    given = {"type": place, "metavar": "PATH"}
    add("-g", "--gpu", type=whole(-1), default=-1, metavar="ID", help="CUDA device; -1 is the CPU")
    add("-r", "--resume", action="store_true", help="go on from the newest good snapshot in --out")
    add("-l", "--load", **given, help="start from a model, a snapshot or a .safetensors file")
    add("-d", "--data", default=constants.TRAIN_CLIPS_DIR, **given, help="clips to train on")
    add("--test-data", default=constants.TEST_CLIPS_DIR, **given, help="clips to validate on")
    add("-o", "--out", default=constants.RESULT_DIR, **given, help="directory of the run")
    add("-n", "--iterations", type=count, default=constants.ITERATIONS, help="when to stop")
    add("--minutes", type=rate, help="when to stop if not all is done by then")
    add("-b", "--batch-size", type=count, default=constants.BATCH_SIZE, help="clips in a batch")
    add("--arch", default=constants.ARCH, help="architecture: a file of models/")
    add("--pyramid", help="sizes of its scales, such as 4-16-32-64, else as the clips' size asks")
    add("--width", choices=("paper", "small"), help="the paper's feature maps or an eighth of them")
    add("--model-options", metavar="NAME=VALUE,...", help="others that the architecture has")
    opponents = "train against discriminators or alone, else as the architecture was meant"
    add("--adversarial", action=on_or_off, help=opponents)
    add("--single-frame-dis", action="store_true", help="hide the past from the discriminators")
    usual = "what convolutions multiply: tf32 on a GPU, float32 on a CPU unless told"
    add("--dtype", choices=constants.DTYPES, help=usual)
    add("--lr-gen", type=rate, default=constants.LR_GEN, help="Adam's rate for the generator")
    add("--lr-dis", type=rate, default=constants.LR_DIS, help="and for the discriminators")
    terms = "weights of l1, l2, mse, bce, gdl, ssim, adversarial"
    add("--loss", default=constants.LOSS, metavar="NAME=WEIGHT,...", help=terms)
    add("--alpha", type=number(1), default=constants.ALPHA, help="exponent of the gdl loss")
    norm = "norm to shorten them to; 0 leaves them"
    add("--clip-gradients", type=rate, default=constants.CLIP_GRADIENTS, metavar="NORM", help=norm)
    back = "times to go back to the last snapshot on NaN, rates halved"
    add("--rollbacks", type=whole(0), default=constants.ROLLBACKS, help=back)
    add("--seed", type=seed, default=constants.SEED, help="of the first weights and the batches")
    add("--keep-going", action="store_true", help="train on where a file cannot be written")
    every = {"type": count, "metavar": "N", "help": "iterations from one to the next"}
    add("--snapshot-every", default=constants.SNAPSHOT_EVERY, **every)
    add("--report-every", default=constants.REPORT_EVERY, **every)
    add("--validate-every", default=constants.VALIDATE_EVERY, **every)
    parser.set_defaults(rolled_back=0)  # how often this has happened in the run
    options = parser.parse_args(argv)
    if options.resume and rundir.exists(options.out):
        # What the run was told holds on, where this command line does not say otherwise.
        told = rundir.told(options.out, vars(parser.parse_args([])))
        parser.set_defaults(**{k: v for k, v in told.items() if k not in OF_THE_COMMAND})
        options = parser.parse_args(argv)
    return options


@one_line
@leaving_at_once()
def main(argv=None):
    options = parse(argv)
    cure = f"give a --batch-size below {options.batch_size}, smaller clips or --width small"
    while True:
        try:
            with memory_for(cure):
                return train(options)
        except Diverged as error:
            if options.rolled_back == options.rollbacks:
                raise
            print(f"{error}; trying again with half the learning rates", file=sys.stderr)
            options.rolled_back += 1
            options.resume = True


def train(options):
    """Train as told, to the end; UserError and Diverged as `Trainer.run` raises them."""
    from utils.batches import to_past_and_future
    from utils.device import open_device
    from utils.snapshots import resume
    from utils.stack import chainer
    from utils.stack.precision import using_dtype
    from utils.store import ClipStore
    from utils.trainer import Trainer

    device = open_device(options.gpu)
    clips = ClipStore.open(options.data)
    data = {"path": options.data, "clips": len(clips), "fingerprint": clips.fingerprint}
    model, gen = make_generator(options, clips)
    updater = make_updater(options, clips, gen, device)
    test_clips = find_test_clips(options.test_data, clips)
    limits = options.iterations, options.minutes, options.clip_gradients, options.keep_going
    fastest = chainer.using_config("autotune", True)  # of cuDNN's engines, by trial
    with using_dtype(options.dtype, device), fastest, rundir.claimed(options.out, options.resume):
        trainer = Trainer(updater, options.out, *limits)
        trainer.watch(options.report_every, options.snapshot_every, constants.SNAPSHOTS_KEPT)
        if test_clips:
            as_frames = to_past_and_future(clips.history)
            trainer.judge(test_clips, as_frames, device, options.validate_every)
        if options.resume:
            rundir.warn_of_other_clips(options.out, data)
            resume(trainer)
        told = {name: value for name, value in vars(options).items() if name != "resume"}
        rundir.write_options(options.out, {"options": told, "model": model, "data": data})
        trainer.run()
    print(f"{options.out}: trained to iteration {updater.iteration}; test.py --load {options.out}")


def make_generator(options, clips):
    """What describes the network to `models.create`, for the record, and the network itself."""
    import numpy as np

    import models
    from utils.weights import load_weights

    _, channels, *size = clips.shape
    model = {"arch": options.arch, "history": clips.history, "horizon": clips.horizon}
    model |= {"channels": channels, "size": size}
    model |= {"pyramid": options.pyramid, "width": options.width}
    np.random.seed(options.seed)  # Chainer draws first weights from NumPy's own generator
    try:
        if options.model_options:
            model |= models.read_options(options.arch, options.model_options)
        gen = models.create(**model)
    except ValueError as error:
        raise UserError(error) from None
    if options.load:
        load_weights(options.load, gen)
    return model, gen


def make_updater(options, clips, gen, device):
    """The steps that the generator learns by, on the device, with discriminators or without."""
    from models.discriminators import Discriminators
    from utils.losses import by_name
    from utils.stack import chainer
    from utils.supply import supply
    from utils.updater import AdversarialUpdater, PredictionUpdater

    def optimizer(net, rate):
        net.to_device(device)
        return chainer.optimizers.Adam(rate * 0.5**options.rolled_back).setup(net)

    terms, weight = by_name(options.loss, options.alpha)
    adversarial = gen.adversarial if options.adversarial is None else options.adversarial
    if options.adversarial and not weight:
        raise UserError(f"--loss {options.loss}: --adversarial needs a weight, adversarial=0.05")
    if not (adversarial and weight) and not any(weight for weight, _ in terms.values()):
        raise UserError(f"--loss {options.loss}: leaves nothing to learn from; add l2=1")
    batches, converter = supply(clips, options.batch_size, options.seed, device)
    gen_optimizer = optimizer(gen, options.lr_gen)
    if not (adversarial and weight):
        return PredictionUpdater(batches, gen_optimizer, terms, converter, device)
    try:
        dis = Discriminators.of(gen, clips.shape[2:], options.width, not options.single_frame_dis)
    except ValueError as error:
        raise UserError(error) from None
    optimizers = gen_optimizer, optimizer(dis, options.lr_dis)
    return AdversarialUpdater(batches, *optimizers, weight, terms, converter, device)


def find_test_clips(path, clips):
    """The store of test clips, where there is one; UserError where it does not fit `clips`."""
    from utils.store import ClipStore

    test_clips = ClipStore.find(path)
    if not test_clips:
        cure = "`python process_data.py --split test` makes some"
        print(f"warning: no validation, no test clips at {path}: {cure}", file=sys.stderr)
        return None
    if (test_clips.history, test_clips.shape[1]) != (clips.history, clips.shape[1]):
        raise UserError(
            f"--test-data {path}: {test_clips.history} past frames of {test_clips.shape[1]} "
            f"channels, the training clips have {clips.history} of {clips.shape[1]}; "
            "make them alike"
        )
    return test_clips


if __name__ == "__main__":
    main()
