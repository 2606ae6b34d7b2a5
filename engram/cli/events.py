"""``engram events``: read or follow the events topic."""

import logging
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from consumers.group import GroupReader
from consumers.reader import BATCH, POLL_S, EventReader, followed
from consumers.sieve import EventSieve, ReadCounts
from consumers.snapshots import save_snapshots
from engram.build.adapters import open_bus
from engram.cli.event_lines import event_line
from engram.cli.invocation import Invocation, command
from engram.cli.options import BootstrapOption, FollowOption, HttpOption, PrefixOption, kafka_overrides
from engram.cli.output import Output, OutputOption, print_json_line
from engram.observe.consumer import Follower, SeenConsumer, Tries, member
from engram.observe.desk import open_desk
from engram.run.process import connected, stop_on_signals
from messaging.ports import Begin, Bus, Reader, Subscription
from schemas.messages import AnomalyEvent
from schemas.settings import ConsumerSettings
from schemas.topics import TopicNames

BeginningOption = Annotated[
    bool, typer.Option("--from-beginning", help="With --follow, or of a new --group: the old ones first.")
]
CameraOption = Annotated[list[str] | None, typer.Option("--camera", help="Only this camera; may be repeated.")]
SnapshotsOption = Annotated[
    Path | None, typer.Option("--snapshots", help="Write the picture of each event into this folder.")
]
GroupOption = Annotated[
    str | None,
    typer.Option(
        "--group",
        metavar="NAME",
        help="Follow as a member of this consumer group, which knows how far it has printed: over a restart nothing is"
        " missed. A new one begins now, or with --from-beginning.",
    ),
]
TIMEOUT_S = 30.0

log = logging.getLogger(__name__)


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(app, "events")(events)


def events(
    run: Invocation,
    follow: FollowOption = False,
    from_beginning: BeginningOption = False,
    camera: CameraOption = None,
    snapshots: SnapshotsOption = None,
    group: GroupOption = None,
    bootstrap_servers: BootstrapOption = None,
    topic_prefix: PrefixOption = None,
    http: HttpOption = None,
    output: OutputOption = "text",
) -> None:
    """Print anomaly events: all that the topic holds, or with --follow those to come.

    With -o json each line is one CloudEvents document. Repeats are dropped. With --group each is printed at least once,
    whatever happens between: after a crash the last ones may come again, with the same source and id.

    Example: engram events --follow --camera gate -o json

    None missed over a restart: engram events --group siren -o json
    """
    settings = run.settings(ConsumerSettings, kafka_overrides(bootstrap_servers, topic_prefix) | {"http.listen": http})
    kafka = settings.kafka
    topic = TopicNames.with_prefix(kafka.topic_prefix).anomaly_events
    if group is not None:
        with open_desk(settings.http, "events") as desk, open_bus(kafka) as bus, stop_on_signals() as stop:
            desk.wait_for("the log must answer")
            subscription = opened_group(bus, topic, group, "oldest" if from_beginning else "newest", stop)
            if subscription is not None:
                members = GroupReader(subscription, EventSieve(camera or ()))
                tries = Tries()
                desk.show(SeenConsumer("events", lambda: [_printer(group, members, tries)]))
                follow_group(members, stop, output, snapshots, tries)
        return
    with open_bus(kafka) as bus, stop_on_signals() as stop:
        opened = opened_reader(bus, topic, from_beginning or not follow, stop if follow else None)
        if opened is None:
            return
        reader = EventReader(opened, camera or ())
        try:
            if not follow:
                _pass_on(in_order(reader.read_to_end(TIMEOUT_S)), output, snapshots)
            for found in followed(reader.read, stop) if follow else ():
                _pass_on(found, output, snapshots)
        finally:
            reader.close()
            tell_skipped(reader.counts)


def follow_group(
    reader: GroupReader[AnomalyEvent],
    stop: threading.Event,
    output: Output,
    snapshots: Path | None = None,
    tries: Tries | None = None,
) -> None:
    """Print what the group has not seen, until ``stop`` is set; its position moves after the lines were written."""
    tries = tries or Tries()

    def step(timeout_s: float) -> None:
        found = reader.receive(timeout_s, BATCH)
        _pass_on([one.message for one in found], output, snapshots)
        tries.done += len(found)
        reader.settle(one.place for one in found)
        reader.commit()

    once = tries.of(step)
    try:
        while not stop.is_set():
            once(POLL_S)
    finally:
        reader.close()
        tell_skipped(reader.counts)


def _printer(group: str, reader: GroupReader[AnomalyEvent], tries: Tries) -> Follower:
    return member(group, reader, {"printed": tries.done}, tries.turned_at_s)


def tell_skipped(counts: ReadCounts) -> None:
    """Say at the end what could not be read, if anything."""
    if counts.bad:
        log.warning("skipped messages that could not be read: %s", counts.told_bad())


def opened_group(bus: Bus, topic: str, group: str, begin: Begin, stop: threading.Event) -> Subscription | None:
    """A membership of ``group``; a broker that is away is waited for. None if stopped before."""
    return connected(lambda: bus.subscription([topic], group, begin=begin), stop)


def _pass_on(messages: Sequence[AnomalyEvent], output: Output, snapshots: Path | None) -> None:
    if snapshots is not None:
        save_snapshots(messages, snapshots)
    print_events(messages, output)


def opened_reader(bus: Bus, topic: str, from_beginning: bool, stop: threading.Event | None) -> Reader | None:
    """A reader of ``topic``; whoever follows until ``stop`` waits for a broker that is away. None if stopped before."""
    if stop is None:
        return bus.reader([topic], from_beginning)
    return connected(lambda: bus.reader([topic], from_beginning), stop)


def in_order(messages: Iterable[AnomalyEvent]) -> list[AnomalyEvent]:
    """By time across cameras; the messages of one event keep their sequence."""
    return sorted(messages, key=lambda event: (event.time, event.data.event_id, event.sequence))


def print_events(messages: Iterable[AnomalyEvent], output: Output) -> None:
    """One line a message."""
    for event in messages:
        if output == "json":
            print_json_line(event)
        else:
            print(event_line(event), flush=True)
