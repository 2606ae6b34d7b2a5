"""``engram watch``: everything in one process."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from engram.build.shipped import WALKWAY
from engram.cli.clips import DEFAULT_GB, KeepOption, retention
from engram.cli.console import ListenOption, tell_address
from engram.cli.events import print_events
from engram.cli.invocation import Invocation, command
from engram.cli.options import (
    BackendOption,
    BundleOption,
    CamerasOption,
    DeviceOption,
    FpsOption,
    HttpOption,
    PaceOption,
    StartOption,
    StoreOption,
)
from engram.cli.output import OutputOption
from engram.cli.produce import SourceFileOption, SourcesArgument
from engram.run.process import stop_on_signals
from producers.sources.address import parse_address
from schemas.settings import Loaded, WatchSettings

ScoresOption = Annotated[Path | None, typer.Option("--scores", help="Write every frame's score to this CSV file.")]
ClipsOption = Annotated[
    str | None,
    typer.Option("--clips", help="Keep a picture and a video of each event in this folder, or at s3://bucket/prefix."),
]
UpdatesOption = Annotated[
    bool | None, typer.Option("--updates/--no-updates", help="Whether the memory may learn from what is watched.")
]

ConsoleOption = Annotated[
    bool,
    typer.Option("--console", help="Show the operator's page too, and stay when the sources have ended, until Ctrl-C."),
]

log = logging.getLogger(__name__)


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(app, "watch", extra="worker")(watch)


def watch(
    run: Invocation,
    sources: SourcesArgument = None,
    source_file: SourceFileOption = None,
    bundle: BundleOption = None,
    camera: CamerasOption = None,
    scores: ScoresOption = None,
    clips: ClipsOption = None,
    keep: KeepOption = "30d",
    fps: FpsOption = None,
    pace: PaceOption = None,
    start: StartOption = None,
    updates: UpdatesOption = None,
    store: StoreOption = None,
    device: DeviceOption = None,
    backend: BackendOption = None,
    http: HttpOption = None,
    console: ConsoleOption = False,
    listen: ListenOption = None,
    output: OutputOption = "text",
) -> None:
    """Watch cameras or files on this machine: no Kafka, no Redis. Ends when the sources do; Ctrl-C drains.

    Recordings are taken frame by frame as fast as this machine can, unless --pace live is given. With -o json each
    event message is one line of standard output; --console shows all of it in a browser. With --config, masks,
    thresholds, hours and cameras that come and go in the file are taken over as it is saved, and on SIGHUP.

    Example: engram watch yard.mp4 --camera yard --bundle bundles/yard --scores yard.csv

    Without --bundle the one for any camera is used, which comes along and needs no training: for its first minute of
    normal video a camera is learning, and opens no event. The synthetic scene has a bundle of its own:
    engram watch 'synthetic://walkway?seed=1' --pace live --console
    """
    overrides: dict[str, object] = {
        "worker.bundle": bundle,
        "worker.device": device,
        "worker.backend": backend,
        "producer.fps": fps,
        "producer.pace": pace,
        "producer.start": start,
        "memory.updates": updates,
        "store.url": store,
        "http.listen": http,
        "console.listen": listen,
    }
    first = run.load(WatchSettings, overrides)  # what is wrong there is told before torch is loaded
    from engram.build.cameras import resolved_sources  # noqa: PLC0415 - needs an extra, as what follows
    from engram.run.reload import Reload  # noqa: PLC0415
    from engram.run.watch import WatchRequest, run_watch, watch_defaults  # noqa: PLC0415

    named, names = resolved_sources(sources or (), source_file or ()), camera or ()
    if first.settings.worker.bundle is None and named and all(_is_the_walkway(one) for one in named):
        overrides["worker.bundle"] = WALKWAY

    def load() -> Loaded[WatchSettings]:
        loaded = run.load(WatchSettings, overrides)
        return run.load(WatchSettings, overrides | watch_defaults(loaded, named, names))

    kept = retention(keep, DEFAULT_GB)
    tell_console = tell_address if console else None
    request = WatchRequest(named, names, scores, lambda event: print_events([event], output), clips, kept, tell_console)
    with stop_on_signals() as stop:
        outcome = run_watch(load(), request, stop, Reload(run.config, load))
    tally = outcome.worker.tally
    log.info("%d frames sent: %d scored, %d while a window filled", outcome.sent, tally.scored, tally.warming)
    if tally.skipped or tally.dead_lettered:
        log.warning("not scored: %s %s", dict(tally.skipped), dict(tally.dead_lettered))


def _is_the_walkway(source: str) -> bool:
    """The demo's own scene by its own camera, which the demo's bundle is trained on."""
    address = parse_address(source)
    return address.kind == "synthetic" and "camera" not in address.query
