"""The stream of training batches: every clip once an epoch, the same after a resume."""

import numpy as np
import pytest

from utils.batches import ClipIterator, to_past_and_future
from utils.stack import chainer


class Numbered:
    """A store of clips that are all their own number."""

    def __init__(self, count):
        self.clips = np.arange(count, dtype=np.uint8)[:, None]
        self.shape = (1,)

    def __len__(self):
        return len(self.clips)

    def read(self, indices):
        return self.clips[indices]


@pytest.fixture
def iterator():
    made = []

    def make(count=10, batch_size=4, seed=0):
        made.append(ClipIterator(Numbered(count), batch_size, seed))
        return made[-1]

    yield make
    for each in made:
        each.finalize()


def drawn(iterator, batches):
    return np.concatenate([iterator.next() for _ in range(batches)]).ravel().tolist()


def test_every_clip_comes_once_an_epoch_in_a_new_order(iterator):
    clips = drawn(iterator(count=10, batch_size=4), 5)
    first, second = clips[:10], clips[10:20]
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second


def test_the_seed_alone_decides_the_order(iterator):
    assert drawn(iterator(seed=1), 5) == drawn(iterator(seed=1), 5)
    assert drawn(iterator(seed=1), 5) != drawn(iterator(seed=2), 5)


@pytest.mark.parametrize("at_once", [1, 4, 9])
def test_batches_do_not_depend_on_how_many_are_read_at_once(iterator, monkeypatch, at_once):
    clips = drawn(iterator(count=100, batch_size=7), 40)
    monkeypatch.setattr("utils.batches.READ_BYTES", at_once * 7)
    some = iterator(count=100, batch_size=7)
    assert some.at_once == at_once and drawn(some, 40) == clips


def test_no_more_than_an_epoch_is_read_at_once(iterator):
    assert iterator(count=100, batch_size=7).at_once == 100 // 7


@pytest.mark.parametrize("before", [0, 1, 2, 3, 7])
def test_a_saved_iterator_goes_on_where_it_was(iterator, before, tmp_path):
    first, second = iterator(count=50), iterator(count=50)
    drawn(first, before) if before else None
    chainer.serializers.save_npz(tmp_path / "iterator.npz", first)
    drawn(second, 3)
    chainer.serializers.load_npz(tmp_path / "iterator.npz", second)
    assert drawn(first, 6) == drawn(second, 6)
    assert (first.epoch, first.epoch_detail) == (second.epoch, second.epoch_detail)


def test_saving_does_not_throw_away_what_was_read_ahead(iterator, monkeypatch, tmp_path):
    monkeypatch.setattr("utils.batches.READ_BYTES", 4 * 4)
    asked = []
    saved, other = iterator(count=50), iterator(count=50)
    read = saved.store.read
    saved.store.read = lambda numbers: asked.extend(numbers.tolist()) or read(numbers)
    for _ in range(12):
        assert drawn(saved, 1) == drawn(other, 1)
        chainer.serializers.save_npz(tmp_path / "iterator.npz", saved)
    saved.finalize()  # waits for what is read ahead
    assert len(asked) == (12 + 4) * 4


def test_epochs_are_counted_as_chainers_own_iterators_count_them(iterator):
    ours = iterator(count=10, batch_size=4)
    theirs = chainer.iterators.SerialIterator(list(range(10)), 4, shuffle=False)
    for _ in range(12):
        ours.next(), theirs.next()
        for name in ("epoch", "is_new_epoch", "epoch_detail"):
            assert getattr(ours, name) == getattr(theirs, name), name
    assert len(ours.orders) <= 2  # each is as long as the data


def test_a_batch_may_be_larger_than_the_store(iterator):
    assert sorted(drawn(iterator(count=3, batch_size=7), 1)[:3]) == [0, 1, 2]


def test_clips_become_past_and_future_in_the_range_of_the_network():
    clips = np.arange(256, dtype=np.uint8)[:240].reshape(2, 5, 3, 2, 4)
    past, future = to_past_and_future(4)(clips, chainer.get_device("@numpy"))
    assert past.shape == (2, 4, 3, 2, 4) and future.shape == (2, 1, 3, 2, 4)
    assert past.dtype == future.dtype == np.float32
    assert past[0, 0, 0, 0, 0] == -1
    assert np.concatenate([past, future], axis=1) == pytest.approx(clips / 127.5 - 1, abs=1e-6)


def test_a_place_before_the_first_clip_is_refused(iterator):
    with pytest.raises(ValueError, match="clip -7"):
        iterator().serialize(lambda name, value: -7)
