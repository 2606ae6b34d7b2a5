"""``python -m engram`` and the ``engram`` program."""

import gc
import sys
from pathlib import Path

PACKAGES = Path(__file__).resolve().parents[1]
"""The folder that this package and its neighbours are in."""

COLLECT_EVERY = 10_000
"""Objects made and kept, net, between two searches for cycles. Imports make a million that stay for good: by Python's
own 700 they are gone through again and again, a fifth of the time in which a command starts."""


def drop_working_folder() -> None:
    """Let no file of the folder one happens to stand in be taken for a package of ours.

    ``python -m`` puts it first on the path; a ``schemas/`` or a ``workers.py`` there would be imported instead.
    """
    if sys.path and Path(sys.path[0]).resolve() == Path.cwd() != PACKAGES:
        del sys.path[0]


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    gc.set_threshold(COLLECT_EVERY)
    from engram.cli.app import app  # noqa: PLC0415 - the path must be right first

    app(prog_name="engram")


if __name__ == "__main__":
    drop_working_folder()
    main()
