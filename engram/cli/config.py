"""``engram config``: what the settings are, and where each comes from."""

from typing import Annotated, Literal

import typer

from engram.cli.invocation import Invocation, command
from engram.cli.output import OutputOption, print_json_line, print_table
from schemas.settings import (
    AllSettings,
    ConsumerSettings,
    CoordinatorSettings,
    ProducerSettings,
    Settings,
    WorkerSettings,
    masked,
)

Process = Literal["all", "producer", "worker", "coordinator", "consumer"]
KINDS: dict[str, type[Settings]] = {
    "all": AllSettings,
    "producer": ProducerSettings,
    "worker": WorkerSettings,
    "coordinator": CoordinatorSettings,
    "consumer": ConsumerSettings,
}
ProcessOption = Annotated[Process, typer.Option("--process", "-p", help="Only the settings that this process reads.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(no_args_is_help=True, help="Show and check settings.")
    command(group, "show")(show)
    command(group, "validate")(validate)
    app.add_typer(group, name="config")


def show(run: Invocation, process: ProcessOption = "all", output: OutputOption = "text") -> None:
    """Show every setting, its value and where that came from; secrets are masked.

    Later sources win: defaults, the TOML file, environment (ENGRAM_SECTION__KEY, or ENGRAM_SECTION__KEY_FILE for a
    mounted secret), flags.

    Example: engram config show --config engram.toml --process worker
    """
    loaded = run.load(KINDS[process])
    values = masked(loaded.settings)
    if output == "json":
        print_json_line({path: {"value": values[path], "origin": loaded.origins[path]} for path in loaded.origins})
    else:
        rows = [(path, values[path], origin) for path, origin in loaded.origins.items()]
        print_table("settings", ("setting", "value", "from"), rows)


def validate(run: Invocation, process: ProcessOption = "all") -> None:
    """Check the file and the environment; says what is wrong and exits with 2 if anything is.

    Example: engram config validate --config engram.toml
    """
    loaded = run.load(KINDS[process])
    given = sum(origin != "default" for origin in loaded.origins.values())
    print(f"ok: {given} of {len(loaded.origins)} settings given, the others are defaults")
