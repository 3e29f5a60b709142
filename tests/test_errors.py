"""What a user sees when a script ends early."""

import shlex
import subprocess
import sys

import pytest

from tests.processes import ROOT, run_python
from utils.errors import (
    UserError,
    reason,
    report_errors,
    when_out_of_memory,
    writing_to,
)


@pytest.mark.parametrize(
    "error, status, told",
    [
        (UserError("-n 0: too few; give 1"), 2, "error: -n 0: too few; give 1\n"),
        (UserError("no folder 'a\nb\x1b'"), 2, "error: no folder 'a\\nb\\x1b'\n"),
        (OSError(28, "No space left", "a/b"), 2, "error: a/b: No space left\n"),
        (MemoryError("no 9 GiB"), 2, "error: out of memory (no 9 GiB); ask for less\n"),
        (KeyboardInterrupt(), 130, "stopped\n"),
        (
            UnicodeEncodeError("ascii", "a/\xe9", 2, 3, ""),
            2,
            "error: 'a/\\xe9': no name in ascii; set PYTHONUTF8=1, or rename it\n",
        ),
    ],
)
def test_one_line_and_a_status(error, status, told, capsys):
    @report_errors
    def main():
        raise error

    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == status
    assert capsys.readouterr().err == told


def test_defects_keep_their_traceback():
    @report_errors
    def main():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        main()


def test_a_message_that_quotes_a_whole_file_is_cut():
    told = reason(ValueError("expected a number,\nbut received: " + 10**5 * "["))
    assert told.startswith("expected a number, but received:") and len(told) < 500
    assert reason(ValueError()) == "ValueError"


@pytest.mark.parametrize(
    "error, told",
    [
        (OSError(28, "No space left", "a/b"), "a/b: No space left"),
        (OSError(28, "No space left"), "No space left"),
        (OSError("truncated"), "truncated"),
        (OSError(), "OSError"),
    ],
)
def test_an_error_of_the_system_is_told_with_its_file(error, told):
    assert reason(error) == told


def test_memory_that_runs_out_is_told_with_the_cure():
    with (
        pytest.raises(UserError, match="out of memory .*; give less"),
        when_out_of_memory("give less"),
    ):
        raise MemoryError


@pytest.mark.parametrize("name, told", [("a/b", "a/b"), (None, "place")])
def test_what_cannot_be_written_is_told_with_the_cure(name, told):
    with pytest.raises(UserError) as caught, writing_to("place"):
        raise OSError(28, "No space left on device", name)
    cure = "make room or give another place"
    assert str(caught.value) == f"cannot write to {told}: No space left on device; {cure}"
    denied = "to a: Permission denied; give another place$"
    with pytest.raises(UserError, match=denied), writing_to("place"):
        raise OSError(13, "Permission denied", "a")
    with pytest.raises(BrokenPipeError), writing_to("place"):
        raise BrokenPipeError


def run(code, **options):
    """Run the code in `report_errors`, in a process of its own."""
    code = f"from utils.errors import *\n@report_errors\ndef main():\n    {code}\nmain()"
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return run_python("-c", code, capture_output=False, **options)


def test_a_closed_pipe_ends_the_script_silently():
    for code in ("print('x' * 10**6)", "print('x')"):  # found out at once, at the end
        piped = subprocess.Popen(["true"], stdin=subprocess.PIPE)
        piped.wait()
        done = run(code, stdout=piped.stdin)
        piped.stdin.close()
        assert (done.returncode, done.stderr) == (141, "")


def test_output_that_cannot_be_written_is_told():
    told = {  # with PYTHONUNBUFFERED print itself fails
        "": "what was to be printed cannot be (No space left on device); all else is done",
        "1": "No space left on device",
    }
    for unbuffered, why in told.items():
        with open("/dev/full", "w") as full:
            environment = {"PYTHONUNBUFFERED": unbuffered}
            done = run("print('x')", stdout=full, environment=environment)
        assert done.returncode == 2 and f"error: {why}\n" in done.stderr


@pytest.mark.parametrize("ending, status", [("print(3)", 0), ("raise UserError('no')", 2)])
def test_a_full_stderr_does_not_change_how_the_script_ends(ending, status):
    code = f"import sys; sys.stderr.write(300_000 * 'a '); sys.stderr.flush(); {ending}"
    with open("/dev/full", "w") as full:
        done = run(code, stderr=full)
    assert (done.returncode, done.stdout) == (status, "" if status else "3\n")


def test_a_broken_pipe_other_than_stdout_is_told():
    done = run("print(3); raise BrokenPipeError(32, 'Broken pipe')")
    assert (done.returncode, done.stdout, done.stderr) == (2, "3\n", "error: Broken pipe\n")


def test_a_pipe_that_breaks_is_told_where_stdout_is_closed():
    code = (
        "from utils.errors import report_errors\n"
        "report_errors(exec)('raise BrokenPipeError(32, \"broken\")')"
    )
    command = f"{shlex.join([sys.executable, '-c', code])} >&-"
    done = subprocess.run(command, cwd=ROOT, shell=True, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (2, "error: broken\n")


def test_what_is_not_installed_is_told():
    done = run("import tqdm_of_another_planet")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "has no tqdm_of_another_planet" in done.stderr and "README" in done.stderr


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(closed):
    code = (
        "import sys; from utils.errors import report_errors\n"
        "report_errors(lambda: sys.stderr.write(''))()"
    )
    command = f"{shlex.join([sys.executable, '-c', code])} {closed}"
    assert subprocess.run(command, cwd=ROOT, shell=True).returncode == 0


def test_file_names_that_are_not_utf8_can_be_printed():
    done = run(r"print('a\udce9')", environment={"PYTHONIOENCODING": "utf-8:strict"})
    assert (done.returncode, done.stdout) == (0, "a\\udce9\n")
