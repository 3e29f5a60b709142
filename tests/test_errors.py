"""What a user sees when a script ends early."""

import pytest

from utils.errors import UserError, one_line


@pytest.mark.parametrize(
    "error, status, told",
    [(UserError("-n 0: too few; give 1"), 2, "error: -n 0: too few; give 1\n")]
    + [(KeyboardInterrupt(), 130, "stopped\n")],
)
def test_one_line_and_a_status(error, status, told, capsys):
    @one_line
    def main():
        raise error

    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == status
    assert capsys.readouterr().err == told


def test_defects_keep_their_traceback():
    @one_line
    def main():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        main()
