"""``engram topics``: make and check the topics."""

from typing import Annotated

import typer

from engram.build.topics import grown_together, open_topics, topic_specs, topic_state
from engram.cli.acls import acls
from engram.cli.errors import EXIT_FAULT
from engram.cli.invocation import Invocation, command
from engram.cli.options import BootstrapOption, PrefixOption, kafka_overrides
from engram.cli.output import OutputOption, print_json_line, print_table
from messaging.ports import TopicSpec
from schemas.settings import AllSettings

PartitionsOption = Annotated[
    int | None, typer.Option("--partitions", help="Of frames: the most workers that can share the load.")
]

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be changed.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(no_args_is_help=True, help="Make and check the Kafka topics.")
    command(group, "create")(create)
    command(group, "apply")(apply)
    command(group, "grow")(grow)
    command(group, "list")(list_topics)
    command(group, "acls")(acls)
    app.add_typer(group, name="topics")


def create(
    run: Invocation,
    bootstrap_servers: BootstrapOption = None,
    topic_prefix: PrefixOption = None,
    partitions: PartitionsOption = None,
) -> None:
    """Create the topics that are missing; what exists stays as it is. More partitions later: `engram topics grow`.

    Example: engram topics create --bootstrap-servers 127.0.0.1:9092 --partitions 12
    """
    settings = run.settings(
        AllSettings, kafka_overrides(bootstrap_servers, topic_prefix) | {"kafka.frames_partitions": partitions}
    )
    specs = _specs(settings)
    with open_topics(settings.kafka) as topics:
        created = topics.create(specs)
        differences = topics.differences(specs)
    for spec in specs:
        print(f"{'created' if spec.name in created else 'exists '} {spec.name} ({spec.partitions} partitions)")
    if differences:
        different = "; ".join(f"{name}: {', '.join(settings)}" for name, settings in differences.items())
        print(f"topics that exist are kept otherwise than the settings say ({different}); `engram topics apply` mends")


def apply(
    run: Invocation,
    bootstrap_servers: BootstrapOption = None,
    topic_prefix: PrefixOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Create what is missing and give existing topics the retention, sizes and segments that the settings ask for.

    A shorter retention deletes records soon after. What changes is printed; --dry-run prints it and changes nothing.

    Example: engram topics apply --bootstrap-servers 127.0.0.1:9092 --dry-run
    """
    settings = run.settings(AllSettings, kafka_overrides(bootstrap_servers, topic_prefix))
    specs = _specs(settings)
    with open_topics(settings.kafka) as topics:
        if dry_run:
            created, mended = topics.missing(specs), topics.differences(specs)
        else:
            created, mended = topics.create(specs), topics.mend(specs)
    create, mend = ("missing", "differs") if dry_run else ("created", "mended")
    for spec in specs:
        said = create if spec.name in created else mend if spec.name in mended else "ok"
        changes = ", ".join(f"{key}: {one.found} -> {one.wanted}" for key, one in mended.get(spec.name, {}).items())
        print(f"{said:<7} {spec.name}{f' ({changes})' if changes else ''}")
    if dry_run:
        print("nothing was changed; without --dry-run all of it is")


def grow(
    run: Invocation,
    partitions: Annotated[int, typer.Argument(metavar="N", help="Partitions of frames from now on.")],
    bootstrap_servers: BootstrapOption = None,
    topic_prefix: PrefixOption = None,
) -> None:
    """Give camera-states, frames, frame-scores and anomaly-events N partitions each, so that N workers can share.

    Running workers notice within seconds, end with an error and must be started again. A camera whose partition
    changes starts anew: its window fills again, its open event ends as camera_lost. What was cut off can be repeated.

    Example: engram topics grow 24
    """
    settings = run.settings(
        AllSettings, kafka_overrides(bootstrap_servers, topic_prefix) | {"kafka.frames_partitions": partitions}
    )
    names = grown_together(settings.kafka)
    with open_topics(settings.kafka) as topics:
        grown = topics.grow(names, partitions)
    for name in names:
        print(f"{'grown' if name in grown else 'ok':<7} {name} ({partitions} partitions)")
    print(f"Set kafka.frames_partitions to {partitions} everywhere, and see that workers and readers start again.")
    print("Cameras whose partition has changed start anew.")


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
    specs = _specs(settings)
    with open_topics(settings.kafka) as topics:
        existing, differences = topics.existing(), topics.differences(specs)
    states = {spec.name: topic_state(spec, existing, differences.get(spec.name)) for spec in specs}
    if output == "json":
        print_json_line(states)
    else:
        print_table("topics", ("topic", "state"), list(states.items()))
    if any(state != "ok" for state in states.values()):
        raise typer.Exit(EXIT_FAULT)


def _specs(settings: AllSettings) -> tuple[TopicSpec, ...]:
    return topic_specs(settings.kafka, max(settings.producer.max_frame_bytes, settings.worker.max_frame_bytes))
