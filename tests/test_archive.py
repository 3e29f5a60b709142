"""Arrays in a file that vouches for itself."""

import io
import zipfile

import numpy as np
import pytest

from utils import archive
from utils.archive import Archive, write_archive
from utils.errors import UserError

ARRAYS = {"a/W": np.arange(6, dtype=np.float32).reshape(2, 3), "t": np.asarray(3)}


def sealed(path, pack):
    """A file whose checksum is right, whatever `pack` puts into the zip file: a forger's work."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as forged:
        pack(forged)
        forged.comment = archive.SEAL + b"0" * archive.DIGITS
    content = file.getvalue()[: -archive.DIGITS]
    path.write_bytes(content + archive.digest_of(io.BytesIO(content), len(content)))
    return path


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def refused(path, at_most=10**6):
    """What is said of a file that opens not, or not wholly."""
    with pytest.raises(UserError) as caught, Archive(path, at_most) as opened:
        for name in opened.forms:
            opened[name]
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


def test_what_is_written_is_read_by_us_and_by_numpy(tmp_path):
    write_archive(tmp_path / "a", ARRAYS)
    with Archive(tmp_path / "a", 10**6) as ours, np.load(tmp_path / "a") as theirs:
        assert set(ours.forms) == set(theirs.files) == set(ARRAYS)
        for name, array in ARRAYS.items():
            assert name in ours and ours.forms[name] == (array.shape, array.dtype)
            assert np.array_equal(ours[name], array) and np.array_equal(theirs[name], array)


def test_every_changed_byte_is_noticed(tmp_path):
    write_archive(tmp_path / "a", ARRAYS)
    whole = (tmp_path / "a").read_bytes()
    for k in range(len(whole)):
        changed = bytearray(whole)
        changed[k] ^= 1 << k % 8
        (tmp_path / "a").write_bytes(changed)
        refused(tmp_path / "a")


def test_every_cut_is_noticed(tmp_path):
    write_archive(tmp_path / "a", ARRAYS)
    whole = (tmp_path / "a").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "a").write_bytes(whole[:length])
        refused(tmp_path / "a")


def test_the_same_arrays_give_the_same_bytes(tmp_path, monkeypatch):
    write_archive(tmp_path / "a", ARRAYS)
    monkeypatch.setattr("time.localtime", lambda *_: (2000, 1, 2, 3, 4, 5, 6, 7, 0))
    write_archive(tmp_path / "b", dict(reversed(ARRAYS.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_objects_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="[Oo]bject"):
        write_archive(tmp_path / "a", {"a/b": np.asarray(None)})
    assert list(tmp_path.iterdir()) == []


def test_a_file_beyond_what_is_needed_is_not_read(tmp_path):
    write_archive(tmp_path / "a", {"a": np.zeros(1000)})
    assert "8" in refused(tmp_path / "a", at_most=5000) and "more than the 5000" in refused(
        tmp_path / "a", at_most=5000
    )


def test_another_version_is_told_apart_from_damage(tmp_path):
    write_archive(tmp_path / "a", ARRAYS)
    whole = (tmp_path / "a").read_bytes()
    later = archive.SEAL.replace(archive.KIND + archive.VERSION, archive.KIND + b"2")
    (tmp_path / "a").write_bytes(whole.replace(archive.SEAL, later))
    assert "another version" in refused(tmp_path / "a")


def claims(shape):
    """A member that states a shape which it does not hold."""
    return npy(np.zeros(1)).replace(b"(1,)", str(shape).replace(" ", "").encode().ljust(4))


@pytest.mark.parametrize(
    "name, content, compression, told",
    [
        ("a.npy", npy(np.array([{}]), allow_pickle=True), zipfile.ZIP_STORED, "could run code"),
        ("a.npy", npy(np.zeros(10**6)), zipfile.ZIP_DEFLATED, "not an uncompressed array"),
        ("a.npy", claims((9,)), zipfile.ZIP_STORED, "not of the size"),
        ("a.npy", npy(np.zeros(1)).replace(b"(1,)", b"(1,("), zipfile.ZIP_STORED, "EOF"),
        ("a.txt", b"text", zipfile.ZIP_STORED, "not an uncompressed array"),
        ("a.npy", b"text", zipfile.ZIP_STORED, "magic"),
        ("../a.npy", npy(np.zeros(1)).replace(b"<f8", b"|O8"), zipfile.ZIP_STORED, "run code"),
    ],
)
def test_a_forged_file_with_a_right_checksum_is_refused(tmp_path, name, content, compression, told):
    path = sealed(tmp_path / "a", lambda zip: zip.writestr(name, content, compression))
    assert told in refused(path)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_not_a_file(tmp_path):
    assert "no such file" in refused(tmp_path / "nothing")
    assert "not a file" in refused(tmp_path)
