"""What the options of train.py become: weights, rates, losses, batches."""

import numpy as np
import pytest

import models
import train
from tests.processes import refusal_with_little_memory, run_python
from tests.stores import make_store, noise
from utils import losses, memory
from utils.errors import UserError
from utils.schedule import rate
from utils.stack import chainer

CPU = chainer.get_device("@numpy")
SMALL = ("--pyramid", "4-8", "--width", "small")


@pytest.fixture
def clips(tmp_path):
    return make_store(tmp_path / "clips", noise(9, 3, (8, 8)), history=2)


def parse(*options):
    return train.parse(list(map(str, [*SMALL, *options])))


@pytest.mark.parametrize("flags, inputs", [((), 3 * 3), (("--unconditional-dis",), 3)])
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

    assert updater.adversarial_weight == 0.25
    assert {name: weight for name, (weight, _) in updater.terms.items()} == {"l2": 0.5, "gdl": 2}
    frames = np.random.default_rng(0).uniform(-1, 1, (2, 1, 1, 3, 8, 8)).astype(np.float32)
    assert updater.terms["gdl"][1](*frames).array == losses.gdl(*frames, 1.5).array
    batches = updater.get_iterator("main")
    assert (batches.batch_size, batches.seed) == (4, 7)
    updater.finalize()


def test_a_rate_for_discriminators_that_are_not_there_is_refused(clips):
    for given in (0.25, 0):
        options = parse("--no-adversarial", "--lr-dis", given)
        _, gen = train.make_generator(options, clips)
        with pytest.raises(UserError, match=f"--lr-dis {given:.1f}.*: no discriminators"):
            train.make_updater(options, clips, gen, CPU)


def test_the_discriminators_have_a_rate_of_their_own(clips):
    for arguments, expected in (((), 2e-5), (("--lr-dis", 0.25), 0.25)):
        options = parse(*arguments)
        _, gen = train.make_generator(options, clips)
        updater = train.make_updater(options, clips, gen, CPU)
        assert updater.get_optimizer("dis").alpha == expected
        updater.finalize()


@pytest.mark.parametrize(
    "name, kind, rates",
    [
        ("adam", "Adam", (2e-4, 2e-5)),
        ("rmsprop", "RMSprop", (2e-4, 2e-5)),
        ("sgd", "SGD", (0.04, 0.02)),
    ],
)
def test_each_optimizer_has_rates_of_its_own(clips, name, kind, rates):
    options = parse("--optimizer", name)
    _, gen = train.make_generator(options, clips)
    updater = train.make_updater(options, clips, gen, CPU)
    optimizers = [updater.get_optimizer(net) for net in ("gen", "dis")]
    assert all(type(one) is getattr(chainer.optimizers, kind) for one in optimizers)
    assert tuple(map(rate, optimizers)) == rates
    before = gen.refiners[0][0].W.array.copy()
    updater.update()
    assert not np.array_equal(gen.refiners[0][0].W.array, before)
    updater.finalize()


@pytest.mark.parametrize("width, units", [("small", (256, 128, 1)), (None, (512, 256, 1))])
def test_the_width_reaches_discriminators_of_a_network_that_has_one(clips, width, units):
    options = parse("--arch", "multiscale-8to8")
    options.width = width
    model, gen = train.make_generator(options, clips)
    assert models.create(**model).count_params() == gen.count_params()
    updater = train.make_updater(options, clips, gen, CPU)
    layers = updater.get_optimizer("dis").target[0].layers
    assert tuple(layer.b.size for layer in layers) == units
    updater.finalize()


def test_a_width_that_nothing_heeds_is_refused(clips):
    options = parse("--arch", "multiscale-8to8", "--no-adversarial")
    _, gen = train.make_generator(options, clips)
    with pytest.raises(UserError, match="--width small: multiscale-8to8 has one width, no disc"):
        train.make_updater(options, clips, gen, CPU)


def test_an_exponent_of_a_loss_that_is_not_there_is_refused(clips):
    options = parse("--loss", "l2=1,adversarial=0.05", "--alpha", 2)
    _, gen = train.make_generator(options, clips)
    with pytest.raises(UserError, match="--alpha 2: --loss l2=1,adversarial=0.05 has no gdl"):
        train.make_updater(options, clips, gen, CPU)


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


def test_without_test_clips_at_the_usual_place_training_goes_on(
    clips, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    train.main(["-d", "clips", "--arch", "conv2d", "-b", "2", "-n", "1", "-o", "run"])
    said = capsys.readouterr()
    assert said.err.startswith("warning: no validation, no test clips at data/testclips: `python")
    assert said.out == "run: trained to iteration 1; test.py --load run\n"


@pytest.mark.skipif(not memory.PROC.is_dir(), reason="no Linux")
def test_a_batch_beyond_the_free_memory_is_refused_and_leaves_a_run_to_resume(tmp_path):
    make_store(tmp_path / "clips", noise(2000, 5, (32, 32)), history=4)
    asked = ("-d", tmp_path / "clips", "-o", tmp_path / "run", "-n", 1, "--width", "small")
    told = refusal_with_little_memory("train.py", *asked, "-b", 2000)
    assert told.startswith("error: out of memory (") and "--batch-size below 2000" in told
    assert run_python("train.py", "-r", *asked, "-b", 2).returncode == 0
