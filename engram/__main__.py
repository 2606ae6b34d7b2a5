"""``python -m engram`` and the ``engram`` program."""

from engram.cli.app import app


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    app(prog_name="engram")


if __name__ == "__main__":
    main()
