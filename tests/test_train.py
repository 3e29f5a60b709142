"""What the options of train.py become: weights, rates, losses, batches."""

import numpy as np
import pytest

import train
from utils import losses, rundir
from utils.errors import UserError
from utils.stack import chainer
from utils.store import ClipStore

CPU = chainer.get_device("@numpy")
SMALL = ("--pyramid", "4-8", "--width", "small")


@pytest.fixture
def clips(tmp_path):
    store = ClipStore.create(tmp_path / "clips", 2, 1, (8, 8))
    store.write(0, np.random.default_rng(0).integers(0, 256, (9, 3, 3, 8, 8), np.uint8), 9)
    store.commit(9, {})
    return ClipStore.open(tmp_path / "clips")


def parse(*options):
    return train.parse(list(map(str, [*SMALL, *options])))


@pytest.mark.parametrize("flags, inputs", [((), 3 * 3), (("--single-frame-dis",), 3)])
def test_each_option_reaches_what_it_is_for(clips, flags, inputs):
    rates = "--lr-gen", 0.4, "--lr-dis", 0.1
    weights = "--loss", "l2=0.5,gdl=2,adversarial=0.25", "--alpha", 1.5
    options = parse(*flags, *rates, *weights, "-b", 4, "--seed", 7)
    options.rolled_back = 1
    _, gen = train.make_generator(options, clips)
    updater = train.make_updater(options, clips, gen, CPU)
    gen_optimizer, dis_optimizer = map(updater.get_optimizer, ("gen", "dis"))
    assert gen_optimizer.target is gen
    assert (gen_optimizer.alpha, dis_optimizer.alpha) == (0.2, 0.05)  # halved once
    assert dis_optimizer.target[0].convolutions[0].W.shape == (32, inputs, 3, 3)

    assert updater.weight == 0.25
    assert {name: weight for name, (weight, _) in updater.terms.items()} == {"l2": 0.5, "gdl": 2}
    frames = np.random.default_rng(0).uniform(-1, 1, (2, 1, 1, 3, 8, 8)).astype(np.float32)
    assert updater.terms["gdl"][1](*frames).array == losses.gdl(*frames, 1.5).array
    batches = updater.get_iterator("main")
    assert (batches.batch_size, batches.seed) == (4, 7)
    updater.finalize()


def test_a_rate_for_discriminators_that_are_not_there_is_refused(clips, tmp_path):
    """Unless a run of an earlier version, which recorded one in any case, is resumed."""
    options = parse("--no-adversarial", "-o", tmp_path)
    kept = {**vars(options), "lr_dis": train.constants.LR_DIS}
    del kept["resume"]
    model, gen = train.make_generator(options, clips)
    train.make_updater(options, clips, gen, CPU).finalize()
    assert options.lr_dis is None
    data = {"fingerprint": clips.fingerprint}
    rundir.write_options(tmp_path, {"options": kept, "model": model, "data": data})
    train.make_updater(parse("-r", "-o", tmp_path), clips, gen, CPU).finalize()
    with pytest.raises(UserError, match="--lr-dis 0.25: no discriminators"):
        train.make_updater(parse("-r", "-o", tmp_path, "--lr-dis", 0.25), clips, gen, CPU)


def test_the_record_of_an_adversarial_run_has_the_usual_rate_of_its_discriminators(clips):
    options = parse()
    _, gen = train.make_generator(options, clips)
    updater = train.make_updater(options, clips, gen, CPU)
    assert updater.get_optimizer("dis").alpha == options.lr_dis == train.constants.LR_DIS
    updater.finalize()


def test_the_seed_decides_the_first_weights(clips):
    first, same, other = (
        train.make_generator(parse("--seed", seed), clips)[1].refiners[0][0].W.array
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, same) and not np.array_equal(first, other)


def test_options_that_are_gone_are_worth_a_warning(tmp_path, capsys):
    parse("-r", "-o", tmp_path)
    assert capsys.readouterr().err == ""
    (tmp_path / "snapshot_iter_2").touch()
    parse("-r", "-o", tmp_path)
    assert capsys.readouterr().err.startswith(f"warning: {tmp_path}: options.json is missing; ")
