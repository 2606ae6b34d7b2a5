"""``engram demo``: see it work, with nothing but this package."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engram.build.shipped import WALKWAY
from engram.cli.event_lines import event_line
from engram.cli.invocation import Invocation, command
from engram.cli.options import MadeBundleOption
from engram.cli.output import print_table
from engram.run.process import stop_on_signals
from schemas.messages import AnomalyEvent, EventData
from schemas.settings import WatchSettings

if TYPE_CHECKING:
    from engram.demo.show import DemoResult

OutOption = Annotated[Path, typer.Option("--out", help="Folder for the pictures.")]
SecondsOption = Annotated[float, typer.Option("--seconds", min=5, help="Scene time of each of the two cameras.")]

DEMO_SETTINGS: dict[str, object] = {
    # So that the memory is seen to learn within a minute.
    "coordinator.round_s": 5.0,
    "coordinator.quarantine_s": 2.0,
    # One a minute and camera: what a minute of a tiny network can be judged by. A real camera is set to one a day.
    "events.target_false_alarms_per_day": 1440.0,
}


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(app, "demo", extra="demo")(demo)


def demo(
    run: Invocation,
    out: OutOption = Path("out/demo"),
    seconds: SecondsOption = 60.0,
    bundle: MadeBundleOption = Path(WALKWAY),
) -> None:
    """Play two synthetic walkways with known anomalies, and show what Engram finds. Takes about a minute.

    No Kafka, no Redis, no camera, no GPU. Writes a timeline of scores, and a video of both with boxes where each
    frame is unusual.

    Example: engram demo --out out/demo
    """
    settings = run.settings(WatchSettings, {**DEMO_SETTINGS, "log.level": run.log_level or "warning"})
    from engram.demo.show import DemoRequest, run_demo  # noqa: PLC0415 - needs an extra

    with stop_on_signals() as stop:
        result = run_demo(settings, DemoRequest(bundle, seconds, _tell), out, stop)
    _show(result)


def _tell(event: AnomalyEvent) -> None:
    if event.data.phase != "update":
        print(event_line(event), flush=True)


def _event_frames(event: EventData) -> str:
    return f"found: frames {event.frames.first}-{event.frames.last}, peak at {event.peak.frame_index}"


def _show(result: "DemoResult") -> None:
    from engram.demo.comparison import false_alarms  # noqa: PLC0415 - needs an extra

    comparison, outcome = result.comparison, result.outcome
    rows = [
        (
            finding.camera_id,
            finding.anomaly.kind,
            f"{finding.anomaly.first_frame}-{finding.anomaly.last_frame}",
            "missed" if finding.event is None else _event_frames(finding.event),
        )
        for finding in comparison.findings
    ]
    print_table("injected anomalies", ("camera", "kind", "frames", "outcome"), rows)
    print(f"found {comparison.num_found} of {len(rows)} anomalies, {false_alarms(comparison)}")
    versions = ", ".join(f"{bank} at version {version}" for bank, version in outcome.versions.items()) or "none"
    print(f"scored {outcome.worker.tally.scored} of {outcome.sent} frames; memory banks: {versions}")
    print(f"threshold for {DEMO_SETTINGS['events.target_false_alarms_per_day']:.0f} false alarms per camera and day")
    print(f"timeline {result.timeline}, annotated video {result.video}")
