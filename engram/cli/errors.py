"""From exceptions to one line on standard error and an exit code: 0 ok, 1 fault, 2 usage or settings."""

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from engram.one_line import one_line
from schemas.errors import FatalError

EXIT_FAULT = 1
EXIT_USAGE = 2


@contextmanager
def reported_errors(extra: str | None = None) -> Iterator[None]:
    """Turn an exception into its line and exit code; the traceback comes with ``--log-level debug`` only.

    Args:
        extra: the extra that brings all a command needs; none = that of the library that is missing.
    """
    try:
        yield
        sys.stdout.flush()  # a full disk must be told here, not by the interpreter's last words
    except (typer.Exit, typer.Abort):
        raise
    except BrokenPipeError:
        # The reader has gone (as in `engram events | head`): say nothing, and keep the interpreter from flushing again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(EXIT_FAULT) from None
    except Exception as error:
        if _is_usage(error):
            raise
        _say(error, extra)
        raise typer.Exit(EXIT_USAGE if isinstance(error, FatalError) else EXIT_FAULT) from error


def _is_usage(error: Exception) -> bool:
    """Typer's own complaints about arguments, which it prints with the usage line."""
    return isinstance(error, typer.BadParameter)


def _say(error: Exception, extra: str | None) -> None:
    if logging.getLogger().isEnabledFor(logging.DEBUG):
        traceback.print_exception(error, file=sys.stderr)
    print(f"error: {one_line(error, extra)}", file=sys.stderr)
