"""Reading weights: what fits loads, what does not is refused in one line."""

import pickle

import numpy as np
import pytest
import safetensors.numpy

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
    assert "6 of 16 parameters differ" in message
    assert "refiners/0/0/W is float32 16x6x3x3, float32 16x2x3x3 here" in message
    assert message.endswith("2 more); give the same")


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_safetensors_of_another_float_type_are_taken(tmp_path, dtype):
    model, path = network(), tmp_path / "a.safetensors"
    arrays = {name[1:].replace("/", "."): p.array for name, p in model.namedparams()}
    safetensors.numpy.save_file({k: array.astype(dtype) for k, array in arrays.items()}, path)
    found = network()
    load_weights(path, found)
    for (_, one), (_, other) in zip(found.namedparams(), model.namedparams(), strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one.array, other.array, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("ending", [".model", ".safetensors"])
def test_numbers_that_are_not_finite_are_refused(tmp_path, ending):
    broken, path = network(), tmp_path / f"a{ending}"
    broken.refiners[1][0].W.array[0, 0, 0, 0] = np.nan
    save_weights(path, broken)
    assert "refiners/1/0/W is not finite" in refused(path, network())


def test_statistics_that_are_not_finite_are_refused(saved):
    """Those of batch normalisation, which are no parameters."""
    model = chainer.links.BatchNormalization(3)
    model.avg_mean[1] = np.inf
    save_weights(saved, model)
    assert "avg_mean is not finite" in refused(saved, chainer.links.BatchNormalization(3))


def test_weights_of_another_architecture_name_what_is_missing(saved):
    message = refused(saved, chainer.Sequential(chainer.links.Linear(2, 3)))
    assert "0/W is missing" in message and "unknown here" in message


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
    cure = "give the file" if damage == "folder" else "take other weights"
    assert cure in refused(saved, network())


def test_a_pickle_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path / "sprung").touch, ()

    (tmp_path / "trap.model").write_bytes(pickle.dumps(Trap()))
    with open(tmp_path / "trap.npz", "wb") as file:
        np.savez(file, **{"refiners/0/0/W": np.array(Trap(), dtype=object)})
    for name in ("trap.model", "trap.npz"):
        refused(tmp_path / name, network())
    assert not (tmp_path / "sprung").exists()


def test_weights_travel_as_safetensors(saved, tmp_path):
    source, target = network(), network()
    load_weights(saved, source)
    save_weights(tmp_path / "a.safetensors", source)
    tensors = safetensors.numpy.load_file(tmp_path / "a.safetensors")
    assert tensors["refiners.0.0.W"].shape == (16, 6, 3, 3)
    load_weights(tmp_path / "a.safetensors", target)
    for ours, theirs in zip(source.params(), target.params(), strict=True):
        assert np.array_equal(ours.array, theirs.array)


def test_safetensors_of_another_width_are_refused(tmp_path):
    save_weights(tmp_path / "a.safetensors", network())
    message = refused(tmp_path / "a.safetensors", network(channels=1))
    assert "6 of 16 parameters differ" in message


@pytest.mark.parametrize("content", [b"", b"weights", b"\xff" * 99, (2**40).to_bytes(8, "big")])
def test_what_is_not_safetensors_is_refused(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    for name in ("a", "none"):
        assert "take other weights" in refused(tmp_path / f"{name}.safetensors", network())


def test_a_file_beyond_what_the_network_can_need_is_not_read(saved, tmp_path, monkeypatch):
    monkeypatch.setattr("utils.weights.SPARE_BYTES", 0)
    load_weights(saved, network())  # many times as much may be in it
    monkeypatch.setattr("utils.weights.TIMES", 1)
    assert "can need" in refused(saved, network())
    save_weights(tmp_path / "a.safetensors", network())
    assert "can need" in refused(tmp_path / "a.safetensors", network())


def test_a_folder_is_refused_with_the_cure(tmp_path):
    assert "give the file of weights or the snapshot in it" in refused(tmp_path, network())
