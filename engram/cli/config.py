"""``engram config``: a settings file to begin with, what the settings are, and where each comes from."""

import os
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import typer

from engram.cli.invocation import Invocation, command
from engram.cli.output import OutputOption, print_json_line, print_table
from schemas.errors import SettingsError
from schemas.export import schema_text
from schemas.settings import (
    AllSettings,
    ConsoleSettings,
    ConsumerSettings,
    CoordinatorSettings,
    Loaded,
    ProducerSettings,
    Settings,
    WorkerSettings,
    masked,
)
from schemas.settings.cameras import CameraSection

Process = Literal["all", "producer", "worker", "coordinator", "consumer", "console"]
Place = Literal["home", "shop", "site"]
SCHEMA_NAME = "engram.schema.json"
KINDS: dict[str, type[Settings]] = {
    "all": AllSettings,
    "producer": ProducerSettings,
    "worker": WorkerSettings,
    "coordinator": CoordinatorSettings,
    "consumer": ConsumerSettings,
    "console": ConsoleSettings,
}
ProcessOption = Annotated[Process, typer.Option("--process", "-p", help="Only the settings that this process reads.")]
PlaceOption = Annotated[
    Place,
    typer.Option(
        "--for",
        help="home: two cameras and one machine; shop: a box that sends, a computer that judges; site: many of both.",
    ),
]
OutOption = Annotated[Path, typer.Option("--out", help="File to write; one that is there is left alone.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(no_args_is_help=True, help="Write, show and check settings.")
    command(group, "init")(init)
    command(group, "show")(show)
    command(group, "check")(check)
    app.add_typer(group, name="config")


def init(run: Invocation, place: PlaceOption = "home", out: OutOption = Path("engram.toml")) -> None:  # noqa: ARG001
    """Write a settings file with comments, to be made one's own, and beside it the schema by which editors check it.

    Example: engram config init --for shop --out shop.toml
    """
    schema = out.parent / SCHEMA_NAME
    if out.exists():
        raise SettingsError(f"'{out}' must not be there yet, and is; name another with --out FILE, or move it away")
    try:
        out.write_text(template(place, SCHEMA_NAME), "utf-8")
        schema.write_text(schema_text("settings"), "utf-8")
    except OSError as error:
        raise SettingsError(f"'{out}' must be a new file that we may write: {error.strerror}") from error
    print(f"{out} is yours to change, {schema} is for your editor; then: engram config check --config {out}")


def template(place: Place, schema: str) -> str:
    """The settings file for a place, with ``schema`` named on its first line."""
    text = (files("engram") / "data" / "settings" / f"{place}.toml").read_text("utf-8")
    return text.replace(f"#:schema {SCHEMA_NAME}", f"#:schema {schema}", 1)


def show(run: Invocation, process: ProcessOption = "all", output: OutputOption = "text") -> None:
    """Show every setting, its value and where that came from; secrets are masked.

    Later sources win: defaults, the TOML file, environment (ENGRAM_SECTION__KEY, or ENGRAM_SECTION__KEY_FILE for a
    mounted secret), flags. What a camera's own table says goes before all but flags.

    Example: engram config show --config engram.toml --process worker
    """
    loaded = run.load(KINDS[process])
    values = masked(loaded.settings)
    if output == "json":
        print_json_line({path: {"value": values[path], "origin": loaded.origins[path]} for path in loaded.origins})
    else:
        rows = [(path, values[path], origin) for path, origin in loaded.origins.items()]
        print_table("settings", ("setting", "value", "from"), rows)


def check(run: Invocation, process: ProcessOption = "all") -> None:
    """Check the file and the environment; says what is wrong and exits with 2 if anything is.

    Example: engram config check --config engram.toml
    """
    loaded = run.load(KINDS[process])
    given = sum(origin != "default" for origin in loaded.origins.values())
    print(f"ok: {given} of {len(loaded.origins)} settings given, the others are defaults")
    for name, camera in _cameras(loaded).items():
        print(f"camera {name}: {_told(camera)}")


def _cameras(loaded: Loaded[Settings]) -> dict[str, CameraSection]:
    found: dict[str, CameraSection] = getattr(loaded.settings, "cameras", {})
    return found


def _told(camera: CameraSection) -> str:
    """Where its frames come from, as far as that can be seen here, where it may be meant for another machine."""
    if camera.source_env is not None:
        found = "" if os.environ.get(camera.source_env) else ", which is not set here"
        return f"source in the environment variable {camera.source_env}{found}"
    if camera.source_file is not None:
        found = "" if camera.source_file.is_file() else ", which is not there on this machine"
        return f"source in the file {camera.source_file}{found}"
    return "source in this file" if camera.source is not None else "no source, so judged here and sent by others"
