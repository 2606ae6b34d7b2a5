"""``engram status``: the whole fleet on one screen."""

import logging
from collections.abc import Iterator
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from engram.cli.invocation import Invocation, command
from engram.cli.options import BootstrapOption, PrefixOption, StoreOption, kafka_overrides
from engram.cli.output import OutputOption, print_json_line
from engram.observe.fleet import Fleet, spoken
from engram.run.process import connected, stop_on_signals
from schemas.settings import WorkerSettings

if TYPE_CHECKING:
    from engram.observe.fleet_look import FleetLook

WatchOption = Annotated[bool, typer.Option("--watch", "-w", help="Stay, and look again every --every seconds.")]
EveryOption = Annotated[float, typer.Option("--every", min=0.5, help="Seconds between two looks, with --watch.")]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(app, "status")(status)


def status(
    run: Invocation,
    watch: WatchOption = False,
    every: EveryOption = 2.0,
    bootstrap_servers: BootstrapOption = None,
    topic_prefix: PrefixOption = None,
    store: StoreOption = None,
    output: OutputOption = "text",
) -> None:
    """Show the fleet: how far each group is, who owns what, the newest score of each camera, the banks of the store.

    All of it comes from broker and store, none from the processes. A camera is listed if its last score is among the
    newest 500 of its partition. With --watch and -o json each look is one line.

    Example: engram status --watch --bootstrap-servers 127.0.0.1:9092
    """
    overrides = {**kafka_overrides(bootstrap_servers, topic_prefix), "store.url": store}
    settings = run.settings(WorkerSettings, overrides)
    from engram.observe.fleet_look import open_fleet_look  # noqa: PLC0415 - the client takes a while to load

    logging.getLogger("kafka").setLevel(logging.ERROR)  # what matters comes as an error, the rest would tear the screen
    console = Console(markup=False)
    with stop_on_signals() as stop, open_fleet_look(settings) as fleet_look:
        if output == "json":
            for fleet in looks(fleet_look, stop, every if watch else None):
                print_json_line(fleet.as_json())
        elif not watch:
            console.print(screen(fleet_look.look()))
        else:
            with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
                for fleet in looks(fleet_look, stop, every):
                    live.update(screen(fleet), refresh=True)


def looks(fleet_look: "FleetLook", stop: Event, every_s: float | None) -> Iterator[Fleet]:
    """One look, or one after the other until ``stop``; then a broker that is away is waited for."""
    if every_s is None:
        yield fleet_look.look()
        return
    while not stop.is_set():
        fleet = connected(fleet_look.look, stop)
        if fleet is None:
            return
        yield fleet
        stop.wait(every_s)


def screen(fleet: Fleet) -> RenderableType:
    """The fleet as tables."""
    head = Text(f"{fleet.at:%Y-%m-%d %H:%M:%S} UTC, {len(fleet.cameras)} cameras")
    troubles = [Text(f"{what}: {why}", style="bold red") for what, why in fleet.trouble.items()]
    return Group(head, *troubles, _groups(fleet), _partitions(fleet), _cameras(fleet), _banks(fleet))


def _groups(fleet: Fleet) -> Table:
    table = _table("groups", "group", "state", "members", "lag")
    for group in fleet.groups:
        names = ", ".join(member.client_id for member in group.members) or "nobody"
        table.add_row(Text(group.name), group.state, Text(names), f"{group.lag:,}")
    return table


def _partitions(fleet: Fleet) -> Table:
    """Of the workers' group; who owns one and what waits in it."""
    table = _table("partitions", "partition", "owner", "committed", "end", "lag", "cameras")
    for each in fleet.groups[0].partitions if fleet.groups else ():
        cameras = ", ".join(row.camera_id for row in fleet.cameras if row.partition == each.partition)
        committed = "-" if each.committed is None else f"{each.committed:,}"
        owner = Text(each.owner) if each.owner else Text("nobody", style="" if each.lag == 0 else "bold red")
        table.add_row(
            f"{each.topic}/{each.partition}", owner, committed, f"{each.end:,}", f"{each.lag:,}", Text(cameras)
        )
    return table


def _cameras(fleet: Fleet) -> Table:
    table = _table("cameras", "camera", "state", "score", "scored", "after capture", "worker", "bank", "memory")
    for row in fleet.cameras:
        state = row.state(fleet.at)
        score = "filling its window" if row.anomaly_score is None else f"{row.anomaly_score:.3f}"
        ago = f"{spoken(row.silent_s(fleet.at))} ago"
        shown = Text(state, style="" if state == "ok" else "bold yellow")
        bank = f"{row.bank[0]} v{row.bank[1]}"
        table.add_row(
            Text(row.camera_id),
            shown,
            score,
            ago,
            spoken(row.late_s),
            Text(row.worker_id),
            Text(bank),
            row.memory_state,
        )
    return table


def _banks(fleet: Fleet) -> Table:
    table = _table("banks", "bank", "version", "written", "updates")
    for row in fleet.banks:
        age = f"{spoken((fleet.at - row.committed_at).total_seconds())} ago"
        table.add_row(Text(row.bank_id), str(row.version), age, "frozen" if row.frozen else "on")
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column in ("lag", "committed", "end") else "left")
    return table
