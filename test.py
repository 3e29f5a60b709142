"""Predict test videos with trained networks: numbers, GIFs, a contact sheet, a leaderboard."""

from pathlib import Path

import constants
from utils import rundir
from utils.errors import UserError, one_line
from utils.files import reason
from utils.usage import Parser, whole


def parse(argv):
    parser = Parser(__doc__)
    add = parser.add_argument
    runs = {"nargs": "+", "default": [constants.RESULT_DIR], "metavar": "DIR"}
    add("--load", **runs, help="directories of training runs, or of several such")
    add("--images", default=constants.TEST_DIR, help="videos to predict")
    add(
        "-f", "--frames", type=whole(1), default=constants.FRAMES, help="how many frames to predict"
    )
    add(
        "-w",
        "--windows",
        type=whole(1),
        default=constants.WINDOWS,
        help="places to start in a video",
    )
    add("-g", "--gpu", type=int, default=-1, metavar="ID", help="CUDA device; -1 is the CPU")
    usual = "what convolutions multiply: tf32 on a GPU, float32 on a CPU unless told"
    add("--dtype", choices=constants.DTYPES, help=usual)
    add("--by", default="psnr", metavar="METRIC", help="what a leaderboard is sorted by")
    add("--area", choices=("whole", "moving"), default="moving", help="where it is measured")
    add(
        "-o",
        "--out",
        metavar="DIR",
        help="where it goes, else test/ in the run, leaderboard/ for several",
    )
    add("--best", action="store_true", help="test what did best on the test clips, not the last")
    add("--export", metavar="FILE", help="instead, write the network to this .safetensors file")
    return parser.parse_args(argv)


@one_line
def main(argv=None):
    options = parse(argv)
    runs = rundir.find_runs(options.load)
    records = [rundir.read_options(run) for run in runs]
    if options.export:
        return export(runs, records, options)

    from tqdm import tqdm

    from utils import leaderboard
    from utils.conventions import CONVENTIONS
    from utils.device import memory_for, open_device
    from utils.frames import Look
    from utils.metrics import METRICS
    from utils.stack import chainer
    from utils.stack.precision import using_dtype
    from utils.videos import find_videos

    if options.by not in {**METRICS, **CONVENTIONS}:
        known = ", ".join({**METRICS, **CONVENTIONS})
        raise UserError(f"--by {options.by}: no such metric; choose from {known}")
    device = open_device(options.gpu)
    channels = {record["model"]["channels"] for record in records}
    if len(channels) > 1:
        raise UserError("--load has networks for grey frames, others for colour: test them apart")
    videos = find_videos(options.images, look=Look(gray=channels == {1}))
    # All runs predict the same frames, whatever past each needs.
    history = max(record["model"]["history"] for record in records)
    single = len(runs) == 1
    default = runs[0] / "test" if single else Path(constants.LEADERBOARD_DIR)
    out = Path(options.out or default)

    entries = []
    fastest = chainer.using_config("autotune", True)  # of cuDNN's engines, by trial
    with using_dtype(options.dtype, device), fastest:
        for run, record in zip(tqdm(runs, unit="run", disable=None), records, strict=True):
            place = out if single else out / run.name
            with memory_for("give smaller frames or leave -g out"):
                entries.append(examine_run(run, record, device, videos, history, options, place))
    if single:
        return
    entries = leaderboard.ranked(leaderboard.with_copy(entries), options.by, options.area)
    leaderboard.save_csv(out / "leaderboard.csv", entries)
    leaderboard.save_json(out / "leaderboard.json", vars(options), entries)
    leaderboard.save_plot(out / "leaderboard.png", entries, options.by)
    text = leaderboard.table(entries, options.by, options.area)
    (out / "leaderboard.md").write_text(text + "\n")
    print(f"{options.by}, {options.area}, of {options.frames} predicted frames:\n\n{text}\n")
    print(f"more in {out}")


def examine_run(run, record, device, videos, history, options, out):
    """Test one run, leave its numbers with its pictures in `out` -> its leaderboard.Entry."""
    from utils import cost, gallery, report
    from utils.evaluation import examine
    from utils.leaderboard import Entry

    model = load_model(run, record, options.best)
    model.to_device(device)
    judged, examples, seconds = examine(
        model, device, videos, history, options.frames, options.windows
    )
    means = report.average(list(judged.values()))
    conditions = {
        "run": record,
        "images": options.images,
        "videos": len(examples),
        "windows": len(judged),
        "frames": options.frames,
        "versions": rundir.versions(),
    }
    out.mkdir(parents=True, exist_ok=True)
    for video, *example in examples:
        gallery.animate(out / f"{video.replace('/', '_')}.gif", *example)
    gallery.contact_sheet(out / "contact_sheet.png", examples)
    report.save_csv(out / "metrics.csv", judged)
    report.save_json(out / "metrics.json", conditions, means)
    print(f"{run}: means over {len(judged)} windows of {len(examples)} videos; more in {out}")
    print(report.table(means))
    return Entry(
        run.name,
        means,
        parameters=cost.parameters(model),
        flops=cost.flops(model, videos[0].size) // model.horizon,
        seconds=seconds,
        **rundir.training_cost(run),
    )


def load_model(run, record, best):
    """The network of a run's directory with its last weights or its best."""
    import models
    from utils.weights import load_weights

    try:
        model = models.create(**record["model"])
    except (ValueError, TypeError) as error:
        raise UserError(f"{run}: of another version of this program ({error})") from None
    load_weights(run / (rundir.BEST if best else rundir.MODEL), model)
    return model


def export(runs, records, options):
    """Write the network of a single run for other programs to read."""
    from utils.weights import SAFETENSORS, save_weights

    if len(runs) > 1 or not options.export.endswith(SAFETENSORS):
        raise UserError(f"--export {options.export}: give a name in {SAFETENSORS}, a single --load")
    try:
        save_weights(options.export, load_model(runs[0], records[0], options.best))
    except OSError as error:
        raise UserError(f"--export {reason(error)}: cannot be written") from None
    print(f"{options.export}: the network of {runs[0]}")


if __name__ == "__main__":
    main()
