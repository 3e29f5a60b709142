"""How scripts take their options."""

import os

import pytest

import process_data
import test as testing
from utils.errors import UserError
from utils.usage import (
    Parser,
    axes,
    file_path,
    folder_path,
    integer,
    local_path,
    number,
    path_or_url,
)

HOME = {"~": os.path.expanduser("~"), "~/a": os.path.join(os.path.expanduser("~"), "a")}


def test_a_default_is_told_where_there_is_one():
    parser = Parser("text")
    parser.add_argument("--size", default=32, help="of a clip")
    parser.add_argument("--sizes", nargs="+", default=[4, 8], help="of clips")
    parser.add_argument("--out", help="place")
    parser.add_argument("--gray", action="store_true", help="one channel")
    text = parser.format_help()
    assert "of a clip (default: 32)" in text
    assert "clips (default: 4 8)" in text
    assert text.count("default") == 2


@pytest.mark.parametrize(
    "type, good, bad, cure",
    [
        (integer(1), {"1": 1, "20": 20}, ["0", "-1", "1.5", "x", ""], "a whole number from 1 up"),
        (integer(0, 9), {"0": 0, "9": 9}, ["10"], "a whole number from 0 to 9"),
        (number(0), {"0": 0, "1e3": 1000}, ["-1e-9", "nan", "inf", "x"], "a number from 0 up"),
        (number(0, 1), {"1": 1}, ["1.1"], "a number from 0 to 1"),
        (path_or_url, {"a b": "a b", "s3://a": "s3://a", **HOME}, [""], "a path or a URL"),
        (local_path, {"a b": "a b", **HOME}, ["", "s3://a"], "a path on this machine, no URL"),
        (axes, {"tnhw": "TNHW"}, ["", "THWT"], "an order of THW, NTHW, THWC, NTHWC"),
    ],
)
def test_an_invalid_value_is_told_with_the_cure(type, good, bad, cure, capsys):
    parser = Parser("text")
    parser.add_argument("--n", type=type)
    for text, value in good.items():
        assert parser.parse_args(["--n", text]).n == value
    for text in bad:
        with pytest.raises(SystemExit) as caught:
            parser.parse_args([f"--n={text}"])
        assert caught.value.code == 2
        told = capsys.readouterr().err
        assert told.startswith(f"error: argument --n: {text!r} is not valid; give {cure}; ")
        assert told.count("\n") == 1


def test_a_file_is_no_folder(tmp_path):
    file = tmp_path / "a\nb"
    file.touch()
    assert file_path(str(file)) == file and folder_path(str(tmp_path)) == tmp_path
    nobody = "~no-such-user/x"
    wrong = [(file_path, other) for other in (tmp_path, nobody, "")]
    wrong += [(folder_path, other) for other in (file, nobody, "")]
    for read, other in wrong:
        with pytest.raises(UserError) as caught:
            read(str(other))
        kind = read.__name__.removesuffix("_path")
        assert str(caught.value).startswith(f"no {kind} {str(other)!r}: give the place of ")


@pytest.mark.parametrize(
    "script, name, default",
    [
        (process_data, "images", "data/images/train"),
        (testing, "images", "data/images/test"),
        (testing, "load", "result"),
    ],
)
def test_what_takes_several_may_be_given_several_times(script, name, default, capsys):
    given = script.parse([f"--{name}", "a", "b", f"--{name}", "c"])
    assert getattr(given, name) == ["a", "b", "c"]
    for _ in range(2):
        assert getattr(script.parse([]), name) == [default]
    with pytest.raises(SystemExit):
        script.parse(["--help"])
    assert f"(default: {default}" in " ".join(capsys.readouterr().out.split())
