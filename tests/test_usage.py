"""How scripts take their options."""

import pytest

from utils.usage import Parser, number, place, whole


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
    "type, good, bad",
    [
        (whole(1), {"1": 1, "20": 20}, ["0", "-1", "1.5", "x", ""]),
        (whole(0, 9), {"0": 0, "9": 9}, ["10"]),
        (number(0), {"0": 0, "1e3": 1000}, ["-1e-9", "nan", "inf", "x"]),
        (number(0, 1), {"1": 1}, ["1.1"]),
        (place, {"a b": "a b"}, [""]),
    ],
)
def test_numbers_have_bounds(type, good, bad, capsys):
    parser = Parser("text")
    parser.add_argument("--n", type=type)
    for text, value in good.items():
        assert parser.parse_args(["--n", text]).n == value
    for text in bad:
        with pytest.raises(SystemExit) as caught:
            parser.parse_args([f"--n={text}"])
        assert caught.value.code == 2
        told = capsys.readouterr().err
        assert told.startswith("error: argument --n: invalid ") and told.count("\n") == 1
