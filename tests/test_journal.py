"""What becomes of a run that was interrupted, or of one that is done."""

import os

import numpy as np
import pytest

from utils.errors import UserError
from utils.journal import REFUSED, Journal, open_store
from utils.store import ClipStore

RECORD = {"clips": 5, "seed": 0, "versions": {"numpy": "2.4"}}
OTHER = {**RECORD, "seed": 1}
SHAPE = 2, 1, (4, 6), 3


def finish(store, clips, record):
    """Write so many black clips, declare them finished."""
    store.write(0, np.zeros((clips, 3, 3, 4, 6), np.uint8), clips)
    store.commit(clips, record)


def test_a_run_killed_before_it_had_a_plan_can_be_resumed(tmp_path):
    ClipStore.create(tmp_path, *SHAPE)
    with pytest.raises(UserError, match="unfinished run: give the same command with --resume"):
        open_store(tmp_path, RECORD, SHAPE, None, False)
    store, finished = open_store(tmp_path, RECORD, SHAPE, None, True)
    assert (len(store), finished, Journal(store).recall("plan")["start"]) == (0, False, 0)


@pytest.mark.parametrize("existing", [None, "append", "overwrite"])
@pytest.mark.parametrize("resume", [False, True])
def test_a_run_killed_while_it_wrote_its_first_file_is_no_hindrance(tmp_path, existing, resume):
    (tmp_path / "zarr.json.__lock").write_bytes(b"cut off")
    with pytest.raises(UserError, match="no clips at"):
        ClipStore.open(tmp_path)
    store, finished = open_store(tmp_path, RECORD, SHAPE, existing, resume)
    assert (len(store), finished) == (0, False)
    assert {path.name for path in tmp_path.iterdir()} == {"zarr.json", "unfinished.plan"}


def test_the_same_run_goes_on_with_other_versions_but_no_other_run(tmp_path):
    store, _ = open_store(tmp_path, RECORD, SHAPE, None, False)
    Journal(store).note("task", 7)
    for existing, resume in ((None, True), ("append", False)):
        store, finished = open_store(tmp_path, {**RECORD, "versions": {}}, SHAPE, existing, resume)
        assert not finished and Journal(store).recall("task") == 7
    for existing, resume in ((None, True), ("append", False)):
        told = "unfinished run with other options.* those again with --resume, or --overwrite"
        with pytest.raises(UserError, match=told):
            open_store(tmp_path, OTHER, SHAPE, existing, resume)
        assert Journal(store).recall("task") == 7
    store, _ = open_store(tmp_path, OTHER, SHAPE, "overwrite", False)
    assert Journal(store).recall("task") is None


@pytest.mark.parametrize("interrupted", ["append", "overwrite"])
def test_adding_to_clips_does_not_drop_an_unfinished_run(tmp_path, interrupted):
    finish(ClipStore.create(tmp_path, *SHAPE), 5, RECORD)
    store, _ = open_store(tmp_path, OTHER, SHAPE, interrupted, False)
    Journal(store).note("task", 7)
    others = [RECORD] if interrupted == "append" else [RECORD, OTHER]
    for record in others:
        with pytest.raises(UserError, match=r"remove .*/unfinished\.plan to drop it$"):
            open_store(tmp_path, record, SHAPE, "append", False)
    store, _ = open_store(tmp_path, OTHER, SHAPE, interrupted, True)
    assert Journal(store).recall("task") == 7
    (tmp_path / "unfinished.plan").unlink()
    store, _ = open_store(tmp_path, RECORD, SHAPE, "append", False)
    assert (len(store), Journal(store).recall("task")) == (5, None)


@pytest.mark.parametrize("existing", ["append", "overwrite"])
def test_the_plan_of_a_run_killed_after_its_end_is_not_in_the_way(tmp_path, existing):
    finish(ClipStore.create(tmp_path, *SHAPE), 5, RECORD)
    store, _ = open_store(tmp_path, OTHER, SHAPE, existing, False)
    plan = Journal(store).recall("plan")
    finish(store, plan["start"] + 5, OTHER)
    there = ClipStore.find(tmp_path)
    Journal(there).note("plan", plan)
    store, finished = open_store(tmp_path, {**RECORD, "seed": 2}, SHAPE, "append", False)
    assert len(store) == len(there) and not finished


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_that_was_refused_a_file_can_be_replaced_by_any_other(tmp_path, resume):
    larger = 2, 1, (8, 6), 3
    for record, shape in ((RECORD, SHAPE), (OTHER, larger)):
        store, finished = open_store(tmp_path, record, shape, None, resume)
        assert not finished and store.shape == (3, 3, *shape[2])
        Journal(store).note("task", 7)
        Journal(store).note(REFUSED, True)
    store, _ = open_store(tmp_path, OTHER, larger, None, True)  # without --strict, say
    assert (Journal(store).recall("task"), Journal(store).recall(REFUSED)) == (7, None)
    with pytest.raises(UserError, match="unfinished run: give the same command with --resume"):
        open_store(tmp_path, RECORD, SHAPE, None, False)


@pytest.mark.parametrize("damage", [b"", b"x", b"5", b"\xff", b"{}", b'{"value": 7, "digest": ""}'])
def test_a_damaged_note_counts_as_none(tmp_path, damage):
    store, _ = open_store(tmp_path, RECORD, SHAPE, None, False)
    Journal(store).note("task", 7)
    assert Journal(store).recall("task") == 7
    for name in ("task", "plan"):
        (tmp_path / f"unfinished.{name}").write_bytes(damage)
        assert Journal(store).recall(name) is None
    store, finished = open_store(tmp_path, RECORD, SHAPE, None, True)
    assert not finished and Journal(store).recall("plan")["start"] == 0


@pytest.mark.parametrize("plan", [7, [1], "run", {}, {"run": "?"}, {"run": "1", "start": "0"}])
def test_a_plan_of_another_version_counts_as_none(tmp_path, plan):
    store, _ = open_store(tmp_path, RECORD, SHAPE, None, False)
    Journal(store).note("plan", plan)
    with pytest.raises(UserError, match="unfinished run: give the same command with --resume"):
        open_store(tmp_path, RECORD, SHAPE, None, False)
    store, finished = open_store(tmp_path, RECORD, SHAPE, None, True)
    assert not finished and Journal(store).recall("plan")["start"] == 0


def test_a_pipe_in_place_of_a_note_is_refused_without_waiting(tmp_path):
    store, _ = open_store(tmp_path, RECORD, SHAPE, None, False)
    (tmp_path / "unfinished.plan").unlink()
    os.mkfifo(tmp_path / "unfinished.plan")
    with pytest.raises(UserError, match="unfinished.plan: not a file; remove it"):
        open_store(tmp_path, RECORD, SHAPE, None, True)


def test_only_the_last_run_is_done_already(tmp_path):
    store = ClipStore.create(tmp_path, *SHAPE)
    finish(store, 5, RECORD)
    assert open_store(tmp_path, RECORD, SHAPE, None, True)[1]
    finish(ClipStore.find(tmp_path), 10, OTHER)
    assert open_store(tmp_path, OTHER, SHAPE, None, True)[1]
    with pytest.raises(UserError, match="holds 10 clips"):
        open_store(tmp_path, RECORD, SHAPE, None, True)


@pytest.mark.parametrize("existing, resume", [("append", False), (None, True)])
def test_no_run_goes_on_beside_clips_that_are_gone(tmp_path, existing, resume):
    finish(ClipStore.create(tmp_path, *SHAPE), 5, RECORD)
    open_store(tmp_path, OTHER, SHAPE, "append", False)
    (tmp_path / "c.0.0.0.0.0").unlink()
    with pytest.raises(UserError, match=r"is damaged: .*c\.0\.0\.0\.0\.0"):
        open_store(tmp_path, OTHER, SHAPE, existing, resume)
