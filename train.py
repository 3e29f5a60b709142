"""Train a network to predict the next frames: data/trainclips -> result/."""

import argparse
import gc
import math
import os
import sys
import time

import constants
from utils import rundir
from utils.errors import Diverged, UserError, report_errors, warn
from utils.names import is_url
from utils.signals import ctrl_c_exits
from utils.usage import COUNT, Parser, add_device, integer, local_path, number, path_or_url

NOT_RESUMED = ("gpu", "resume", "out", "minutes")  # -r takes all others from the run
PATHS = {  # {option that is a path: its default}
    "data": constants.TRAIN_CLIPS_DIR,
    "test_data": constants.TEST_CLIPS_DIR,
    "load": None,
}
OPTIMIZERS = {"adam": "Adam", "rmsprop": "RMSprop", "sgd": "SGD"}  # {--optimizer: Chainer's class}
STATUS = """exit status: 0 trained; 2 invalid input or a file that cannot be written; 3 NaN or
infinity; 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP (-r then resumes where it stopped)"""

PATH = {"type": local_path, "metavar": "PATH"}
CLIPS = {"type": path_or_url, "metavar": "PATH"}
RATE = {"type": number(0), "metavar": "RATE"}


def make_parser():
    parser = Parser(__doc__, STATUS)
    add_run_options(parser.add_argument_group("run").add_argument)
    add_data_options(parser.add_argument_group("data").add_argument)
    add_network_options(parser.add_argument_group("network").add_argument)
    add_training_options(parser.add_argument_group("loss and optimisation").add_argument)
    parser.set_defaults(rolled_back=0)  # so far, in this run
    return parser


def add_run_options(add):
    add_device(add, constants.DTYPES)
    text = "resume from the newest intact snapshot"
    add("-r", "--resume", "--resume_training", action="store_true", help=text)
    add("-o", "--out", default=constants.RESULT_DIR, **PATH, help="directory of the run")
    add("-n", "--iterations", default=constants.ITERATIONS, **COUNT, help="iteration to stop at")
    add("--minutes", type=number(0), help="minutes to stop after, if sooner; -r does not keep it")
    text = "seed of the initial weights and of the order of clips"
    add("--seed", type=integer(0, 2**32 - 1), default=constants.SEED, help=text)
    text = "after NaN return to the last snapshot at half the learning rates, up to N times"
    add("--rollbacks", type=integer(0), default=constants.ROLLBACKS, metavar="N", help=text)
    text = "continue when a file cannot be written"
    add("--keep-going", action=argparse.BooleanOptionalAction, default=False, help=text)
    text = "iterations between snapshots"
    add("--snapshot-every", default=constants.SNAPSHOT_EVERY, **COUNT, help=text)
    text = "iterations between reports"
    add("--report-every", default=constants.REPORT_EVERY, **COUNT, help=text)
    text = "iterations between validations"
    add("--validate-every", default=constants.VALIDATE_EVERY, **COUNT, help=text)


def add_data_options(add):
    add("-d", "--data", default=constants.TRAIN_CLIPS_DIR, **CLIPS, help="clips to train on")
    add("--test-data", default=constants.TEST_CLIPS_DIR, **CLIPS, help="clips to validate on")
    add("-b", "--batch-size", default=constants.BATCH_SIZE, **COUNT, help="clips per batch")


def add_network_options(add):
    text = "architecture, named after its file in models/"
    add("--arch", default=constants.ARCH, help=text)
    text = "shorter sides of the scales, such as 4-16-32-64 (default: depends on the clips' size)"
    add("--pyramid", metavar="SIZES", help=text)
    text = "feature maps as published, or an eighth and small discriminators (default: paper)"
    add("--width", choices=("paper", "small"), help=text)
    add("--model-options", metavar="NAME=VALUE,...", help="other options of the architecture")
    text = "start from a run, a model, a snapshot or a .safetensors file"
    add("-l", "--load", **PATH, help=text)
    text = "train against discriminators (default: depends on the architecture)"
    add("--adversarial", action=argparse.BooleanOptionalAction, help=text)
    add("--unconditional-dis", action="store_true", help="show the discriminators no past frames")


def add_training_options(add):
    text = "weights of l1, l2, mse, bce, gdl, ssim, adversarial"
    add("--loss", default=constants.LOSS, metavar="NAME=WEIGHT,...", help=text)
    add("--alpha", type=number(1), default=constants.ALPHA, help="exponent of the gdl loss")
    optimizers = {"choices": OPTIMIZERS, "default": constants.OPTIMIZER}
    add("--optimizer", **optimizers, help="of each network")
    gen, dis = constants.LR_GEN, constants.LR_DIS
    text = f"learning rate of the generator (default: {gen['adam']}, with sgd {gen['sgd']})"
    add("--lr-gen", **RATE, help=text)
    text = f"learning rate of the discriminators (default: {dis['adam']}, with sgd {dis['sgd']})"
    add("--lr-dis", **RATE, help=text)
    schedules = {"choices": constants.SCHEDULES, "default": constants.SCHEDULE}
    add("--schedule", **schedules, help="how learning rates change until the run ends")
    text = "norm to which a network's longer gradients are scaled; 0 for no limit"
    norm = {"type": number(0), "default": constants.CLIP_GRADIENTS, "metavar": "NORM"}
    add("--clip-gradients", **norm, help=text)


def parse(argv):
    """The options; with -r those of the run in --out hold, unless `argv` says otherwise."""
    parser = make_parser()
    options = parser.parse_args(argv)
    if not options.resume:
        return options
    if rundir.exists(options.out):
        saved = rundir.saved_options(options.out, vars(parser.parse_args([])))
        parser.set_defaults(**{k: v for k, v in saved.items() if k not in NOT_RESUMED})
        options = parser.parse_args(argv)
        if rundir.snapshots(options.out):
            keep_network(options, saved)
    elif rundir.snapshots(options.out):
        cure = "the options given now hold, else the usual ones"
        warn(f"{options.out}: {rundir.OPTIONS} is missing; {cure}")
    return options


def keep_network(options, saved):
    """Refuse another --arch than that of a run's snapshots, and pass over another --load.

    saved: the options of the run so far, {name: value}.
    """
    arch, load = (saved.get(name) for name in ("arch", "load"))
    if arch and options.arch != arch:
        problem = f"--arch {options.arch}: the run in {options.out} trains {arch}"
        raise UserError(f"{problem}; give another --out")
    if options.load != load:
        ignored = f"--load {options.load} is for a fresh run"
        print(f"{ignored}: this one goes on with its own weights", file=sys.stderr)
        options.load = load


@report_errors
@ctrl_c_exits()
def main(argv=None):
    options = parse(argv)
    began = time.monotonic()
    # Imported late, so that --help and mistakes on the command line are answered at once.
    from utils.device import computing, open_device
    from utils.snapshots import last_good

    device = open_device(options.gpu)
    cure = f"give a --batch-size below {options.batch_size}, smaller clips or --width small"
    failed = None  # the snapshot to which the attempt before went back
    while True:
        try:
            with computing(device, options.dtype, cure):
                return train(options, device, began)
        except Diverged as error:
            if options.rolled_back >= options.rollbacks:
                raise
            print(f"{error}; trying again", file=sys.stderr)
            newest = last_good(options.out)
            if newest and newest == failed and len(rundir.snapshots(options.out)) > 1:
                rundir.set_aside(newest)
            failed = newest
            options.rolled_back += 1
            options.resume = True
        gc.collect()  # frees the failed attempt's reference cycles before the next one needs memory


def train(options, device, began):
    """Train to the last iteration, or until --minutes have passed since `began` (time.monotonic()).

    Raises UserError and Diverged as `Trainer.run` does.
    """
    from utils.snapshots import resume
    from utils.store import ClipStore

    clips = ClipStore.open(options.data)
    spec, gen = make_generator(options, clips)
    updater = make_updater(options, clips, gen, device)
    test_clips = open_test_clips(options, clips)
    with rundir.claimed(options.out, options.resume):
        trainer = make_trainer(options, updater, test_clips, began)
        if options.rolled_back:
            share = f"1/{2**options.rolled_back}"
            print(f"learning rates: those given, times {share} after rollbacks", file=sys.stderr)
        if options.resume:
            rundir.warn_of_other_clips(options.out, describe_clips(options.data, clips))
            resume(trainer)
        rundir.write_record(options.out, make_record(options, spec, clips, test_clips))
        trainer.run()
    print(f"{options.out}: trained to iteration {updater.iteration}; test.py --load {options.out}")


def open_test_clips(options, clips):
    """The ClipStore to validate on; None, with a warning, if there is none at the default place.

    UserError for another --test-data without clips, or as of `find_test_clips`.
    """
    from utils.validation import find_test_clips

    test_clips = find_test_clips(options.test_data, clips)
    if test_clips is None and options.test_data != constants.TEST_CLIPS_DIR:
        problem = f"--test-data {options.test_data}: no clips there"
        raise UserError(f"{problem}; make some or give another place")
    if test_clips is None:
        cure = "`python process_data.py --split test -n 500` makes some"
        warn(f"no validation, no test clips at {options.test_data}: {cure}")
    return test_clips


def make_record(options, spec, clips, test_clips):
    """What options.json keeps of a run, as JSON types: all that test.py and -r need."""
    validation = None if test_clips is None else describe_clips(options.test_data, test_clips)
    return {
        "options": options_to_save(options),
        "model": spec,
        "data": describe_clips(options.data, clips),
        "validation": validation,
    }


def options_to_save(options):
    """{name: value} of the options; given paths are absolute: -r may run in another directory."""
    found = {name: value for name, value in vars(options).items() if name != "resume"}
    for name, default in PATHS.items():
        if found[name] != default and not is_url(found[name]):
            found[name] = os.path.abspath(found[name])
    return found


def describe_clips(path, clips):
    """What options.json says of the ClipStore at `path`."""
    return {
        "path": path,
        "clips": len(clips),
        "fingerprint": clips.fingerprint,
        "looks": clips.looks,
    }


def make_generator(options, clips):
    """(arguments of `models.create`, kept in options.json; the network made of them).

    Its weights are drawn by --seed, or come from --load.
    """
    import numpy as np

    import models
    from models.chance import keeping_series
    from utils.weights import load_weights

    _, channels, *size = clips.shape
    spec = {
        "arch": options.arch,
        "history": clips.history,
        "horizon": clips.horizon,
        "channels": channels,
        "size": size,
        "pyramid": options.pyramid,
    }
    np.random.seed(options.seed)  # Chainer draws first weights from NumPy's own generator
    try:
        if "width" in models.own_options(options.arch):  # else for the discriminators alone
            spec["width"] = options.width
        if options.model_options is not None:
            spec |= models.parse_options(options.arch, options.model_options)
        gen = models.create(**spec)
    except ValueError as error:
        raise UserError(error) from None
    if options.load and not (options.resume and rundir.snapshots(options.out)):
        with keeping_series(gen):
            load_weights(rundir.model_at(options.load), gen)
    return spec, gen


def make_updater(options, clips, gen, device):
    """The updater: an AdversarialUpdater, or a PredictionUpdater that trains the generator alone.

    The networks are on the device, each with its optimizer.
    """
    from models.discriminators import Discriminators
    from utils.supply import supply
    from utils.updater import AdversarialUpdater, PredictionUpdater

    terms, weight = choose_losses(options, gen)
    if options.batch_size > len(clips):
        problem = f"--batch-size {options.batch_size}: more than the {len(clips)} clips"
        raise UserError(f"{problem} at {options.data}; lower it or make more clips")
    batches, converter = supply(clips, options.batch_size, options.seed, device)
    gen.to_device(device)
    optimizers = {"gen": make_optimizer(options, gen, options.lr_gen, constants.LR_GEN)}
    if not weight:
        return PredictionUpdater(batches, optimizers, terms, converter, device)
    try:
        dis = Discriminators.of(gen, clips.shape[2:], options.width, not options.unconditional_dis)
    except ValueError as error:
        raise UserError(error) from None
    dis.to_device(device)
    optimizers["dis"] = make_optimizer(options, dis, options.lr_dis, constants.LR_DIS)
    return AdversarialUpdater(
        batches, optimizers, terms, converter, device, adversarial_weight=weight
    )


def make_optimizer(options, net, rate, rates):
    """The optimizer of a network, at half its learning rate for each rollback so far.

    rate: the learning rate; if None, that of --optimizer in `rates`.
    """
    from utils.stack import chainer

    rate = rates[options.optimizer] if rate is None else rate
    optimizer_class = getattr(chainer.optimizers, OPTIMIZERS[options.optimizer])
    return optimizer_class(rate * 0.5**options.rolled_back).setup(net)


def make_trainer(options, updater, test_clips, began):
    """The trainer, which logs, saves and, with test clips, validates; began: as for `train`."""
    from utils.schedule import SCHEDULES
    from utils.trainer import Trainer

    trainer = Trainer(
        updater,
        options.out,
        options.iterations,
        report_every=options.report_every,
        snapshot_every=options.snapshot_every,
        kept=constants.SNAPSHOTS_KEPT,
        minutes=math.inf if options.minutes is None else options.minutes,
        began=began,
        max_norm=options.clip_gradients or math.inf,
        keep_going=options.keep_going,
    )
    if options.schedule in SCHEDULES:
        trainer.schedule(SCHEDULES[options.schedule])
    if test_clips is not None:
        trainer.validate(test_clips, options.validate_every)
    return trainer


def choose_losses(options, gen):
    """The losses, as `by_name` returns them, and the adversarial weight: 0 without discriminators.

    UserError for options that contradict one another.
    """
    from utils.losses import by_name

    terms, weight = by_name(options.loss, options.alpha)
    if options.adversarial and not weight:
        raise UserError(f"--loss {options.loss}: --adversarial needs a weight, adversarial=0.05")
    if options.alpha != constants.ALPHA and "gdl" not in terms:
        raise UserError(f"--alpha {options.alpha:g}: --loss {options.loss} has no gdl; add gdl=1")
    adversarial = gen.adversarial if options.adversarial is None else options.adversarial
    if adversarial and weight:
        return terms, weight
    if not any(weight for weight, _ in terms.values()):
        raise UserError(f"--loss {options.loss}: leaves nothing to learn from; add l2=1")
    if weight and options.loss != constants.LOSS:
        cure = "leave adversarial out or give --adversarial"
        raise UserError(f"--loss {options.loss}: there are no discriminators; {cure}")
    refuse_discriminator_options(options)
    return terms, 0


def refuse_discriminator_options(options):
    """UserError for an option that concerns discriminators alone: there are none."""
    from models import own_options

    if options.width and "width" not in own_options(options.arch):
        problem = f"--width {options.width}: {options.arch} has one width, no discriminators"
        raise UserError(f"{problem}; leave it out")
    if options.unconditional_dis:
        raise UserError("--unconditional-dis: no discriminators, give --adversarial")
    if options.lr_dis is not None:
        raise UserError(f"--lr-dis {options.lr_dis}: no discriminators, give --adversarial")


if __name__ == "__main__":
    main()
