"""Data on standard output: tables for people, JSON for programs. Everything else goes to standard error."""

import json
from collections.abc import Sequence
from typing import Annotated, Literal

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

Output = Literal["text", "json"]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="Text for people, JSON for programs.")]


def print_json_line(value: object) -> None:
    """One compact JSON document on a line of its own, written out at once so that a pipe sees it."""
    text = value.model_dump_json() if isinstance(value, BaseModel) else json.dumps(value, default=str)
    print(text, flush=True)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table as wide as the terminal; cells are shown as they are, without markup."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_plain(cell) for cell in row))
    Console(markup=False).print(table)


def _plain(cell: object) -> str:
    return "-" if cell is None else str(cell)
