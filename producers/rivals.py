"""Another producer that sends a camera of ours: said at once, and the newer one stands back.

Two sessions on one key tear each other's windows, so that no frame of either is scored. Whoever began later waits until
the earlier one has said that it is offline, or was silent for ``SILENT_BEATS`` heartbeats.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from messaging.ports import Reader, Record
from schemas.cameras import CameraStatus
from schemas.codec import decode_message
from schemas.errors import BadMessageError, EngramError

logger = logging.getLogger(__name__)

SILENT_BEATS = 2.5
_AGAIN_S = 10.0
_READ_S = 0.5
_BATCH = 500


@dataclass(frozen=True, slots=True)
class OwnSession:
    """One of ours."""

    session_id: str
    started_at: datetime


@dataclass(slots=True)
class _Other:
    status: CameraStatus
    seen_s: float


def process_name(machine: str) -> str:
    """``machine/process``, as statuses name their producer."""
    return f"{machine}/{os.getpid()}"


def is_gone(producer: str, own: str) -> bool:
    """Whether a producer of this machine has ended; of others nobody can say."""
    machine, _, number = producer.rpartition("/")
    if machine != own.rpartition("/")[0] or not number.isdigit():
        return False
    if producer == own:
        return True  # an earlier process of our number: containers give each the same
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


class Rivals:
    """What others say of cameras that are ours too. ``see`` from one thread, the rest from any."""

    def __init__(
        self,
        own: Mapping[str, OwnSession],
        producer: str,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``own`` sessions by camera id; ``producer`` is how we name ourselves in statuses."""
        self._own = own
        self._producer = producer
        self._now = now
        self._monotonic = monotonic
        self._others: dict[str, _Other] = {}
        self._told: set[str] = set()
        self._known = threading.Event()

    def in_front(self, camera_id: str) -> CameraStatus | None:
        """Whoever sends this camera and began before us; we stand back for it."""
        other, own = self._others.get(camera_id), self._own[camera_id]
        if other is None:
            return None
        if self._monotonic() - other.seen_s > SILENT_BEATS * other.status.heartbeat_s:
            self._forget(camera_id, "was silent for too long")
            return None
        theirs = (other.status.started_at, other.status.session_id)
        return other.status if theirs < (own.started_at, own.session_id) else None

    def see(self, status: CameraStatus) -> None:
        """A status was read, retained or new."""
        own = self._own.get(status.camera_id)
        if own is None or status.session_id == own.session_id:
            return
        known = self._others.get(status.camera_id)
        if status.state in ("offline", "waiting"):
            if status.state == "waiting":
                self._tell(status, own, "waits until this one is gone")
            elif known is not None and known.status.session_id == status.session_id:
                self._forget(status.camera_id, "has ended")
            return
        age = self._now() - status.reported_at
        if age > timedelta(seconds=SILENT_BEATS * status.heartbeat_s) or is_gone(status.producer, self._producer):
            return
        self._others[status.camera_id] = _Other(status, self._monotonic())
        is_first = (status.started_at, status.session_id) < (own.started_at, own.session_id)
        self._tell(status, own, "began first: this one waits until it is gone" if is_first else "is to wait")

    def wait_known(self, timeout_s: float) -> bool:
        """Wait until what was retained is read; False if the deadline came first."""
        return self._known.wait(timeout_s)

    def follow(self, open_reader: Callable[[], Reader], stop: threading.Event) -> None:
        """Read until ``stop`` is set, whatever the broker does; to be run in a thread of its own."""
        has_failed = False
        while not stop.is_set():
            try:
                self._follow(open_reader(), stop)
            except EngramError as error:
                # Cameras are sent all the same; a broker that is away is told by others.
                if not has_failed:
                    logger.info("whether others send our cameras cannot be seen now: %s", error)
                has_failed = True
                self._known.set()
                stop.wait(_AGAIN_S)

    def _follow(self, reader: Reader, stop: threading.Event) -> None:
        try:
            self._read(reader.read_to_end(_AGAIN_S))
            self._known.set()
            while not stop.is_set():
                self._read(reader.read(_BATCH, _READ_S))
        finally:
            reader.close()

    def _read(self, records: Sequence[Record]) -> None:
        newest = {record.key: record.value for record in records if record.value}
        for value in newest.values():
            try:
                self.see(decode_message(CameraStatus, value))
            except BadMessageError as error:
                logger.debug("a status that cannot be read: %s", error)

    def _tell(self, status: CameraStatus, own: OwnSession, what: str) -> None:
        if status.session_id not in self._told:
            self._told.add(status.session_id)
            text = "camera %s is sent by two producers: session %s (ours, %s) and session %s (%s), which %s;"
            text += " give each camera a name of its own (--camera)"
            ours, theirs = (own.session_id, self._producer), (status.session_id, status.producer)
            logger.error(text, status.camera_id, *ours, *theirs, what)

    def _forget(self, camera_id: str, why: str) -> None:
        status = self._others.pop(camera_id).status
        self._told.discard(status.session_id)
        logger.warning("camera %s: the other session, %s (%s), %s", camera_id, status.session_id, status.producer, why)
