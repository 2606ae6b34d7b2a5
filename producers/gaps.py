"""What is lost for good, gathered into gaps: one record for a stretch, however many frames of it are lost."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from schemas.cameras import CameraGap
from schemas.messages import FrameHeader

JOIN = timedelta(seconds=5)
"""Losses closer than this are one gap: a log that takes every other frame must not be told of each."""
QUIET_S = 2.0
"""So long after its last loss a gap is over."""
LONGEST_S = 60.0
"""A gap that goes on is told of in pieces."""
MOST_KEPT = 1000
"""Gaps that wait to be told; beyond it the two oldest of one cause become one."""
_GAPS = TypeAdapter(tuple[CameraGap, ...])


@dataclass(slots=True)
class _Growing:
    gap: CameraGap
    since_s: float
    touched_s: float


class GapBook:
    """Writes down losses; gives whole gaps to whoever tells of them. From any thread.

    With a file, what was not told yet outlives the process.
    """

    def __init__(self, file: Path | None = None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._growing: dict[tuple[str, str, str], _Growing] = {}
        self._found = _read(file)
        self._over: list[CameraGap] = list(self._found)
        self._open: dict[int, CameraGap] = {}  # taken, and neither told nor back
        self._is_changed = False

    def add(self, header: FrameHeader, cause: str) -> None:
        """A frame is lost."""
        key, now_s = (header.camera_id, header.session_id, cause), self._monotonic()
        with self._lock:
            self._is_changed = True
            growing = self._growing.get(key)
            if growing is not None and not _joins(growing.gap, header):
                self._over.append(growing.gap)
                growing = None
            if growing is None:
                self._growing[key] = _Growing(_gap(header, cause), now_s, now_s)
            else:
                growing.gap, growing.touched_s = _extended(growing.gap, header), now_s

    def was_named(self, header: FrameHeader, cause: str) -> bool:
        """Whether an earlier run wrote down a gap of this cause, not told by then, that reaches over a frame."""
        return any(_holds(gap, header, cause) for gap in self._found)

    def take(self, is_last: bool = False) -> Sequence[CameraGap]:
        """Gaps that are over, in order; all of them if no more losses come. What cannot be told comes ``back``."""
        now_s = self._monotonic()
        with self._lock:
            for key, growing in list(self._growing.items()):
                if is_last or now_s - growing.touched_s >= QUIET_S or now_s - growing.since_s >= LONGEST_S:
                    self._over.append(growing.gap)
                    del self._growing[key]
            taken, self._over = self._over, []
            self._open.update((id(gap), gap) for gap in taken)
            return taken

    def back(self, gap: CameraGap) -> None:
        """One that was taken could not be told: later."""
        with self._lock:
            self._open.pop(id(gap), None)
            self._over.insert(0, gap)
            self._is_changed = True
            while len(self._over) > MOST_KEPT and self._merge():
                pass

    def told(self, gap: CameraGap) -> None:
        """One that was taken is told of."""
        with self._lock:
            self._open.pop(id(gap), None)
            self._is_changed = True

    def save(self) -> None:
        """Write what is not told yet to the file. To be called often, and whenever the disk has lost something."""
        with self._writing:
            with self._lock:
                if self._file is None or not self._is_changed:
                    return
                self._is_changed = False
                growing = (one.gap for one in self._growing.values())
                kept = (*self._open.values(), *self._over, *growing)
            beside = self._file.with_suffix(".new")
            with contextlib.suppress(OSError):  # a disk that fails is told by the spool
                beside.write_bytes(_GAPS.dump_json(kept))
                beside.replace(self._file)

    def _merge(self) -> bool:
        for number, first in enumerate(self._over):
            for other, second in enumerate(self._over[number + 1 :], number + 1):
                if (first.session_id, first.cause) == (second.session_id, second.cause):
                    self._over[number] = _merged(first, second)
                    del self._over[other]
                    return True
        return False


def _gap(header: FrameHeader, cause: str) -> CameraGap:
    return CameraGap(
        camera_id=header.camera_id,
        session_id=header.session_id,
        first_frame=header.frame_index,
        last_frame=header.frame_index,
        first_at=header.captured_at,
        last_at=header.captured_at,
        cause=cause,
        num_frames=1,
    )


def _holds(gap: CameraGap, header: FrameHeader, cause: str) -> bool:
    is_of = (gap.camera_id, gap.session_id, gap.cause) == (header.camera_id, header.session_id, cause)
    return is_of and gap.first_frame <= header.frame_index <= gap.last_frame


def _joins(gap: CameraGap, header: FrameHeader) -> bool:
    return header.frame_index > gap.last_frame and header.captured_at - gap.last_at <= JOIN


def _extended(gap: CameraGap, header: FrameHeader) -> CameraGap:
    update = {
        "last_frame": header.frame_index,
        "last_at": header.captured_at,
        "num_frames": gap.num_frames + 1,
    }
    return gap.model_copy(update=update)


def _merged(one: CameraGap, other: CameraGap) -> CameraGap:
    update = {
        "first_frame": min(one.first_frame, other.first_frame),
        "last_frame": max(one.last_frame, other.last_frame),
        "first_at": min(one.first_at, other.first_at),
        "last_at": max(one.last_at, other.last_at),
        "num_frames": one.num_frames + other.num_frames,
    }
    return one.model_copy(update=update)


def _read(file: Path | None) -> Sequence[CameraGap]:
    if file is None:
        return ()
    try:
        return _GAPS.validate_json(file.read_bytes())
    except (OSError, ValidationError, json.JSONDecodeError):
        return ()
