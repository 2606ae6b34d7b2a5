"""``engram notify``: tell people and houses of events."""

import json
from pathlib import Path
from typing import Annotated

import typer

from consumers.notify.rules import NotifyRules, read_rules
from engram.build.adapters import open_bus
from engram.cli.invocation import Invocation, command
from engram.cli.options import BootstrapOption, HttpOption, PrefixOption, kafka_overrides
from engram.observe.desk import open_desk
from engram.run.notify import NotifyRequest, run_notify
from engram.run.process import stop_on_signals
from schemas.export import DIALECT
from schemas.settings import ConsumerSettings
from schemas.topics import TopicNames

RulesArgument = Annotated[Path, typer.Argument(metavar="RULES.toml", help="Who is told of what.")]
CheckOption = Annotated[bool, typer.Option("--check", help="Only read the rules, and say what is wrong with them.")]
SchemaOption = Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of the rules, for editors.")]
GroupOption = Annotated[
    str, typer.Option("--group", metavar="NAME", help="Consumer groups are NAME-TARGET, under the topic prefix.")
]
TopicOption = Annotated[
    str | None, typer.Option("--topic", help="Another topic of events, without its prefix, as in verified-events.")
]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(app, "notify", extra="notify")(notify)


def notify(
    run: Invocation,
    rules: RulesArgument,
    check: CheckOption = False,
    schema: SchemaOption = False,
    group: GroupOption = "engram-notify",
    topic: TopicOption = None,
    bootstrap_servers: BootstrapOption = None,
    topic_prefix: PrefixOption = None,
    http: HttpOption = None,
) -> None:
    """Tell webhooks and MQTT brokers (Home Assistant) of events, as a rules file says.

    Each target is told at least once, at its own pace: one that hangs holds up no other. What it does not take within
    give_up_after is a dead letter. A new target begins now. SIGHUP reads the file again; a broken one changes nothing.

    Example: engram notify examples/notify.toml
    """
    if schema:
        print(rules_schema(), end="")
        return
    settings = run.settings(ConsumerSettings, kafka_overrides(bootstrap_servers, topic_prefix) | {"http.listen": http})
    kafka = settings.kafka
    if check:
        found = read_rules(rules)
        print(f"{rules}: {len(found.rules)} rules, targets {', '.join(sorted(found.targets))}")
        return
    names = TopicNames.with_prefix(kafka.topic_prefix)
    events = names.anomaly_events if topic is None else kafka.topic_prefix + topic
    request = NotifyRequest(rules, events, names.dead_letters, kafka.topic_prefix + group)
    with open_desk(settings.http, "notify") as desk, open_bus(kafka) as bus, stop_on_signals() as stop:
        run_notify(bus, request, stop, desk)


def rules_schema() -> str:
    """The JSON Schema of the rules as it stands beside the example."""
    document = {"$schema": DIALECT, **NotifyRules.model_json_schema()}
    return json.dumps(document, indent=2, sort_keys=True) + "\n"
