"""``python -m engram`` and the ``engram`` program."""

import sys
from pathlib import Path

PACKAGES = Path(__file__).resolve().parents[1]
"""The folder that this package and its neighbours are in."""


def drop_working_folder() -> None:
    """Let no file of the folder one happens to stand in be taken for a package of ours.

    ``python -m`` puts it first on the path; a ``schemas/`` or a ``workers.py`` there would be imported instead.
    """
    if sys.path and Path(sys.path[0]).resolve() == Path.cwd() != PACKAGES:
        del sys.path[0]


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    from engram.cli.app import app  # noqa: PLC0415 - the path must be right first

    app(prog_name="engram")


if __name__ == "__main__":
    drop_working_folder()
    main()
