"""A run's directory."""

import errno
import os
from pathlib import Path

import pytest

from utils import rundir
from utils.errors import UserError

MODEL = {"arch": "x", "history": 4, "horizon": 1, "channels": 3, "size": [8, 8], "width": None}
DATA = {"path": "clips", "fingerprint": "7"}
OPTIONS = {"seed": 0, "lr_gen": 1e-4, "pyramid": None, "data": "clips", "no_adversarial": False}


def test_options_come_back_with_versions_and_commit(tmp_path):
    rundir.write_record(tmp_path, {"options": {"seed": 3}, "model": MODEL, "data": DATA})
    record = rundir.read_record(tmp_path)
    assert record["options"] == {"seed": 3} and record["model"] == MODEL
    assert record["versions"]["chainer"] == "7.8.1"
    assert "commit" in record
    assert [p.name for p in tmp_path.iterdir()] == [rundir.OPTIONS]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"options": 1}', "\xff"])
def test_a_damaged_record_is_refused(tmp_path, text):
    (tmp_path / rundir.OPTIONS).write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match="not the options of a run"):
        rundir.read_record(tmp_path)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_record_that_is_no_file_is_refused_at_once(tmp_path, make):
    make(tmp_path / rundir.OPTIONS)
    with pytest.raises(UserError, match=r"cannot be read \(not a file\); restore it"):
        rundir.read_record(tmp_path)


def test_a_directory_without_a_run_says_so(tmp_path):
    with pytest.raises(UserError, match="no run there"):
        rundir.read_record(tmp_path / "nowhere")


def test_a_file_is_not_a_run(tmp_path):
    (tmp_path / rundir.MODEL).touch()
    with pytest.raises(UserError, match="a file; give the directory of the run"):
        rundir.read_record(tmp_path / rundir.MODEL)


def test_the_runs_of_a_folder_stand_for_it_if_all_can_be_looked_into(tmp_path, monkeypatch):
    for name in ("runs/b", "runs/a", "runs/none/deeper", "alone"):
        (tmp_path / name).mkdir(parents=True)
        rundir.write_record(tmp_path / name, {"options": {}, "model": MODEL, "data": DATA})
    (tmp_path / "runs/file").touch()
    asked = [tmp_path / name for name in ("alone", "runs")]
    found = rundir.find_runs(asked)
    assert [run.path for run in found] == [
        tmp_path / name for name in ("alone", "runs/a", "runs/b")
    ]
    assert [run.name for run in found] == ["alone", "a", "b"]
    assert all(run.record["model"] == MODEL for run in found)
    with pytest.raises(UserError, match="nowhere: no run there"):
        rundir.find_runs([*asked, tmp_path / "nowhere"])

    exists = Path.exists

    def refuse(path):
        if path.parent.name == "a":
            raise PermissionError(13, "Permission denied", str(path))
        return exists(path)

    monkeypatch.setattr(Path, "exists", refuse)  # modes of folders do not stop root
    with pytest.raises(UserError, match="cannot read .*runs/a/.*: Permission denied: make it read"):
        rundir.find_runs(asked)


def test_snapshots_are_listed_newest_first(tmp_path):
    others = (
        "004",
        "1e3",
        "\u00b2",
        "\u0664",
        "9" * 30,
        "x",
        "90.partial",
    )  # no run writes these
    for number in ("90", "1000", "0", "200", *others):
        (tmp_path / f"snapshot_iter_{number}").touch()
    assert [p.name for p in rundir.snapshots(tmp_path)] == [
        f"snapshot_iter_{number}" for number in (1000, 200, 90, 0)
    ]


@pytest.mark.parametrize(
    "changed",
    [
        *({"history": 10**9}, {"size": [8, 10**9]}, {"size": "8"}, {"channels": True}),
        *({"horizon": 0}, {"channels": 1000}),
    ],
)
def test_a_network_beyond_all_measure_is_refused(tmp_path, changed):
    rundir.write_record(tmp_path, {"options": {}, "model": MODEL | changed, "data": DATA})
    with pytest.raises(UserError, match="not the options of a run"):
        rundir.read_record(tmp_path)


@pytest.mark.parametrize("looks", [["--step 1", 2], 7, [[]]])
def test_a_network_or_looks_of_another_kind_are_refused(tmp_path, looks):
    rundir.write_record(tmp_path, {"options": {}, "model": MODEL, "data": DATA | {"looks": looks}})
    with pytest.raises(UserError, match="not the options of a run"):
        rundir.read_record(tmp_path)
    for size in ([], [8], [8, 8, 8]):
        model = MODEL | {"size": size}
        rundir.write_record(tmp_path, {"options": {}, "model": model, "data": DATA})
        with pytest.raises(UserError, match="not the options of a run"):
            rundir.read_record(tmp_path)


def test_an_edited_record_is_refused(tmp_path):
    rundir.write_record(tmp_path, {"options": {"seed": 3}, "model": MODEL, "data": DATA})
    path = tmp_path / rundir.OPTIONS
    path.write_text(path.read_text().replace('"seed": 3', '"seed": 4'))
    with pytest.raises(UserError, match="altered since"):
        rundir.read_record(tmp_path)


def test_what_a_run_was_told_is_of_the_types_of_the_options(tmp_path):
    given = {"seed": 3, "pyramid": "4-8", "data": None, "no_adversarial": True, "lr_gen": 1.0}
    rundir.write_record(tmp_path, {"options": given, "model": MODEL, "data": DATA})
    assert rundir.saved_options(tmp_path, OPTIONS) == given


@pytest.mark.parametrize(
    "given", [{"seed": "3"}, {"seed": 1.5}, {"data": ["a"]}, {"pyramid": {}}, {"lr_gen": True}]
)
def test_a_told_option_of_another_type_is_refused(tmp_path, given):
    rundir.write_record(tmp_path, {"options": given, "model": MODEL, "data": DATA})
    with pytest.raises(UserError, match=f"its --{next(iter(given))} is"):
        rundir.saved_options(tmp_path, OPTIONS)


def test_other_clips_are_worth_a_warning(tmp_path, capsys):
    rundir.warn_of_other_clips(tmp_path, DATA)
    rundir.write_record(tmp_path, {"options": {}, "model": MODEL, "data": DATA})
    rundir.warn_of_other_clips(tmp_path, DATA | {"path": "moved"})
    assert capsys.readouterr().err == ""
    rundir.warn_of_other_clips(tmp_path, DATA | {"fingerprint": "3"})
    assert capsys.readouterr().err.endswith("on other clips than those at clips\n")


def test_a_told_option_that_is_not_known_is_refused(tmp_path):
    rundir.write_record(tmp_path, {"options": {"speed": 3}, "model": MODEL, "data": DATA})
    with pytest.raises(UserError, match="another version, its --speed"):
        rundir.saved_options(tmp_path, OPTIONS)


def claim(out, resume=False):
    with rundir.claimed(out, resume):
        pass


@pytest.mark.parametrize("name", [rundir.LOG, rundir.BEST, *rundir.PLOTS, "samples.gif", "samples"])
@pytest.mark.parametrize("resume", [False, True])
def test_what_no_run_left_is_not_overwritten(tmp_path, name, resume):
    (tmp_path / "what was printed.txt").touch()  # is in nobody's way
    claim(tmp_path, resume)
    (tmp_path / name).touch()
    with pytest.raises(UserError, match=f"{name}: no run left it there; give a new --out"):
        claim(tmp_path, resume)
    rundir.write_record(tmp_path, {"options": {}, "model": MODEL, "data": DATA})
    (tmp_path / rundir.OPTIONS).write_text("{}")  # of another program
    if not resume:
        with pytest.raises(UserError, match="not the options of a run|already holds a run"):
            claim(tmp_path)


def test_reports_of_a_run_without_a_snapshot_are_not_those_of_the_next(tmp_path):
    rundir.write_record(tmp_path, {"options": {}, "model": MODEL, "data": DATA})
    (tmp_path / "samples").mkdir()
    reported = rundir.LOG, *rundir.PLOTS, "samples.gif", "samples/preview_00000002.png"
    for name in (*reported, "mine.png"):
        (tmp_path / name).touch()
    (tmp_path / "snapshot_iter_2").touch()
    claim(tmp_path, resume=True)
    assert all((tmp_path / name).exists() for name in reported)
    (tmp_path / "snapshot_iter_2").unlink()
    claim(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"options.json", "mine.png", "samples"}
    assert not any((tmp_path / "samples").iterdir())


def test_the_best_of_a_run_without_a_snapshot_is_not_overwritten(tmp_path):
    rundir.write_record(tmp_path, {"options": {}, "model": MODEL, "data": DATA})
    (tmp_path / rundir.BEST).touch()
    with pytest.raises(UserError, match="already holds a run"):
        claim(tmp_path)
    claim(tmp_path, resume=True)
    assert (tmp_path / rundir.BEST).exists()


def test_a_trained_run_is_not_overwritten(tmp_path):
    (tmp_path / rundir.MODEL).touch()
    for resume in (False, True):
        with pytest.raises(UserError, match=f"without a snapshot.*; -l {tmp_path} trains it"):
            claim(tmp_path, resume)
    (tmp_path / "snapshot_iter_2").touch()
    claim(tmp_path, resume=True)
    with pytest.raises(UserError, match="-r"):
        claim(tmp_path)


def test_one_run_at_a_time(tmp_path):
    with (
        rundir.claimed(tmp_path / "run", False),
        pytest.raises(UserError, match="another"),
    ):
        claim(tmp_path / "run", resume=True)
    claim(tmp_path / "run")


def test_a_drive_without_locks_costs_a_warning(tmp_path, monkeypatch, capsys):
    def flock(*_):
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr("fcntl.flock", flock)
    claim(tmp_path / "run")
    assert "warning" in capsys.readouterr().err


def test_what_a_killed_run_was_writing_goes(tmp_path):
    (tmp_path / f"{rundir.SNAPSHOT}7.partial").touch()
    claim(tmp_path / ".", resume=True)
    assert not list(tmp_path.glob("*.partial"))


def test_a_folder_in_place_of_a_snapshot_is_told_with_the_cure(tmp_path):
    (tmp_path / f"{rundir.SNAPSHOT}7.partial").mkdir()
    with pytest.raises(UserError, match="7.partial: .*; give another place"):
        claim(tmp_path, resume=True)


def test_a_link_out_of_the_directory_is_refused(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "samples").mkdir()
    (run / "samples" / "preview_1.png").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="preview_1.png: a symbolic link"):
        claim(run, resume=True)


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        claim(tmp_path / "file")


def test_options_that_cannot_be_written_are_told_in_one_line(tmp_path):
    with pytest.raises(UserError, match="cannot be written"):
        rundir.write_record(tmp_path / "nowhere", {"options": {}, "model": MODEL, "data": DATA})


@pytest.mark.parametrize(
    "log, cost",
    [
        ('[{"iteration": 3, "elapsed_time": 1.5}]', {"iterations": 3, "training": 1.5}),
        ('[{"iteration": "x", "elapsed_time": null}]', {}),
        ('[{"iteration": 3, "elapsed_time": Infinity}]', {}),
        ('[{"iteration": Infinity, "elapsed_time": 1.5}]', {}),
        ("[]", {}),
        ("[" * 100_000, {}),
    ],
)
def test_a_log_that_tells_no_cost_is_done_without(tmp_path, log, cost):
    (tmp_path / "log").write_text(log)
    assert rundir.training_cost(tmp_path) == cost


def test_a_log_that_is_a_pipe_is_passed_over_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "log")
    assert rundir.training_cost(tmp_path) == {}


def test_training_that_a_kill_undid_is_not_counted(tmp_path):
    log = ", ".join(f'{{"iteration": {n}, "elapsed_time": {n}.5}}' for n in (2, 4, 6))
    (tmp_path / "log").write_text(f"[{log}]")
    for saved, cost in ((5, {"iterations": 4, "training": 4.5}), (1, {})):
        (tmp_path / f"{rundir.SNAPSHOT}{saved}").touch()
        assert rundir.training_cost(tmp_path) == cost
        (tmp_path / f"{rundir.SNAPSHOT}{saved}").unlink()
