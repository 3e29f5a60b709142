"""Two thousand damaged files: each is refused in one line or loads as the original does."""

import shutil

import numpy as np
import pytest

import models
from tests.stores import make_store, noise
from utils import rundir
from utils.errors import UserError
from utils.snapshots import resume
from utils.stack import chainer
from utils.store import ClipStore
from utils.trainer import Trainer
from utils.weights import arrays_of, load_weights, save_weights

MUTANTS = 500  # of each kind of file
MODEL = {"arch": "multiscale", "history": 2, "horizon": 1, "channels": 3, "size": [8, 8]}
MODEL |= {"pyramid": "4-8", "width": "small"}


def mutants(content, seed):
    """MUTANTS damaged copies of bytes: bits flipped, stretches lost, repeated, blanked, moved."""
    random = np.random.default_rng(seed)
    for _ in range(MUTANTS):
        content_now = bytearray(content)
        for _ in range(random.integers(1, 4)):
            if not content_now:
                break
            start = int(random.integers(len(content_now)))
            length = int(2 ** random.uniform(0, np.log2(len(content_now) + 1)))
            stretch = content_now[start : start + length]
            kind = random.integers(6)
            if kind == 0:
                content_now[start] ^= 1 << int(random.integers(8))
            elif kind == 1:
                del content_now[start : start + length]
            elif kind == 2:
                content_now[start:start] = stretch
            elif kind == 3:
                content_now[start : start + length] = bytes(len(stretch))
            elif kind == 4:
                content_now[start : start + length] = random.bytes(len(stretch))
            else:
                del content_now[start:]
        yield bytes(content_now)


def loads_equal_or_not_at_all(path, load, seed):
    """Damage the file at `path` in many ways -> how many of the mutants were refused."""
    content, wanted, refused = path.read_bytes(), load(), 0
    for mutant in mutants(content, seed):
        path.write_bytes(mutant)
        try:
            found = load()
        except UserError as error:
            assert "\n" not in str(error)
            refused += 1
            continue
        assert same(wanted, found)
    path.write_bytes(content)
    assert same(wanted, load())
    return refused


def same(a, b):
    """Whether two dicts of arrays, or two other things, are equal."""
    if not isinstance(a, dict):
        return np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b
    return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)


def network():
    return models.create(**MODEL)


def copied(chain):
    return {name: array.copy() for name, array in arrays_of(chain).items()}


def test_models(tmp_path):
    path, target = tmp_path / "a.model", network()
    save_weights(path, network())

    def load():
        load_weights(path, target)
        return copied(target)

    assert loads_equal_or_not_at_all(path, load, 1) > 0.9 * MUTANTS


class Position(chainer.dataset.Iterator):
    epoch = 0

    def serialize(self, serializer):
        serializer("position", 0)


def test_snapshots(tmp_path):
    optimizer = chainer.optimizers.Adam().setup(network())
    updater = chainer.training.updaters.StandardUpdater(Position(), {"gen": optimizer})
    trainer = Trainer(updater, tmp_path, 3, report_every=1, snapshot_every=1, kept=1)
    trainer._start_at = 0
    trainer.snapshot(trainer)
    (path,) = rundir.snapshots(tmp_path)

    def load():
        resume(trainer)
        return copied(updater)

    assert loads_equal_or_not_at_all(path, load, 2) > 0.9 * MUTANTS


def test_options(tmp_path):
    record = {"options": {"seed": 3}, "model": MODEL, "data": {"fingerprint": "7"}}
    rundir.write_record(tmp_path, record)

    def load():
        return rundir.read_record(tmp_path)

    assert loads_equal_or_not_at_all(tmp_path / rundir.OPTIONS, load, 3) > 0.9 * MUTANTS


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path / "clips", noise(6, 3, (8, 8)), history=2).path


def test_stores(store, tmp_path):
    def load():
        opened = ClipStore.open(store)
        clips = opened.read(np.arange(len(opened)))
        shape = (opened.history, opened.horizon)
        return {"clips": clips, "shape": shape, "fingerprint": opened.fingerprint}

    files = sorted(path for path in store.rglob("*") if path.is_file())
    original = shutil.copytree(store, tmp_path / "original")
    assert len(files) == 2
    for seed, path in enumerate(files):
        assert loads_equal_or_not_at_all(path, load, seed) > 0.9 * MUTANTS
        assert path.read_bytes() == (original / path.relative_to(store)).read_bytes()
