"""``engram doctor``: is everything there."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from engram.cli.errors import EXIT_FAULT
from engram.cli.invocation import Invocation, command
from engram.cli.options import BootstrapOption, BundleOption, PrefixOption, StoreOption, kafka_overrides
from engram.cli.output import OutputOption, print_json_line
from schemas.settings import AllSettings

if TYPE_CHECKING:
    from engram.doctor import Diagnosis

SourceOption = Annotated[str | None, typer.Option("--source", help="Also take a frame from this camera or file.")]

ProcessOption = Annotated[
    Literal["all", "producer", "worker", "coordinator"],
    typer.Option("--process", "-p", help="Only what this process needs."),
]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(app, "doctor")(doctor)


def doctor(
    run: Invocation,
    process: ProcessOption = "all",
    source: SourceOption = None,
    bundle: BundleOption = None,
    bootstrap_servers: BootstrapOption = None,
    topic_prefix: PrefixOption = None,
    store: StoreOption = None,
    output: OutputOption = "text",
) -> None:
    """Check broker, topics, store, bundle, backend and, if named, a camera; say what to do where something is wrong.

    "warn" works, but should be mended. Exits with 1 if anything fails.

    Example: engram doctor --source rtsp://camera/stream --bundle models/lobby
    """
    from engram.doctor import diagnoses  # noqa: PLC0415 - OpenCV takes a while to load

    overrides = {**kafka_overrides(bootstrap_servers, topic_prefix), "worker.bundle": bundle, "store.url": store}
    settings = run.settings(AllSettings, overrides)
    found = []
    console = Console(markup=False, highlight=False, soft_wrap=True)
    for diagnosis in diagnoses(settings, process, source):
        found.append(diagnosis)
        if output == "text":
            console.print(f"{_state(diagnosis)} {diagnosis.name:<7} {diagnosis.detail}")
            if diagnosis.remedy:
                console.print(f"             -> {diagnosis.remedy}")
    if output == "json":
        names = ("name", "ok", "detail", "remedy")
        print_json_line([{name: getattr(diagnosis, name) for name in names} for diagnosis in found])
    if not all(diagnosis.ok for diagnosis in found):
        raise typer.Exit(EXIT_FAULT)


def _state(diagnosis: "Diagnosis") -> str:
    if not diagnosis.ok:
        return "FAIL"
    return "warn" if diagnosis.remedy else "ok  "
