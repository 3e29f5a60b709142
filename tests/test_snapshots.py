"""Snapshots: kept, found again, refused."""

import json

import numpy as np
import pytest

from utils import rundir
from utils.archive import Archive, write_archive
from utils.errors import Diverged, UserError
from utils.snapshots import last_good, resume
from utils.stack import L, chainer
from utils.trainer import Trainer
from utils.weights import arrays_of


class Clips(chainer.dataset.Iterator):
    """Nothing to learn from; where it is goes with a snapshot."""

    epoch = 0
    position = 0

    def serialize(self, serializer):
        self.position = int(serializer("position", self.position))


class Chance(chainer.training.updaters.StandardUpdater):
    """Gradients by chance, from NumPy's global generator."""

    def update_core(self):
        self.get_iterator("main").position += 1
        optimizer = self.get_optimizer("gen")
        for param in optimizer.target.params():
            param.grad = self.chance(*param.shape)
        chainer.report({"loss": self.chance()}, optimizer.target)
        optimizer.update()

    def chance(self, *shape):
        return self.device.send(np.asarray(np.random.rand(*shape), np.float32))


def training(out, iterations=9, units=3, device="@numpy", kept=2):
    """A Trainer that writes a snapshot each 2 iterations, an entry of its log each 3."""
    np.random.seed(0)
    gen = chainer.Chain(a=L.Linear(2, units), b=L.Linear(units, 1))
    optimizer = chainer.optimizers.Adam().setup(gen)
    updater = Chance(Clips(), {"gen": optimizer}, device=device)
    trainer = Trainer(updater, out, iterations, report_every=3, snapshot_every=2, kept=kept)
    out.mkdir(exist_ok=True)
    return trainer


def state(trainer):
    return {n: a for n, a in arrays_of(trainer).items() if "elapsed" not in n and "log" not in n}


def log(out):
    entries = json.loads((out / rundir.LOG).read_text())
    return [{**entry, "elapsed_time": 0} for entry in entries]


def numbers(out):
    return [int(p.name.removeprefix(rundir.SNAPSHOT)) for p in rundir.snapshots(out)]


def refused(trainer):
    with pytest.raises(UserError) as caught:
        resume(trainer)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("stop", [1, 3, 4, 6])
def test_chance_position_optimiser_log_go_on_to_the_bit(tmp_path, stop):
    whole = training(tmp_path / "whole")
    whole.run()
    training(tmp_path / "halves", iterations=stop).run()
    (tmp_path / "halves" / rundir.LOG).unlink(missing_ok=True)
    halves = training(tmp_path / "halves")
    np.random.seed(1)
    resume(halves)
    halves.run()
    wanted, found = state(whole), state(halves)
    assert wanted.keys() == found.keys()
    assert [name for name in wanted if not np.array_equal(wanted[name], found[name])] == []
    if stop % 3 == 0:  # the last iteration of a run is logged, too
        assert log(tmp_path / "halves") == log(tmp_path / "whole")


def test_the_last_few_are_kept(tmp_path):
    training(tmp_path).run()
    assert numbers(tmp_path) == [9, 8]


def test_a_snapshot_has_what_others_did_in_its_iteration(tmp_path):
    class Count(chainer.training.Extension):
        calls = 0

        def __call__(self, trainer):
            self.calls += 1

        def serialize(self, serializer):
            self.calls = int(serializer("calls", self.calls))

    whole, resumed, count = training(tmp_path, 4), training(tmp_path), Count()
    whole.extend(Count(), name="count")
    whole.run()
    resumed.extend(count, name="count")
    resume(resumed)
    assert count.calls == 4


def test_old_snapshots_stay_until_the_next_is_written(tmp_path, monkeypatch):
    training(tmp_path, iterations=4).run()

    def full(path, arrays):
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr("utils.snapshots.write_archive", full)
    trainer = training(tmp_path)
    resume(trainer)
    with pytest.raises(UserError, match="snapshot_iter_6: No space left .*snapshot_iter_4"):
        trainer.run()
    assert numbers(tmp_path) == [4, 2]
    assert last_good(tmp_path) == tmp_path / "snapshot_iter_4"


def test_damaged_newer_ones_push_none_out(tmp_path, capsys):
    training(tmp_path, iterations=4).run()
    for k in (21, 22, 23):
        (tmp_path / f"snapshot_iter_{k}").write_bytes(b"damaged")
    trainer = training(tmp_path)
    capsys.readouterr()
    resume(trainer)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 4 and all("skipped" in line for line in told[:3])
    assert told[3] == f"resumed from {tmp_path / 'snapshot_iter_4'}"
    trainer.run()
    assert numbers(tmp_path) == [23, 22, 21, 9, 8]
    assert last_good(tmp_path) == tmp_path / "snapshot_iter_9"


def test_where_all_are_damaged_nothing_is_begun_anew(tmp_path):
    training(tmp_path, iterations=4).run()
    for path in rundir.snapshots(tmp_path):
        path.write_bytes(path.read_bytes()[:-1])
    assert "none of its snapshots can be read; restore one" in refused(training(tmp_path))


def test_where_none_is_the_run_starts_afresh_and_says_so(tmp_path, capsys):
    resume(training(tmp_path))
    assert "starting from scratch" in capsys.readouterr().err


def test_the_snapshot_of_another_network_is_told_by_its_parameters(tmp_path):
    training(tmp_path, iterations=2).run()
    message = refused(training(tmp_path, units=4))
    assert "--optimizer or version (9 of" in message
    assert "float32 3x2, float32 4x2 here" in message


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    trainer = training(tmp_path)
    trainer.updater.get_optimizer("gen").target.a.W.array[0, 0] = np.inf
    with pytest.raises(Diverged, match="iteration 2 diverged: updater/model:gen/a/W .*none yet"):
        trainer.run()
    assert numbers(tmp_path) == []


@pytest.mark.parametrize(
    "name, value",
    [
        ("extensions/log/state", "[[[["),
        ("extensions/log/state", "[" * 100_000),
        ("extensions/log/state", "7"),
        ("extensions/log/state", np.zeros(3)),
        ("extensions/randomness/keys", np.zeros(7, np.uint32)),
        ("extensions/randomness/position", "x"),
        ("_snapshot_elapsed_time", np.zeros((2, 2))),
    ],
)
def test_a_forged_snapshot_is_refused(tmp_path, name, value):
    training(tmp_path, iterations=2).run()
    path = tmp_path / "snapshot_iter_2"
    with Archive(path, 10**6) as archive:
        arrays = {n: archive[n] for n in archive.forms}
    assert name in arrays
    write_archive(path, {**arrays, name: np.asarray(value)})
    assert "not a snapshot" in refused(training(tmp_path))


def test_numpy_opens_a_snapshot(tmp_path):
    training(tmp_path, iterations=2).run()
    with np.load(tmp_path / "snapshot_iter_2") as arrays:
        assert arrays["updater/model:gen/a/W"].shape == (3, 2)
        assert all(not arrays[name].dtype.hasobject for name in arrays.files)


@pytest.mark.gpu
@pytest.mark.parametrize("devices", [("@cupy:0", "@numpy"), ("@numpy", "@cupy:0")])
def test_a_snapshot_changes_between_gpu_and_cpu(gpu, tmp_path, devices):
    first, second = (training(tmp_path, iterations=4, device=device) for device in devices)
    first.run()
    resume(second)
    wanted, found = arrays_of(first.updater), arrays_of(second.updater)
    assert all(np.array_equal(wanted[name], found[name]) for name in wanted)
    second.iterations = 6
    second.run()


def test_a_renamed_snapshot_is_refused(tmp_path):
    training(tmp_path / "out", iterations=2).run()
    (tmp_path / "out/snapshot_iter_2").rename(tmp_path / "out/snapshot_iter_900")
    assert "900: holds iteration 2; rename it" in refused(training(tmp_path / "out"))
