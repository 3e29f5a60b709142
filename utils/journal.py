"""What an unfinished run has done so far, kept beside the clips it has cut."""

import contextlib
import hashlib
import json

from utils.errors import UserError
from utils.store import UNFINISHED, ClipStore

PLAN = "plan"
PLANNED = {"run": str, "start": int}  # the fields of a plan and their types
REFUSED = "refused"  # noted if a file stopped the run; repaired, it would lead to other clips


def identity(value):
    """A short digest of anything that JSON can write."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class Journal:
    """Notes about one unfinished run: its plan, and the outcome of each of its tasks."""

    def __init__(self, store):
        self.store = store

    def recall(self, name):
        """The value noted under a name, of JSON types; None if there is none or it is damaged."""
        text = self.store.read_file(f"{UNFINISHED}{name}")
        with contextlib.suppress(ValueError, LookupError, TypeError, RecursionError):
            noted = json.loads(text)
            if noted["digest"] == identity(noted["value"]):
                return noted["value"]
        return None

    def note(self, name, value):
        """Keep a value, of JSON types, under a name; it outlives this process."""
        noted = {"value": value, "digest": identity(value)}
        self.store.write_file(f"{UNFINISHED}{name}", json.dumps(noted).encode())

    def plan(self):
        """The plan, {"run": identity, "start": clips before it}; None if there is none, or one of
        another version of this program."""
        plan = self.recall(PLAN)
        fits = isinstance(plan, dict) and {k: type(v) for k, v in plan.items()} == PLANNED
        return plan if fits else None

    def check_plan(self, plan):
        """UserError unless this is still the plan: a cluster's workers may go on with a cancelled
        run when another one has taken its place."""
        if self.recall(PLAN) != plan:
            raise UserError(
                f"{self.store.path}: another run has taken the place of this one, or its "
                f"{UNFINISHED}{PLAN} was removed; give another --out"
            )

    def forget(self, name):
        """Forget what was noted under a name."""
        self.store.write_file(f"{UNFINISHED}{name}", None)


def open_store(path, record, kind, existing, resume):
    """(the ClipStore for a run, whether the run is finished already).

    `record`: describes the run. `kind`: (history, horizon, size, channels) of its clips.

    With `resume`, or with "append" for `existing`, an unfinished run of the same record is
    continued, and any other is a UserError, unless a file stopped it: nothing that it has cut is
    thrown away unasked. Otherwise `existing` says what becomes of clips that are there: "append",
    "overwrite", or None, for which they are a UserError.
    """
    run, store = identity(strip(record)), ClipStore.find(path)
    if store is not None:
        if resume or existing == "append":
            going = go_on(store, run, record["clips"], resume)
            if going is not None:
                return going
        if not len(store) and existing is None:
            if Journal(store).recall(REFUSED):
                existing = "overwrite"
            elif resume:  # it was killed before it had a plan
                existing = "append"
    store = ClipStore.prepare(path, existing, *kind)
    Journal(store).note(PLAN, {"run": run, "start": len(store)})
    return store, False


def go_on(store, run, clips, resume):
    """(the ClipStore in which a run of this identity goes on, whether it is finished already), None
    if there is no such run.

    clips: how many it makes. resume: whether it may replace clips, or have ended already. UserError
    for another run that would be thrown away.
    """
    journal, target = Journal(store), store.target()
    plan = journal.plan()
    if plan and plan["run"] == run and (resume or target is store):
        finished = len(target) == plan["start"] + clips
        if finished:  # but its notes were not deleted
            store.drop_unfinished()
        else:
            target.check_shards()
            journal.forget(REFUSED)
        return target, finished
    # The notes of a finished run are still there if it was killed before it deleted them.
    unfinished = plan and (target is not store or plan["start"] == len(store))
    if unfinished and not journal.recall(REFUSED):
        replace = "--overwrite without --resume"
        drop = f"remove {store.path}/{UNFINISHED}{PLAN} to drop it" if len(store) else replace
        raise UserError(
            f"{store.path} has an unfinished run with other options or videos, or of another "
            f"version of this program: give those again with --resume, or {drop}"
        )
    if resume and any(identity(strip(done)) == run for done in store.runs[-1:]):
        return store, True
    return None


def strip(record):
    """A record of a run without what may change before it is resumed."""
    return {key: value for key, value in record.items() if key != "versions"}
