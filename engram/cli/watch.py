"""``engram watch``: everything in one process."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from engram.cli.events import print_events
from engram.cli.invocation import Invocation, command
from engram.cli.options import BackendOption, BundleOption, DeviceOption, FpsOption, HttpOption, PaceOption, StoreOption
from engram.cli.output import OutputOption
from engram.cli.produce import CamerasOption, SourcesArgument
from engram.run.process import stop_on_signals
from schemas.settings import WatchSettings

ScoresOption = Annotated[Path | None, typer.Option("--scores", help="Write every frame's score to this CSV file.")]
UpdatesOption = Annotated[
    bool | None, typer.Option("--updates/--no-updates", help="Whether the memory may learn from what is watched.")
]

log = logging.getLogger(__name__)


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(app, "watch", extra="worker")(watch)


def watch(
    run: Invocation,
    sources: SourcesArgument,
    bundle: BundleOption = None,
    camera: CamerasOption = None,
    scores: ScoresOption = None,
    fps: FpsOption = None,
    pace: PaceOption = None,
    updates: UpdatesOption = None,
    store: StoreOption = None,
    device: DeviceOption = None,
    backend: BackendOption = None,
    http: HttpOption = None,
    output: OutputOption = "text",
) -> None:
    """Watch cameras or files on this machine: no Kafka, no Redis. Ends when the sources do; Ctrl-C drains.

    Recordings are taken frame by frame as fast as this machine can, unless --pace live is given. With -o json each
    event message is one line of standard output.

    Example: engram watch yard.mp4 --camera yard --bundle bundles/yard --scores yard.csv
    """
    overrides: dict[str, object] = {
        "worker.bundle": bundle,
        "worker.device": device,
        "worker.backend": backend,
        "producer.fps": fps,
        "producer.pace": pace,
        "memory.updates": updates,
        "store.url": store,
        "http.listen": http,
    }
    loaded = run.load(WatchSettings, overrides)
    from engram.run.watch import WatchRequest, run_watch, watch_defaults  # noqa: PLC0415 - needs an extra

    settings = run.settings(WatchSettings, overrides | watch_defaults(loaded, sources))
    request = WatchRequest(sources, camera or (), scores, lambda event: print_events([event], output))
    with stop_on_signals() as stop:
        outcome = run_watch(settings, request, stop)
    tally = outcome.worker.tally
    log.info("%d frames sent: %d scored, %d while a window filled", outcome.sent, tally.scored, tally.warming)
    if tally.skipped or tally.dead_lettered:
        log.warning("not scored: %s %s", dict(tally.skipped), dict(tally.dead_lettered))
