"""Train a network to predict the next frames: data/trainclips -> result/."""

import argparse
import os
import sys

import constants
from utils import rundir
from utils.errors import UserError, one_line

AT_LEAST = {"iterations": 1, "batch_size": 1, "lp": 1, "alpha": 1, "seed": 0}
AT_LEAST |= {"snapshot_every": 1, "report_every": 1, "validate_every": 1}
AT_LEAST |= dict.fromkeys(("lr_gen", "lr_dis", "weight_lp", "weight_gdl", "weight_adv"), 0)


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("-g", "--gpu", type=int, default=-1, metavar="ID", help="CUDA device; -1 is the CPU")
    add("-r", "--resume", action="store_true", help="go on from the newest good snapshot in --out")
    add("-l", "--load", metavar="FILE", help="start from the generator of this model or snapshot")
    add("-d", "--data", default=constants.TRAIN_CLIPS_DIR, help="clips to train on")
    add("--test-data", default=constants.TEST_CLIPS_DIR, help="clips to validate on")
    add("-o", "--out", default=constants.RESULT_DIR, help="directory of the run")
    add("-n", "--iterations", type=int, default=constants.ITERATIONS, help="when to stop")
    add("-b", "--batch-size", type=int, default=constants.BATCH_SIZE, help="clips in a batch")
    add("--arch", default=constants.ARCH, help="architecture: a file of models/")
    add("--pyramid", help="sizes of the scales, such as 4-16-32-64 (None: by clip size)")
    add("--width", choices=("paper", "small"), help="the paper's feature maps or an eighth of them")
    add("--no-adversarial", action="store_true", help="train the generator alone")
    add("--single-frame-dis", action="store_true", help="hide the past from the discriminators")
    add("--lr-gen", type=float, default=constants.LR_GEN, help="Adam's rate for the generator")
    add("--lr-dis", type=float, default=constants.LR_DIS, help="and for the discriminators")
    add("--weight-lp", type=float, default=constants.WEIGHT_LP, help="of the Lp loss")
    add("--weight-gdl", type=float, default=constants.WEIGHT_GDL, help="of gradient difference")
    add("--weight-adv", type=float, default=constants.WEIGHT_ADV, help="of the adversarial loss")
    add("--lp", type=float, default=constants.LP, help="exponent of the Lp loss")
    add("--alpha", type=float, default=constants.ALPHA, help="exponent of gradient difference")
    add("--seed", type=int, default=constants.SEED, help="of the first weights and the batches")
    every = {"type": int, "metavar": "N", "help": "iterations between two"}
    add("--snapshot-every", default=constants.SNAPSHOT_EVERY, **every)
    add("--report-every", default=constants.REPORT_EVERY, **every)
    add("--validate-every", default=constants.VALIDATE_EVERY, **every)
    options = parser.parse_args(argv)
    if options.resume and rundir.exists(options.out):
        # What the run was told holds on, where this command line does not say otherwise.
        told = rundir.read_options(options.out)["options"]
        parser.set_defaults(**{k: v for k, v in told.items() if k not in ("gpu", "resume", "load")})
        options = parser.parse_args(argv)
    for name, least in AT_LEAST.items():
        value = getattr(options, name)
        if not value >= least:
            raise UserError(f"--{name.replace('_', '-')} {value}: must not be below {least}")
    return options


@one_line
def main(argv=None):
    options = parse(argv)
    os.environ.setdefault("MPLBACKEND", "Agg")  # plots go to files; no screen is needed

    import numpy as np

    import models
    from models.discriminators import Discriminators
    from utils.batches import ClipIterator, to_past_and_future
    from utils.device import open_device
    from utils.stack import chainer
    from utils.store import ClipStore
    from utils.trainer import build_trainer, resume
    from utils.updater import AdversarialUpdater, PredictionUpdater, Weights
    from utils.weights import load_weights

    device = open_device(options.gpu)
    clips = ClipStore.open(options.data)
    _, channels, *size = clips.shape
    model = {"arch": options.arch, "history": clips.history, "horizon": clips.horizon}
    model |= {"channels": channels, "size": size}
    model |= {"pyramid": options.pyramid, "width": options.width}
    np.random.seed(options.seed)  # Chainer draws first weights from NumPy's own generator
    try:
        gen = models.create(**model)
    except ValueError as error:
        raise UserError(error) from None
    if options.load:
        load_weights(options.load, gen)
    gen.to_device(device)
    gen_optimizer = chainer.optimizers.Adam(options.lr_gen).setup(gen)

    batches = ClipIterator(clips, options.batch_size, options.seed)
    converter = to_past_and_future(clips.history)
    weights = Weights(
        options.weight_lp, options.weight_gdl, options.weight_adv, options.lp, options.alpha
    )
    if options.no_adversarial:
        updater = PredictionUpdater(batches, gen_optimizer, weights, converter, device)
    else:
        sizes = [[n // factor for n in size] for factor in gen.factors]
        shape = (clips.history, clips.horizon, channels)
        width = options.width or "paper"
        dis = Discriminators(sizes, *shape, width, not options.single_frame_dis)
        dis.to_device(device)
        dis_optimizer = chainer.optimizers.Adam(options.lr_dis).setup(dis)
        updater = AdversarialUpdater(
            batches, gen_optimizer, dis_optimizer, weights, converter, device
        )

    rundir.claim(options.out, options.resume)
    trainer = build_trainer(
        updater,
        options.out,
        options.iterations,
        options.report_every,
        options.snapshot_every,
        constants.SNAPSHOTS_KEPT,
    )
    watch(trainer, options, gen, converter, device)
    if options.resume:
        resume(trainer)
    told = {name: value for name, value in vars(options).items() if name != "resume"}
    data = {"path": options.data, "clips": len(clips), "fingerprint": clips.fingerprint}
    rundir.write_options(options.out, {"options": told, "model": model, "data": data})
    trainer.run(show_loop_exception_msg=False)  # what is the user's to mend is told in one line
    print(f"{options.out}: trained to iteration {updater.iteration}; test.py --load {options.out}")


def watch(trainer, options, gen, converter, device):
    """Let the trainer judge the generator on test clips, where there are any that fit it."""
    from utils.preview import Preview
    from utils.store import ClipStore
    from utils.trainer import every
    from utils.validation import Validation

    try:
        clips = ClipStore.open(options.test_data)
    except UserError as error:
        print(f"no validation: {error} --split test", file=sys.stderr)
        return
    if (clips.history, clips.shape[1]) != (gen.history, gen.channels):
        raise UserError(
            f"--test-data {options.test_data}: {clips.history} past frames of {clips.shape[1]} "
            f"channels, the training clips have {gen.history} of {gen.channels}; make them alike"
        )
    trigger = every(options.validate_every, options.iterations)
    trainer.extend(Validation(clips, gen, converter, device), trigger=trigger)
    trainer.extend(Preview(clips, gen, converter, device), trigger=trigger)


if __name__ == "__main__":
    main()
