"""A run's directory."""

import json

import pytest

from utils import rundir
from utils.errors import UserError


def test_options_come_back_with_versions_and_commit(tmp_path):
    rundir.write_options(tmp_path, {"options": {"seed": 3}, "model": {"arch": "x"}})
    record = rundir.read_options(tmp_path)
    assert record["options"] == {"seed": 3} and record["model"] == {"arch": "x"}
    assert record["versions"]["chainer"] == "7.8.1"
    assert "commit" in record
    assert [p.name for p in tmp_path.iterdir()] == [rundir.OPTIONS]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"options": 1}', "\xff"])
def test_a_damaged_record_is_refused(tmp_path, text):
    (tmp_path / rundir.OPTIONS).write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match="not the options of a run"):
        rundir.read_options(tmp_path)


def test_a_directory_without_a_run_says_so(tmp_path):
    with pytest.raises(UserError, match="no run there"):
        rundir.read_options(tmp_path / "nowhere")


def test_snapshots_are_listed_newest_first(tmp_path):
    for name in ("snapshot_iter_90", "snapshot_iter_1000", "snapshot_iter_200", "snapshot_iter_x"):
        (tmp_path / name).touch()
    assert [p.name for p in rundir.snapshots(tmp_path)] == [
        "snapshot_iter_1000",
        "snapshot_iter_200",
        "snapshot_iter_90",
    ]


def test_a_trained_run_is_not_overwritten(tmp_path):
    rundir.claim(tmp_path / "new", resume=False)
    (tmp_path / "new" / rundir.MODEL).touch()
    rundir.claim(tmp_path / "new", resume=True)
    with pytest.raises(UserError, match="-r"):
        rundir.claim(tmp_path / "new", resume=False)


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text(json.dumps(1))
    with pytest.raises(UserError, match="cannot be made"):
        rundir.claim(tmp_path / "file", resume=False)
