"""Reading weights: what fits loads, what does not is refused in one line."""

import numpy as np
import pytest

import models
from utils.errors import UserError
from utils.stack import chainer
from utils.weights import load_weights, save_weights


def network(width="small", channels=3):
    return models.create("multiscale", 2, 1, channels, (8, 8), pyramid="4-8", width=width)


def refused(path, chain):
    with pytest.raises(UserError) as caught:
        load_weights(path, chain)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


@pytest.fixture
def saved(tmp_path):
    save_weights(tmp_path / "a.model", network())
    return tmp_path / "a.model"


def test_weights_of_another_width_name_what_differs(saved):
    message = refused(saved, network(channels=1))
    assert "refiners/0/0/W" in message and "(16, 6, 3, 3)" in message


def test_weights_of_another_architecture_name_what_is_missing(saved):
    assert "0/W is missing" in refused(saved, chainer.Sequential(chainer.links.Linear(2, 3)))


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text", "missing", "folder"])
def test_a_damaged_file_is_refused(saved, damage):
    whole = bytearray(saved.read_bytes())
    if damage == "missing":
        saved.unlink()
    elif damage == "folder":
        saved.unlink()
        saved.mkdir()
    else:
        whole[len(whole) // 2] ^= 0xFF
        changed = {"cut": whole[: len(whole) // 2], "flip": whole, "empty": b"", "text": b"weights"}
        saved.write_bytes(changed[damage])
    refused(saved, network())


def test_a_pickle_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path / "sprung").touch, ()

    path = tmp_path / "trap.model"
    chain = network()
    arrays = {name.lstrip("/"): param.array for name, param in chain.namedparams()}
    arrays["refiners/0/0/W"] = np.array(Trap(), dtype=object)
    with open(path, "wb") as file:
        np.savez(file, **arrays)
    refused(path, chain)
    assert not (tmp_path / "sprung").exists()
