"""Predict test videos with trained networks: numbers, pictures, a page of both, a leaderboard."""

import contextlib
import json
from pathlib import Path

import constants
from utils import rundir
from utils.errors import Diverged, UserError, report_errors, warn, when_out_of_memory, writing_to
from utils.lock import claim
from utils.record import versions
from utils.signals import ctrl_c_exits
from utils.usage import (
    COUNT,
    Parser,
    add_device,
    add_learned_look,
    integer,
    local_path,
    refuse_among,
)

TEST_OPTIONS = "windows", "gifs", "arrays", "by", "area"
PREDICTION_OPTIONS = "frames", "out", "images", "axes", "step", "resize", "gpu", "dtype"
WITHOUT_EFFECT = {  # {option: the others that have none beside it}
    "forecast": TEST_OPTIONS,
    "export": (*TEST_OPTIONS, *PREDICTION_OPTIONS),
}
LESS_MEMORY = "give smaller frames, fewer --frames or leave -g out"

SEVERAL = {"type": local_path, "nargs": "+", "action": "extend"}


def make_parser():
    parser = Parser(__doc__)
    add = parser.add_argument
    text = "directories of training runs, or folders of them; several make a leaderboard"
    add("--load", **SEVERAL, metavar="DIR", help=f"{text} (default: {constants.RESULT_DIR})")
    text = f"videos to predict, or folders of them (default: {constants.TEST_DIR})"
    add("--images", **SEVERAL, metavar="PATH", help=text)
    add_learned_look(add)
    frames = {"type": integer(1, 9999), "metavar": "N"}  # predicted_0001.png has four digits
    add("-f", "--frames", default=constants.FRAMES, **frames, help="frames to predict")
    text = "starting points in each video"
    add("-w", "--windows", default=constants.WINDOWS, **COUNT, help=text)
    text = "write GIFs of the first N videos"
    add("--gifs", type=integer(0), default=constants.GIFS, metavar="N", help=text)
    text = "write past, truth and prediction of each video as .npz files, too"
    add("--arrays", action="store_true", help=text)
    add_device(add, constants.DTYPES)
    add("--by", default="psnr", metavar="METRIC", help="metric that ranks a leaderboard")
    add("--area", choices=("whole", "moving"), default="moving", help="where that is measured")
    add_either = parser.add_mutually_exclusive_group().add_argument
    text = "only predict what follows the last frame of each video, as PNG files and a GIF"
    add_either("--forecast", action="store_true", help=text)
    text = "where results go (default: test/ or forecast/ in the run, leaderboard/ for several)"
    add("-o", "--out", type=local_path, metavar="DIR", help=text)
    add("--best", action="store_true", help="use BEST.model, not the last weights")
    text = "only write the network to this .safetensors file"
    add_either("--export", type=local_path, metavar="FILE", help=text)
    return parser


def parse(argv):
    parser = make_parser()
    options = parser.parse_args(argv)
    for alone, others in WITHOUT_EFFECT.items():
        given = [name for name in others if getattr(options, name) != parser.get_default(name)]
        if getattr(options, alone) and given:
            parser.error(f"--{given[0]} has no effect with --{alone}; leave one of them out")
    # Not argparse's defaults: its "extend" would add to them.
    options.load = options.load or [constants.RESULT_DIR]
    options.images = options.images or [constants.TEST_DIR]
    return options


@report_errors
@ctrl_c_exits()
def main(argv=None):
    options = parse(argv)
    runs = rundir.find_runs(options.load)
    if options.export:
        export(runs, options)
        return
    for run in runs:
        load_model(run, options.best)  # UserError for a bad run before any test begins
    look = choose_look(options, runs)
    options.step, options.resize = look.step, look.resize  # for the records of the test
    if options.forecast:
        forecast(runs, options, look)
    else:
        evaluate(runs, options, look)


def evaluate(runs, options, look):
    """Test every run on the same videos, seen by a Look; compare them where there are several."""
    # Imported late, so that --help and mistakes on the command line are answered at once.
    from utils import leaderboard, results, trial
    from utils.conventions import CONVENTIONS
    from utils.device import computing, open_device
    from utils.metrics import METRICS
    from utils.videos import find_videos

    if options.by not in {**METRICS, **CONVENTIONS}:
        known = ", ".join({**METRICS, **CONVENTIONS})
        raise UserError(f"--by {options.by}: no such metric; choose from {known}")
    device = open_device(options.gpu)
    videos = find_videos(options.images, look=look, axes=options.axes)
    # The longest history of all, so that every run predicts the same frames.
    history = max(run.record["model"]["history"] for run in runs)
    single = len(runs) == 1
    default = runs[0].path / "test" if single else constants.LEADERBOARD_DIR
    out = Path(options.out or results_folder(default, options))
    refuse_among("--images", options.images, out)
    folders = [out] if single else [out / run.name for run in runs]
    places = dict.fromkeys(folders, trial.FILES)
    if not single:
        places[out] = leaderboard.FILES
    for folder, files in places.items():  # refused before the first test, which may take long
        with writing_to(folder):
            results.left_before(folder, files)

    with claim(out), computing(device, options.dtype, LESS_MEMORY):
        entries = []
        for run, folder in zip(runs, folders, strict=True):
            try:
                with naming(run):
                    entries.append(evaluate_run(run, folder, options, device, videos, history))
            except Diverged as error:
                if run is runs[-1] and not entries:
                    raise
                tested = (folder / trial.RECORD).exists()
                warn(f"{error}; left out" + f", {folder} has an earlier test" * tested)
        if not single:
            compare(entries, out, options)


def forecast(runs, options, look):
    """Predict with every run what follows the end of each video, seen by a Look."""
    from utils.device import computing, open_device
    from utils.forecast import forecast_ends
    from utils.videos import find_videos

    device = open_device(options.gpu)
    videos = find_videos(options.images, look=look, axes=options.axes)
    with computing(device, options.dtype, LESS_MEMORY):
        for run in runs:
            out = Path(options.out or run.path / results_folder("forecast", options))
            out = out / run.name if options.out and len(runs) > 1 else out
            refuse_among("--images", options.images, out)
            model = load_model(run, options.best)
            model.to_device(device)
            with claim(out), writing_to(out), naming(run):
                count = forecast_ends(model, videos, options.frames, out)
            told = f"{options.frames} frames after the end of {count} videos; in {out}"
            print(f"{run.path}: {told}")


@contextlib.contextmanager
def naming(run):
    """In this context Diverged says which run's network it was."""
    try:
        yield
    except Diverged as error:
        raise Diverged(f"{run.path}: {error}") from None


def results_folder(name, options):
    """`name`, or NAME-best: the results of a run's two networks lie in folders of their own."""
    return f"{name}-best" if options.best else name


def choose_look(options, runs):
    """How the videos to predict are seen, a Look: with the --step and --resize given, else those of
    the training clips; grey for grey networks.

    A warning names each run that learned from clips with another --step or --resize. UserError if
    the clips of several runs differ in one that is not given, or if some networks are for grey
    frames and others for colour. Clips that do not record them have no say; if none do, every frame
    is taken at its own size.
    """
    from utils.frames import Look

    channels = {run.record["model"]["channels"] for run in runs}
    if len(channels) > 1:
        raise UserError("--load has networks for grey frames, others for colour: test them apart")
    recorded = {flags for run in runs for flags in run.record["data"].get("looks", [])}
    looks = {look for flags in recorded if (look := Look.of_flags(flags))} or {Look()}

    def settled(name):
        if getattr(options, name) is not None:
            return getattr(options, name)
        value, *others = {getattr(look, name) for look in looks}
        if others:
            cut = f"learned from clips cut with {', '.join(sorted(recorded))}"
            raise UserError(f"--load: {cut}; give the --{name} to test with")
        return value

    resize = settled("resize") or None  # () is no resizing
    look = Look(settled("step"), channels == {1}, resize, to_end=options.forecast)
    for run in runs:
        if (learned := run.record["data"].get("looks")) and look.flags not in learned:
            cut = ", ".join(learned)
            warn(f"{run.path} learned from clips cut with {cut}, is tested with {look.flags}")
    return look


def compare(entries, out, options):
    """Write the leaderboard of the runs, a list of leaderboard.Entry, to `out`; print its table."""
    from utils import curves, leaderboard
    from utils.files import write_text

    entries = leaderboard.with_copy(entries)
    copy = entries[-1]
    if options.area == "moving" and not any(copy.curve("moving", "moving")):
        warn("nothing moves in the test videos, so the runs have no order; give --area whole")
    entries = leaderboard.ranked(entries, options.by, options.area)
    text = leaderboard.table(entries, options.by, options.area)
    with writing_to(out):
        # The record comes first: by it a later leaderboard knows that it may replace these files.
        leaderboard.save_json(out / leaderboard.RECORD, vars(options), entries)
        leaderboard.save_csv(out / leaderboard.NUMBERS, entries)
        curves.save(out / leaderboard.PLOT, entries, [options.by])
        write_text(out / leaderboard.TABLE, text + "\n")
    print(f"{options.by}, {options.area}, of {options.frames} predicted frames:\n\n{text}\n")
    print(f"more in {out}")


def evaluate_run(run, out, options, device, videos, history):
    """Test one run, write its numbers and pictures to `out` -> its leaderboard.Entry.

    history: frames of each video before the first one predicted, of which the network may need
    fewer.
    """
    from utils import report
    from utils.results import replacing
    from utils.trial import FILES, PAGE, examine_videos

    model = load_model(run, options.best)
    model.to_device(device)
    with writing_to(out), replacing(out, FILES) as (folder, taken):
        trial = examine_videos(
            model,
            videos,
            folder,
            run.name,
            history=history,
            frames=options.frames,
            windows=options.windows,
            gifs=options.gifs,
            arrays=options.arrays,
            taken=taken,
        )
        if not trial.scores:
            raise UserError(
                f"no place tested in any video has the {history + options.frames} good frames in a "
                f"row that --frames {options.frames} needs; ask for fewer, or give longer or "
                "undamaged videos"
            )
        trial.save(folder, describe_conditions(run.record, options))
    windows = len(trial.scores)
    told = f"means over {windows} windows of {trial.videos} videos; see {out / PAGE}"
    print(f"{run.path}: {told}")
    if trial.videos > options.gifs > 0:
        print(f"GIFs of the first {options.gifs} videos; --gifs asks for more")
    print(report.table(trial.means))
    # When BEST.model was written is not known: a resumed run's log may lack that validation.
    training = {} if options.best else rundir.training_cost(run.path)
    return trial.entry(model, training)


def describe_conditions(record, options):
    """What metrics.json says of how its numbers came about, as JSON types."""
    names = ("best", "images", "axes", "step", "resize", "frames", "dtype")
    asked = {name: getattr(options, name) for name in names}
    return {"run": record, **asked, "versions": versions()}


def load_model(run, best):
    """The network of a run, with its best weights (BEST.model) or its last.

    UserError if there are none, or they do not fit the network that its record describes.
    """
    import models
    from utils.memory import memory_bounded
    from utils.weights import load_weights

    path = run.path
    try:
        with when_out_of_memory("give another --load"), memory_bounded():
            model = models.create(**run.record["model"])
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: from another version of this program ({error})") from None
    if best and not (path / rundir.BEST).exists():
        cure = "it was never validated; leave it out"
        raise UserError(f"--best: {path} has no {rundir.BEST}, {cure}")
    if not best and not (path / rundir.MODEL).exists():
        cure = "it comes with the run's first snapshot"
        raise UserError(f"{path}: no network to test yet ({rundir.MODEL} is missing): {cure}")
    load_weights(path / (rundir.BEST if best else rundir.MODEL), model)
    return model


def export(runs, options):
    """Write the network of a single run for other programs to read."""
    from utils.weights import SAFETENSORS, save_weights

    if len(runs) > 1 or not options.export.endswith(SAFETENSORS):
        raise UserError(f"--export {options.export}: give a name in {SAFETENSORS}, a single --load")
    if Path(options.export).exists():
        raise UserError(f"--export {options.export}: is there already; remove it or give another")
    run = runs[0]
    model = load_model(run, options.best)
    with writing_to(options.export):
        save_weights(options.export, model, {"model": json.dumps(run.record["model"])})
    print(f"{options.export}: the network of {run.path}")


if __name__ == "__main__":
    main()
