"""Which architecture predicts best for the same data, time and number of test frames?

    python benchmarks/leaderboard.py WORK --images NAME=FOLDER ... --minutes 1

trains each architecture that long on clips of FOLDER/train, compares them on FOLDER/test, all in
WORK/NAME, and prints one JSON line. `make leaderboard` records the data, runs this and writes
docs/leaderboard.md.
"""

import json
import os
import platform
import subprocess
import sys
import textwrap
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where models is
from utils.errors import UserError, report_errors, writing_to
from utils.usage import Parser, checked, integer, number

ROOT = Path(__file__).resolve().parents[1]
CLIPS, TEST_CLIPS = 20_000, 200
ALWAYS = ("--lr-gen", "1e-3", "--validate-every", "1000000", "--report-every", "5")


def named_folder(text):
    """NAME=FOLDER as (name, Path); ValueError for another text or a folder that is not there."""
    name, _, folder = text.partition("=")
    if not name or "/" in name or not folder or not Path(folder).is_dir():
        raise ValueError
    return name, Path(folder)


@report_errors
def main(argv=None):
    parser = Parser(__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="where clips, runs and tables go")
    pair = {"type": checked("NAME=FOLDER, a folder that is there", named_folder), "nargs": "+"}
    parser.add_argument("--images", **pair, required=True, metavar="NAME=FOLDER")
    parser.add_argument("--minutes", type=number(0), default=1.0, help="of training for each")
    parser.add_argument("--frames", type=integer(1, 9999), default=8, help="predicted recursively")
    parser.add_argument("--report", type=Path, help="Markdown file for the tables")
    options = parser.parse_args(argv)

    import models

    tables, found = {}, {}
    for name, images in options.images:
        work = options.work / name
        for split, count in (("train", CLIPS), ("test", TEST_CLIPS)):
            if not (work / f"{split}clips").exists():
                place = ("--images", images / split, "-o", work / f"{split}clips")
                run("process_data.py", "-n", count, "--split", split, *place)
        for arch in models.builders():
            train(arch, work, options.minutes)
        out = work / "compared"
        test = ("--images", images / "test", "-f", options.frames, "-w", 2, "-o", out)
        run("test.py", "--load", work / "runs", *test)
        tables[name] = (out / "leaderboard.md").read_text()
        ranking = json.loads((out / "leaderboard.json").read_text())["runs"]
        found[name] = [entry["name"] for entry in ranking]
    if options.report:
        with writing_to(options.report):
            options.report.write_text(report(tables, options))
    print(json.dumps({"minutes": options.minutes, "ranking": found}))


def train(arch, work, minutes):
    """Train one architecture; where it or its discriminators have widths, the small ones."""
    import models

    adversarial = models.create(arch, 4, 1, 3, (32, 32)).adversarial
    small = ("--width", "small") if adversarial or "width" in models.own_options(arch) else ()
    nothing = ("-n", 1) if arch == "last-frame" else ("--minutes", minutes)
    data = ("-d", work / "trainclips", "--test-data", work / "testclips")
    run("train.py", "--arch", arch, *data, "-o", work / "runs" / arch, *small, *nothing, *ALWAYS)


def run(script, *arguments):
    """Run a script of the project, its words on stderr; UserError if it fails, having said why."""
    command = [sys.executable, ROOT / script, *map(str, arguments)]
    status = subprocess.run(command, stdout=sys.stderr).returncode
    if status:
        raise UserError(f"{script} ended with status {status}: fix what it reports above")


def report(tables, options):
    """The tables with the conditions they were made under, as Markdown."""
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    conditions = f"""Every architecture of `models/`, trained for {60 * options.minutes:g} seconds
        each on {os.cpu_count()} CPU cores ({machine}, {time.strftime("%Y-%m-%d")}), small feature
        maps where it has them, on {CLIPS:,} clips of 32x32 pixels, 4 past frames and 1 future one,
        Adam 1e-3, otherwise as train.py does unless told. Tested on full frames, {options.frames}
        predicted recursively, 2 places in each test video. PSNR in dB over the moving area, of the
        first predicted frame, the mean of all and the last. Made by `make leaderboard`: so short a
        training tells which model learns fast, not which is best in the end."""
    text = f"# Leaderboard\n\n{textwrap.fill(' '.join(conditions.split()), 100)}\n"
    for name, table in tables.items():
        text += f"\n## {name}\n\n{table}"
    return text


if __name__ == "__main__":
    main()
