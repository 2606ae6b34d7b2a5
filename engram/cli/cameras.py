"""``engram cameras``: how each camera fares."""

import logging
from datetime import datetime

import typer

from consumers.cameras import CameraLine, newest_statuses
from engram.build.adapters import open_bus
from engram.cli.invocation import Invocation, command
from engram.cli.options import BootstrapOption, PrefixOption, kafka_overrides
from engram.cli.output import OutputOption, print_json_line, print_table
from schemas.messages import utc_now
from schemas.settings import ConsumerSettings
from schemas.topics import TopicNames

TIMEOUT_S = 30.0
COLUMNS = ("camera", "state", "since", "picture", "fps", "sent", "on disk", "lost", "session", "why")

log = logging.getLogger(__name__)


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(app, "cameras")(cameras)


def cameras(
    run: Invocation,
    bootstrap_servers: BootstrapOption = None,
    topic_prefix: PrefixOption = None,
    output: OutputOption = "text",
) -> None:
    """List the cameras: online, stale or offline since when and why, their rate, what is lost of them and by what.

    A camera is silent when its producer has said nothing for three heartbeats: it was killed, or has no network.

    Example: engram cameras
    """
    kafka = run.settings(ConsumerSettings, kafka_overrides(bootstrap_servers, topic_prefix)).kafka
    with open_bus(kafka) as bus:
        reader = bus.reader([TopicNames.with_prefix(kafka.topic_prefix).camera_status], from_beginning=True)
        lines, num_bad = newest_statuses(reader.read_to_end(TIMEOUT_S), utc_now())
        reader.close()
    if num_bad:
        log.warning("skipped %d statuses that could not be read", num_bad)
    if output == "json":
        for line in lines:
            print_json_line(
                {"camera_id": line.status.camera_id, "now": line.state, **line.status.model_dump(mode="json")}
            )
    else:
        print_table("cameras", COLUMNS, [_row(line) for line in lines])


def _row(line: CameraLine) -> tuple[object, ...]:
    status, frames = line.status, line.status.frames
    lost = ", ".join(f"{loss.cause} {loss.num_frames}" for loss in frames.dropped)
    said = f"last heard of at {_clock(status.reported_at)}" if line.state == "silent" else status.why
    return (
        status.camera_id,
        line.state,
        _clock(status.since),
        status.view,
        status.fps,
        frames.sent,
        frames.spooled or None,
        lost or None,
        status.session_id,
        said,
    )


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}Z"
