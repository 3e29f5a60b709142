"""Predict the frames of test videos with a trained network: numbers, GIFs, a contact sheet."""

import argparse
from pathlib import Path

import constants
from utils import rundir
from utils.errors import UserError, one_line


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--load", default=constants.RESULT_DIR, metavar="DIR", help="directory of a training run")
    add("--images", default=constants.TEST_DIR, help="videos to predict")
    add("-f", "--frames", type=int, default=constants.FRAMES, help="how many frames to predict")
    add("-w", "--windows", type=int, default=constants.WINDOWS, help="places to start in a video")
    add("-g", "--gpu", type=int, default=-1, metavar="ID", help="CUDA device; -1 is the CPU")
    add("-o", "--out", metavar="DIR", help="where the results go; None: test/ in the run's own")
    options = parser.parse_args(argv)
    for name in ("frames", "windows"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name} {getattr(options, name)}: must not be below 1")
    options.out = Path(options.out or Path(options.load) / "test")
    return options


@one_line
def main(argv=None):
    options = parse(argv)
    record = rundir.read_options(options.load)

    from tqdm import tqdm

    import models
    from utils import gallery, report
    from utils.device import open_device
    from utils.evaluation import judge, predict, windows
    from utils.frames import find_videos
    from utils.weights import load_weights

    device = open_device(options.gpu)
    model = models.create(**record["model"])
    load_weights(Path(options.load) / rundir.MODEL, model)
    model.to_device(device)

    videos = find_videos(options.images)
    options.out.mkdir(parents=True, exist_ok=True)
    judged, examples = {}, []
    for video in tqdm(videos, unit="video", disable=None):
        liveliest = -1.0
        for start, clip in windows(video, model.history + options.frames, options.windows):
            predicted = predict(model, device, clip, options.frames)
            judged[video.name, start] = found = judge(predicted, clip)
            if (share := found["model", "moving"]["moving"].mean()) > liveliest:
                liveliest, example = share, (video.name, clip, predicted)
        if liveliest >= 0:
            examples.append(example)
            gallery.animate(options.out / f"{video.name.replace('/', '_')}.gif", *example[1:])
    if not judged:
        raise UserError(
            f"{options.images}: no video has the {model.history + options.frames} frames that "
            f"--frames {options.frames} needs; ask for fewer or give longer videos"
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
    gallery.contact_sheet(options.out / "contact_sheet.png", examples)
    report.save_csv(options.out / "metrics.csv", judged)
    report.save_json(options.out / "metrics.json", conditions, means)
    print(report.table(means))
    print(f"means over {len(judged)} windows of {len(examples)} videos; more in {options.out}")


if __name__ == "__main__":
    main()
