"""Predict test videos with trained networks: numbers, GIFs, a contact sheet, a leaderboard."""

import contextlib
import json
from pathlib import Path

import constants
from utils import rundir
from utils.errors import UserError, report_errors, warn, when_out_of_memory, writing_to
from utils.signals import ctrl_c_exits
from utils.usage import Parser, add_look, integer, local_path

OF_TESTS = "windows", "gifs", "arrays", "by", "area"
OF_PREDICTIONS = "frames", "out", "images", "axes", "step", "resize", "gpu", "dtype"
WITHOUT_EFFECT = {  # by the option with which others have none
    "forecast": OF_TESTS,
    "export": (*OF_TESTS, *OF_PREDICTIONS),
}


def parse(argv):
    parser = Parser(__doc__)
    several = {"type": local_path, "nargs": "+", "action": "extend"}
    count = {"type": integer(1), "metavar": "N"}
    ahead = {"type": integer(1, 9999), "metavar": "N"}  # names of predicted frames have four digits
    add = parser.add_argument
    runs = "directories of training runs, or folders of them; several make a leaderboard"
    add("--load", **several, metavar="DIR", help=f"{runs} (default: {constants.RESULT_DIR})")
    videos = f"videos to predict, or folders of them (default: {constants.TEST_DIR})"
    add("--images", **several, metavar="PATH", help=videos)
    add_look(add, learned=True)
    add("-f", "--frames", default=constants.FRAMES, **ahead, help="frames to predict")
    starts = "starting points in each video"
    add("-w", "--windows", default=constants.WINDOWS, **count, help=starts)
    animations = "write GIFs of the first N videos"
    add("--gifs", type=integer(0), default=constants.GIFS, metavar="N", help=animations)
    npz = "write past, truth and prediction of each video as .npz files, too"
    add("--arrays", action="store_true", help=npz)
    add(
        "-g", "--gpu", type=integer(-1), default=-1, metavar="ID", help="CUDA device; -1 is the CPU"
    )
    usual = "precision of multiplications (default: tf32 on a GPU, float32 on a CPU)"
    add("--dtype", choices=constants.DTYPES, help=usual)
    add("--by", default="psnr", metavar="METRIC", help="metric that ranks a leaderboard")
    add("--area", choices=("whole", "moving"), default="moving", help="where that is measured")
    beyond = "only predict what follows the last frame of each video, as PNG files and a GIF"
    only = parser.add_mutually_exclusive_group().add_argument
    only("--forecast", action="store_true", help=beyond)
    where = "where results go (default: test/ or forecast/ in the run, leaderboard/ for several)"
    add("-o", "--out", type=local_path, metavar="DIR", help=where)
    add("--best", action="store_true", help="use BEST.model, not the last weights")
    file = "only write the network to this .safetensors file"
    only("--export", type=local_path, metavar="FILE", help=file)
    options = parser.parse_args(argv)
    for alone, others in WITHOUT_EFFECT.items():
        for name in others if getattr(options, alone) else ():
            if getattr(options, name) != parser.get_default(name):
                parser.error(f"--{name} has no effect with --{alone}; leave one of them out")
    # Not as defaults of argparse, whose "extend" adds to them.
    options.load = options.load or [constants.RESULT_DIR]
    options.images = options.images or [constants.TEST_DIR]
    return options


@report_errors
@ctrl_c_exits()
def main(argv=None):
    options = parse(argv)
    runs = rundir.find_runs(options.load)
    records = [rundir.read_options(run) for run in runs]
    if options.export:
        export(list(runs), records, options)
        return
    for run, record in zip(runs, records, strict=True):  # all, before the first test begins
        load_model(run, record, options.best)
    if options.forecast:
        forecast(runs, records, options)
    else:
        evaluate(runs, records, options)


def evaluate(runs, records, options):
    """Test every run on the same videos; compare them where there are several."""
    # Imported late, so that --help and mistakes on the command line are answered at once.
    from utils import leaderboard, report, trial
    from utils.conventions import CONVENTIONS
    from utils.device import open_device
    from utils.metrics import METRICS

    if options.by not in {**METRICS, **CONVENTIONS}:
        known = ", ".join({**METRICS, **CONVENTIONS})
        raise UserError(f"--by {options.by}: no such metric; choose from {known}")
    device, videos = open_device(options.gpu), open_videos(runs, records, options)
    # All runs predict the same frames, whatever past each needs.
    history = max(record["model"]["history"] for record in records)
    single = len(runs) == 1
    usual = next(iter(runs)) / "test" if single else constants.LEADERBOARD_DIR
    out = Path(options.out or folder(usual, options))
    places = [out] if single else [out / name for name in runs.values()]
    for place in places:  # all, before the first test, which may take long
        report.left_before(place, trial.FILES)
    if not single:
        report.left_before(out, leaderboard.FILES)

    entries = []
    with computing(device, options):
        for (run, name), record, place in zip(runs.items(), records, places, strict=True):
            entries.append(examine_run(run, name, record, device, videos, history, options, place))
    if not single:
        compare(entries, out, options)


def forecast(runs, records, options):
    """Predict with every run what follows the end of each video."""
    from utils.device import open_device
    from utils.forecast import forecast_ends

    device, videos = open_device(options.gpu), open_videos(runs, records, options)
    with computing(device, options):
        for (run, name), record in zip(runs.items(), records, strict=True):
            out = Path(options.out or run / folder("forecast", options))
            out = out / name if options.out and len(runs) > 1 else out
            model = load_model(run, record, options.best)
            model.to_device(device)
            with writing_to(out):
                count = forecast_ends(model, device, videos, options.frames, out)
            print(f"{run}: {options.frames} frames after the end of {count} videos; in {out}")


def folder(name, options):
    """The folder of results called so: those of a run's two networks lie apart."""
    return f"{name}-best" if options.best else name


def open_videos(runs, records, options):
    """The videos to predict, seen as `settle_look` has it; grey if the networks of all records are.

    A warning names each run that learned from clips of videos seen otherwise.
    """
    from utils.frames import Look
    from utils.videos import find_videos

    settle_look(records, options)
    channels = {record["model"]["channels"] for record in records}
    if len(channels) > 1:
        raise UserError("--load has networks for grey frames, others for colour: test them apart")
    look = Look(options.step, channels == {1}, options.resize, to_end=options.forecast)
    for run, record in zip(runs, records, strict=True):
        if (looks := record["data"].get("looks")) and look.flags not in looks:
            cut = ", ".join(looks)
            warn(f"{run} learned from clips cut with {cut}, is tested with {look.flags}")
    return find_videos(options.images, look=look, axes=options.axes)


def settle_look(records, options):
    """Set --step and --resize, where they were not given, to those of the clips learned from.

    UserError where these differ; where no record tells them, every frame is seen as it is.
    """
    from utils.frames import Look

    told = {flags for record in records for flags in record["data"].get("looks", [])}
    looks = {look for flags in told if (look := Look.of_flags(flags))} or {Look()}
    for name in "step", "resize":
        if getattr(options, name) is None:
            usual, *others = {getattr(look, name) for look in looks}
            if others:
                cut = f"learned from clips cut with {', '.join(sorted(told))}"
                raise UserError(f"--load: {cut}; give the --{name} to test with")
            setattr(options, name, usual)
    options.resize = options.resize or None


@contextlib.contextmanager
def computing(device, options):
    """Context of all predictions: their precision, cuDNN's engines by trial, a line for memory."""
    from utils.memory import memory_bounded
    from utils.stack import chainer
    from utils.stack.precision import using_dtype

    enough = when_out_of_memory("give smaller frames, fewer --frames or leave -g out")
    bounded = memory_bounded() if options.gpu < 0 else contextlib.nullcontext()
    fastest = chainer.using_config("autotune", True)
    with using_dtype(options.dtype, device), fastest, enough, bounded:
        yield


def compare(entries, out, options):
    """Leave the leaderboard of the runs in `out`, print its table."""
    from utils import leaderboard
    from utils.files import write_text

    entries = leaderboard.ranked(leaderboard.with_copy(entries), options.by, options.area)
    text = leaderboard.table(entries, options.by, options.area)
    with writing_to(out):
        # First of all the record, by which a later leaderboard knows these files.
        leaderboard.save_json(out / leaderboard.RECORD, vars(options), entries)
        leaderboard.save_csv(out / leaderboard.NUMBERS, entries)
        leaderboard.save_plot(out / leaderboard.PLOT, entries, options.by)
        write_text(out / leaderboard.TABLE, text + "\n")
    print(f"{options.by}, {options.area}, of {options.frames} predicted frames:\n\n{text}\n")
    print(f"more in {out}")


def examine_run(run, name, record, device, videos, history, options, out):
    """Test one run, leave its numbers and pictures in `out` -> its leaderboard.Entry."""
    from utils import report
    from utils.trial import examine_videos

    model = load_model(run, record, options.best)
    model.to_device(device)
    asked = ("best", "images", "axes", "step", "resize", "frames", "dtype")
    conditions = {
        "run": record,
        **{name: getattr(options, name) for name in asked},
        "versions": rundir.versions(),
    }
    with writing_to(out):
        trial = examine_videos(
            model,
            device,
            videos,
            out,
            name,
            history=history,
            frames=options.frames,
            windows=options.windows,
            gifs=options.gifs,
            arrays=options.arrays,
        )
        if not trial.scores:
            raise UserError(
                f"no place tested in any video has the {history + options.frames} good frames in a "
                f"row that --frames {options.frames} needs; ask for fewer, or give longer or "
                "undamaged videos"
            )
        trial.save(out, conditions)
    windows = len(trial.scores)
    print(f"{run}: means over {windows} windows of {trial.videos} videos; more in {out}")
    if trial.videos > options.gifs > 0:
        print(f"GIFs of the first {options.gifs} videos; --gifs asks for more")
    print(report.table(trial.means))
    # BEST.model may be of a validation that the log of a resumed run no longer has.
    training = {} if options.best else rundir.training_cost(run)
    return trial.entry(name, model, training)


def load_model(run, record, best):
    """The network of a run's directory, with its last weights or its best."""
    import models
    from utils.weights import load_weights

    try:
        model = models.create(**record["model"])
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{run}: from another version of this program ({error})") from None
    if best and not (run / rundir.BEST).exists():
        raise UserError(f"--best: {run} has no {rundir.BEST}, it was never validated; leave it out")
    if not best and not (run / rundir.MODEL).exists():
        cure = "it comes with the run's first snapshot"
        raise UserError(f"{run}: no network to test yet ({rundir.MODEL} is missing): {cure}")
    load_weights(run / (rundir.BEST if best else rundir.MODEL), model)
    return model


def export(runs, records, options):
    """Write the network of a single run for other programs to read."""
    from utils.weights import SAFETENSORS, save_weights

    if len(runs) > 1 or not options.export.endswith(SAFETENSORS):
        raise UserError(f"--export {options.export}: give a name in {SAFETENSORS}, a single --load")
    model = load_model(runs[0], records[0], options.best)
    with writing_to(options.export):
        save_weights(options.export, model, {"model": json.dumps(records[0]["model"])})
    print(f"{options.export}: the network of {runs[0]}")


if __name__ == "__main__":
    main()
