"""``engram schemas``: the wire format for readers in other languages."""

from pathlib import Path
from typing import Annotated

import typer

from engram.cli.invocation import Invocation, command
from schemas.export import export_schemas

OutOption = Annotated[Path, typer.Option("--out", help="Folder for the files.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(no_args_is_help=True, help="JSON Schemas of messages and settings, and an AsyncAPI document.")
    command(group, "export")(export)
    app.add_typer(group, name="schemas")


def export(run: Invocation, out: OutOption = Path("docs/schemas")) -> None:  # noqa: ARG001 - common options only
    """Write the JSON Schema of every message and of the settings files, and the AsyncAPI document of the topics.

    Example: engram schemas export --out docs/schemas
    """
    for path in export_schemas(out):
        print(path)
