"""Help texts."""

import argparse

from utils.usage import Help


def test_a_default_is_told_where_there_is_one():
    parser = argparse.ArgumentParser(formatter_class=Help)
    parser.add_argument("--size", default=32, help="of a clip")
    parser.add_argument("--out", help="place")
    parser.add_argument("--gray", action="store_true", help="one channel")
    text = parser.format_help()
    assert "of a clip (default: 32)" in text
    assert text.count("default") == 1
