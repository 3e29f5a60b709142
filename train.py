"""Train a network to predict the next frames: data/trainclips -> result/."""

import argparse
import gc
import math
import os
import sys
import time

import constants
from utils import rundir
from utils.errors import Diverged, UserError, report_errors, when_out_of_memory
from utils.signals import ctrl_c_exits
from utils.usage import Parser, integer, local_path, number, path_or_url

OF_THE_COMMAND = ("gpu", "resume", "out", "minutes")  # -r takes all others from the run
PLACES = {"data": constants.TRAIN_CLIPS_DIR, "test_data": constants.TEST_CLIPS_DIR, "load": None}
STATUS = """exit status: 0 trained; 2 invalid input or a file that cannot be written; 3 NaN or
infinity; 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP (-r then resumes where it stopped)"""


def parse(argv):
    parser = Parser(__doc__, STATUS)
    path, clips = ({"type": kind, "metavar": "PATH"} for kind in (local_path, path_or_url))
    count = {"type": integer(1), "metavar": "N"}
    rate = {"type": number(0), "metavar": "RATE"}

    add = parser.add_argument_group("run").add_argument
    add(
        "-g", "--gpu", type=integer(-1), default=-1, metavar="ID", help="CUDA device; -1 is the CPU"
    )
    newest = "resume from the newest intact snapshot"
    add("-r", "--resume", "--resume_training", action="store_true", help=newest)
    add("-o", "--out", default=constants.RESULT_DIR, **path, help="directory of the run")
    add("-n", "--iterations", default=constants.ITERATIONS, **count, help="iteration to stop at")
    add("--minutes", type=number(0), help="minutes after which to stop, if sooner")
    seed = "seed of the initial weights and of the order of clips"
    add("--seed", type=integer(0, 2**32 - 1), default=constants.SEED, help=seed)
    usual = "precision of multiplications (default: tf32 on a GPU, float32 on a CPU)"
    add("--dtype", choices=constants.DTYPES, help=usual)
    back = "after NaN return to the last snapshot at half the learning rates, up to N times"
    add("--rollbacks", type=integer(0), default=constants.ROLLBACKS, metavar="N", help=back)
    add("--keep-going", action="store_true", help="continue when a file cannot be written")
    every = "iterations between {}".format
    add("--snapshot-every", default=constants.SNAPSHOT_EVERY, **count, help=every("snapshots"))
    add("--report-every", default=constants.REPORT_EVERY, **count, help=every("reports"))
    add("--validate-every", default=constants.VALIDATE_EVERY, **count, help=every("validations"))

    add = parser.add_argument_group("data").add_argument
    add("-d", "--data", default=constants.TRAIN_CLIPS_DIR, **clips, help="clips to train on")
    add("--test-data", default=constants.TEST_CLIPS_DIR, **clips, help="clips to validate on")
    add("-b", "--batch-size", default=constants.BATCH_SIZE, **count, help="clips per batch")

    add = parser.add_argument_group("network").add_argument
    add("--arch", default=constants.ARCH, help="architecture, named after its file in models/")
    scales = "shorter sides of the scales, such as 4-16-32-64 (default: depends on the clips' size)"
    add("--pyramid", metavar="SIZES", help=scales)
    maps = "feature maps as published or an eighth; discriminators alike (default: paper)"
    add("--width", choices=("paper", "small"), help=maps)
    add("--model-options", metavar="NAME=VALUE,...", help="other options of the architecture")
    add("-l", "--load", **path, help="start from a run, a model, a snapshot or a .safetensors file")
    opponents = "train against discriminators (default: depends on the architecture)"
    add("--adversarial", action=argparse.BooleanOptionalAction, help=opponents)
    add("--unconditional-dis", action="store_true", help="show the discriminators no past frames")

    add = parser.add_argument_group("loss and optimisation").add_argument
    terms = "weights of l1, l2, mse, bce, gdl, ssim, adversarial"
    add("--loss", default=constants.LOSS, metavar="NAME=WEIGHT,...", help=terms)
    add("--alpha", type=number(1), default=constants.ALPHA, help="exponent of the gdl loss")
    kinds = {"choices": constants.LR_GEN, "default": constants.OPTIMIZER}
    add("--optimizer", **kinds, help="of each network")
    usual = "learning rate of the {} (default: {adam}, with sgd {sgd})".format
    add("--lr-gen", **rate, help=usual("generator", **constants.LR_GEN))
    add("--lr-dis", **rate, help=usual("discriminators", **constants.LR_DIS))
    shape = "how learning rates change until the run ends (default: not at all)"
    add("--schedule", choices=constants.SCHEDULES, help=shape)
    norm = "norm to which a network's longer gradients are scaled; 0 for no limit"
    clip = {"type": number(0), "default": constants.CLIP_GRADIENTS, "metavar": "NORM"}
    add("--clip-gradients", **clip, help=norm)

    parser.set_defaults(rolled_back=0)  # so far, in this run
    options = parser.parse_args(argv)
    if options.resume and not rundir.exists(options.out) and rundir.snapshots(options.out):
        cure = "the options given now hold, else the usual ones"
        print(f"warning: {options.out}: {rundir.OPTIONS} is missing; {cure}", file=sys.stderr)
    if options.resume and rundir.exists(options.out):
        # The options of the run hold, unless this command line says otherwise.
        saved = rundir.saved_options(options.out, vars(parser.parse_args([])))
        parser.set_defaults(**{k: v for k, v in saved.items() if k not in OF_THE_COMMAND})
        options = parser.parse_args(argv)
        if rundir.snapshots(options.out):
            go_on(options, saved)
    return options


def go_on(options, saved):
    """Keep to the network that the snapshots of a run are of; `saved`: its options so far."""
    arch, load = (saved.get(name) for name in ("arch", "load"))
    if arch and options.arch != arch:
        told = f"--arch {options.arch}: the run in {options.out} trains {arch}"
        raise UserError(f"{told}; give another --out")
    if options.load != load:
        told = f"--load {options.load} is for a fresh run"
        print(f"{told}: this one goes on with its own weights", file=sys.stderr)
        options.load = load


@report_errors
@ctrl_c_exits()
def main(argv=None):
    options = parse(argv)
    began = time.monotonic()
    cure = f"give a --batch-size below {options.batch_size}, smaller clips or --width small"
    while True:
        try:
            with when_out_of_memory(cure):
                return train(options, began)
        except Diverged as error:
            if options.rolled_back == options.rollbacks:
                raise
            print(f"{error}; trying again", file=sys.stderr)
            options.rolled_back += 1
            options.resume = True
        gc.collect()  # the run that failed refers to itself; its memory is for the next


def train(options, began):
    """Train to the last iteration or until the minutes since `began`, by time.monotonic(), are up.

    Raises UserError and Diverged as `Trainer.run` does.
    """
    # Imported late, so that --help and mistakes on the command line are answered at once.
    from utils.batches import to_past_and_future
    from utils.device import open_device
    from utils.schedule import SCHEDULES
    from utils.snapshots import resume
    from utils.stack import chainer
    from utils.stack.precision import using_dtype
    from utils.store import ClipStore
    from utils.trainer import Trainer
    from utils.validation import find_test_clips

    device = open_device(options.gpu)
    clips = ClipStore.open(options.data)
    model, gen = make_generator(options, clips)
    updater = make_updater(options, clips, gen, device)
    test_clips = find_test_clips(options.test_data, clips)
    if test_clips is None and options.test_data != constants.TEST_CLIPS_DIR:
        told = f"--test-data {options.test_data}: no clips there"
        raise UserError(f"{told}; make some or give another place")
    if test_clips is None:
        cure = "`python process_data.py --split test -n 500` makes some"
        told = f"no validation, no test clips at {options.test_data}"
        print(f"warning: {told}: {cure}", file=sys.stderr)
    elif test_clips.fingerprint == clips.fingerprint:
        told = f"the test clips at {options.test_data} are the training clips"
        print(f"warning: {told}: cut some of other videos to validate on", file=sys.stderr)
    fastest = chainer.using_config("autotune", True)  # cuDNN's engine, by trial
    with using_dtype(options.dtype, device), fastest, rundir.claimed(options.out, options.resume):
        trainer = Trainer(
            updater,
            options.out,
            options.iterations,
            minutes=math.inf if options.minutes is None else options.minutes,
            began=began,
            max_norm=options.clip_gradients or math.inf,
            keep_going=options.keep_going,
        )
        trainer.watch(options.report_every, options.snapshot_every, constants.SNAPSHOTS_KEPT)
        if options.schedule:
            trainer.schedule(SCHEDULES[options.schedule])
        if test_clips is not None:
            as_frames = to_past_and_future(clips.history)
            trainer.validate(test_clips, as_frames, device, options.validate_every)
        if options.rolled_back:
            told = f"learning rates: those given, times 1/{2**options.rolled_back} after rollbacks"
            print(told, file=sys.stderr)
        if options.resume:
            rundir.warn_of_other_clips(options.out, about(options.data, clips))
            resume(trainer)
        record = {
            "options": kept(options),
            "model": model,
            "data": about(options.data, clips),
            "validation": None if test_clips is None else about(options.test_data, test_clips),
        }
        rundir.write_options(options.out, record)
        trainer.run()
    print(f"{options.out}: trained to iteration {updater.iteration}; test.py --load {options.out}")


def kept(options):
    """What options.json says of the options; paths as they are from any directory."""
    found = {name: value for name, value in vars(options).items() if name != "resume"}
    for name, usual in PLACES.items():
        if found[name] != usual and "://" not in found[name]:
            found[name] = os.path.abspath(found[name])
    return found


def about(path, clips):
    """What options.json says of a ClipStore."""
    fingerprint, looks = clips.fingerprint, clips.looks
    return {"path": path, "clips": len(clips), "fingerprint": fingerprint, "looks": looks}


def make_generator(options, clips):
    """The arguments of `models.create`, for options.json, and the network that it made of them."""
    import numpy as np

    import models
    from models.chance import own_series
    from utils.weights import load_weights

    _, channels, *size = clips.shape
    model = {
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
            model["width"] = options.width
        if options.model_options is not None:
            model |= models.read_options(options.arch, options.model_options)
        gen = models.create(**model)
    except ValueError as error:
        raise UserError(error) from None
    if options.load and not (options.resume and rundir.snapshots(options.out)):
        with own_series(gen):
            load_weights(rundir.model_at(options.load), gen)
    return model, gen


def make_updater(options, clips, gen, device):
    """The updater, its networks on the device: adversarial, or for the generator alone."""
    from models.discriminators import Discriminators
    from utils.stack import chainer
    from utils.supply import supply
    from utils.updater import AdversarialUpdater, PredictionUpdater

    kinds = {"adam": "Adam", "rmsprop": "RMSprop", "sgd": "SGD"}
    kind = getattr(chainer.optimizers, kinds[options.optimizer])

    def optimizer(net, given, usual):
        net.to_device(device)
        rate = usual[options.optimizer] if given is None else given
        return kind(rate * 0.5**options.rolled_back).setup(net)

    terms, weight = losses_of(options, gen)
    if options.batch_size > len(clips):
        more = f"--batch-size {options.batch_size}: more than the {len(clips)} clips"
        raise UserError(f"{more} at {options.data}; lower it or make more clips")
    batches, converter = supply(clips, options.batch_size, options.seed, device)
    optimizers = {"gen": optimizer(gen, options.lr_gen, constants.LR_GEN)}
    if not weight:
        return PredictionUpdater(batches, optimizers, terms, converter, device)
    try:
        dis = Discriminators.of(gen, clips.shape[2:], options.width, not options.unconditional_dis)
    except ValueError as error:
        raise UserError(error) from None
    optimizers["dis"] = optimizer(dis, options.lr_dis, constants.LR_DIS)
    return AdversarialUpdater(batches, optimizers, weight, terms, converter, device)


def losses_of(options, gen):
    """The losses, as `by_name` has them, and the adversarial weight, 0 without discriminators.

    UserError for options that contradict one another.
    """
    from models import own_options
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
    if options.width and "width" not in own_options(options.arch):
        told = f"--width {options.width}: {options.arch} has one width, no discriminators"
        raise UserError(f"{told}; leave it out")
    if options.unconditional_dis:
        raise UserError("--unconditional-dis: no discriminators, give --adversarial")
    if options.lr_dis is not None:
        raise UserError(f"--lr-dis {options.lr_dis}: no discriminators, give --adversarial")
    return terms, 0


if __name__ == "__main__":
    main()
