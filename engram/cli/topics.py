"""``engram topics``: make and check the topics."""

from typing import Annotated

import typer

from engram.build.adapters import open_bus
from engram.build.topics import topic_specs, topic_state
from engram.cli.errors import EXIT_FAULT
from engram.cli.invocation import Invocation, command
from engram.cli.options import BootstrapOption, PrefixOption, kafka_overrides
from engram.cli.output import OutputOption, print_json_line, print_table
from messaging.ports import TopicSpec
from schemas.settings import AllSettings

PartitionsOption = Annotated[
    int | None, typer.Option("--partitions", help="Of frames: the most workers that can share the load.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(no_args_is_help=True, help="Make and check the Kafka topics.")
    command(group, "create")(create)
    command(group, "list")(list_topics)
    app.add_typer(group, name="topics")


def create(
    run: Invocation,
    bootstrap_servers: BootstrapOption = None,
    topic_prefix: PrefixOption = None,
    partitions: PartitionsOption = None,
) -> None:
    """Create the topics that are missing. Choose the number of partitions well: it cannot change later.

    Example: engram topics create --bootstrap-servers 127.0.0.1:9092 --partitions 12
    """
    settings = run.settings(
        AllSettings, kafka_overrides(bootstrap_servers, topic_prefix) | {"kafka.frames_partitions": partitions}
    )
    with open_bus(settings.kafka) as bus:
        created = bus.create_topics(_specs(settings))
    for spec in _specs(settings):
        print(f"{'created' if spec.name in created else 'exists '} {spec.name} ({spec.partitions} partitions)")


def list_topics(
    run: Invocation,
    bootstrap_servers: BootstrapOption = None,
    topic_prefix: PrefixOption = None,
    output: OutputOption = "text",
) -> None:
    """List the topics Engram needs and how they are; exits with 1 if one is missing or different.

    Example: engram topics list -o json
    """
    settings = run.settings(AllSettings, kafka_overrides(bootstrap_servers, topic_prefix))
    with open_bus(settings.kafka) as bus:
        existing = bus.existing_topics()
    states = {spec.name: topic_state(spec, existing) for spec in _specs(settings)}
    if output == "json":
        print_json_line(states)
    else:
        print_table("topics", ("topic", "state"), list(states.items()))
    if any(state != "ok" for state in states.values()):
        raise typer.Exit(EXIT_FAULT)


def _specs(settings: AllSettings) -> tuple[TopicSpec, ...]:
    return topic_specs(settings.kafka, max(settings.producer.max_frame_bytes, settings.worker.max_frame_bytes))
