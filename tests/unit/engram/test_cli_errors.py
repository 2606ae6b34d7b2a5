"""How a command ends when something goes wrong: its exit code, its one line, and nothing else."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import pytest
import typer

from engram.cli.errors import EXIT_FAULT, EXIT_USAGE, reported_errors
from engram.one_line import EXTRA_OF, one_line
from schemas.errors import BadMessageError, BundleError, MisdirectedError, SettingsError, TransientError


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Tracebacks come with ``debug`` only, whatever another test has left."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.WARNING)
    yield
    root.setLevel(level)


def end_of(error: BaseException, extra: str | None = None) -> BaseException:
    """What comes out of a command that raises ``error``."""
    with pytest.raises(BaseException) as caught, reported_errors(extra):
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("s"), EXIT_USAGE),
        (BundleError("b"), EXIT_USAGE),
        (TransientError("t"), EXIT_FAULT),
        (MisdirectedError("m"), EXIT_FAULT),
        (BadMessageError("reason", "b"), EXIT_FAULT),
        (OSError("o"), EXIT_FAULT),
        (ZeroDivisionError("z"), EXIT_FAULT),
    ],
)
def test_only_what_a_person_must_change_is_usage(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    end = end_of(error)
    assert isinstance(end, typer.Exit)
    assert (end.exit_code, end.__cause__) == (code, error)
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), err[:7]) == ("", 1, "error: ")


@pytest.mark.parametrize("error", [typer.Exit(7), typer.Abort(), typer.BadParameter("x"), KeyboardInterrupt()])
def test_what_typer_says_itself_is_left_to_it(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    assert end_of(error) is error
    assert capsys.readouterr() == ("", "")


def test_nothing_is_said_when_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    with reported_errors():
        pass
    assert capsys.readouterr() == ("", "")


ENDLESS = """
import sys, typer
from engram.cli.errors import reported_errors
app = typer.Typer()
@app.command()
def run() -> None:
    sys.stdin.readline()
    with reported_errors():
        for number in range(100_000):
            print(number)
app()
"""


def test_a_reader_that_has_gone_is_no_news() -> None:
    """As in ``engram events | head``: nothing on standard error, also not from the interpreter's last flush."""
    child = subprocess.Popen([sys.executable, "-c", ENDLESS], stdin=PIPE, stdout=PIPE, stderr=PIPE)
    assert child.stdout is not None
    child.stdout.close()
    child.stdout = None
    _, told = child.communicate(b"go\n", timeout=240)
    assert (child.returncode, told) == (1, b"")


def test_what_does_not_fit_on_the_disk_any_more_is_told() -> None:
    """Also the last of it, which the interpreter would write after everything was said to be well."""
    text = ENDLESS.replace("100_000", "3").replace("    sys.stdin.readline()\n", "")
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run([sys.executable, "-c", text], stdout=full, stderr=PIPE, timeout=240, check=False)
    assert ended.returncode == 1
    assert ended.stderr == b"error: this machine refuses: No space left on device (--log-level debug shows where)\n"


@pytest.mark.parametrize("library", EXTRA_OF)
def test_a_missing_library_names_the_extra_that_brings_it(library: str) -> None:
    error = ModuleNotFoundError("No module named 'x'", name=f"{library}.inner")
    assert one_line(error) == (
        f"this command needs {library}, which is not installed; run: pip install 'engram[{EXTRA_OF[library]}]'"
    )
    assert "'engram[train]'" in one_line(error, extra="train"), "a command knows best what else it needs"


def test_a_library_of_no_extra_is_unexpected() -> None:
    for error in (ModuleNotFoundError("No module named 'x'", name="x"), ModuleNotFoundError("odd")):
        assert one_line(error, extra="train").startswith("ModuleNotFoundError: ")


def test_our_own_errors_are_told_as_they_are() -> None:
    assert one_line(TransientError("the broker is away")) == "the broker is away"


def test_the_traceback_comes_with_debug_only(capsys: pytest.CaptureFixture[str]) -> None:
    end_of(ValueError("odd"))
    assert "Traceback" not in capsys.readouterr().err
    logging.getLogger().setLevel(logging.DEBUG)
    end_of(ValueError("odd"))
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last)")
    assert err.splitlines()[-1] == "error: ValueError: odd (unexpected; --log-level debug shows where)"


def test_an_exit_code_is_never_that_of_success() -> None:
    assert (EXIT_FAULT, EXIT_USAGE) == (1, 2)
    assert typer.BadParameter("x").exit_code == EXIT_USAGE
