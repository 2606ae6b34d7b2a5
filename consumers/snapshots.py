"""The pictures of events as files: one an event, that of its newest peak."""

import base64
import binascii
from collections.abc import Iterable
from pathlib import Path

from consumers.media.folder import write_whole
from schemas.errors import FatalError
from schemas.messages import AnomalyEvent

_JPEG = b"\xff\xd8\xff"


def save_snapshots(messages: Iterable[AnomalyEvent], folder: Path) -> tuple[Path, ...]:
    """Write the picture of each message that has one; what is there of an earlier peak is replaced. The files written.

    Args:
        messages: of any events; those of one event in their order.
        folder: gets a folder a camera; made when absent.

    Raises:
        FatalError: the folder cannot be written.
    """
    written: dict[Path, None] = {}
    for message in messages:
        picture = _picture(message)
        if picture is not None:
            path = folder / snapshot_name(message)
            _write(path, picture)
            written[path] = None
    return tuple(written)


def snapshot_name(message: AnomalyEvent) -> Path:
    """``camera/time_session_first-frame.jpg``, so that a camera's pictures are in order of time."""
    data = message.data
    return Path(data.camera_id, f"{data.started_at:%Y-%m-%dT%H-%M-%SZ}_{data.session_id}_{data.frames.first}.jpg")


def _picture(message: AnomalyEvent) -> bytes | None:
    """The JPEG; None where there is none, or something else in its place: anybody may have written the message."""
    if message.data.thumbnail is None:
        return None
    try:
        picture = base64.b64decode(message.data.thumbnail.jpeg_base64, validate=True)
    except binascii.Error:
        return None
    return picture if picture.startswith(_JPEG) else None


def _write(path: Path, picture: bytes) -> None:
    try:
        write_whole(path, picture)
    except OSError as error:
        raise FatalError(f"pictures must go into a folder that can be written, got {path.parent}: {error}") from error
