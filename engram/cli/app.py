"""The program ``engram``: all commands under one root."""

from typing import Annotated

import typer

from engram.cli import (
    ablate,
    archive,
    bank,
    bundle,
    calibrate,
    cameras,
    clips,
    config,
    console,
    coordinate,
    dead_letters,
    demo,
    doctor,
    evaluate,
    events,
    export,
    feedback,
    memory_worth,
    notify,
    pause,
    produce,
    replay,
    schemas,
    stack,
    status,
    topics,
    train,
    watch,
    work,
)
from schemas.version import software_version

app = typer.Typer(
    name="engram",
    help="Streaming video anomaly detection that remembers what normal looks like.\n\n"
    "Start with 'engram demo' (nothing else needed), then 'engram watch VIDEO --bundle DIR'.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"engram {software_version()}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Take the options that come before a command."""


for module in (
    demo,
    watch,
    produce,
    pause,
    work,
    coordinate,
    events,
    archive,
    clips,
    feedback,
    notify,
    console,
    replay,
    cameras,
    dead_letters,
    topics,
    bank,
    bundle,
    train,
    calibrate,
    evaluate,
    ablate,
    memory_worth,
    export,
    stack,
    status,
    doctor,
    config,
    schemas,
):
    module.register(app)
