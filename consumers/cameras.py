"""Reading how the cameras fare: the newest status of each, and whether its producer still lives."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from messaging.ports import Record
from schemas.cameras import CameraStatus
from schemas.codec import decode_message
from schemas.errors import BadMessageError

SILENT_BEATS = 3


@dataclass(frozen=True, slots=True)
class CameraLine:
    """One camera as people see it. ``state``: that of its status, or ``silent`` if nobody has spoken for it lately."""

    state: str
    status: CameraStatus


def newest_statuses(records: Iterable[Record], now: datetime) -> tuple[list[CameraLine], int]:
    """The cameras by name, and how many records could not be read."""
    newest: dict[str, CameraStatus] = {}
    num_bad = 0
    for record in records:
        if record.value is None:
            newest.pop((record.key or b"").decode("utf-8", "replace"), None)
            continue
        try:
            status = decode_message(CameraStatus, record.value)
        except BadMessageError:
            num_bad += 1
            continue
        # Someone who waits says so beside the one that is sending, and must not hide it.
        if status.state != "waiting" or status.camera_id not in newest:
            newest[status.camera_id] = status
    return [CameraLine(_state(status, now), status) for _, status in sorted(newest.items())], num_bad


def _state(status: CameraStatus, now: datetime) -> str:
    if status.state == "offline":
        return "offline"
    silent = now - status.reported_at > timedelta(seconds=SILENT_BEATS * status.heartbeat_s)
    return "silent" if silent else status.state
