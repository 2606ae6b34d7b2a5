"""What tests of outages share: what a spool has on disk, and what of each camera has reached the log."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from messaging.ports import Bus, Record
from messaging.sizes import held_bytes
from producers.spool.segments import skim
from schemas.cameras import CameraGap, CameraGapEvent
from schemas.codec import HEADER, decode_message
from schemas.errors import TransientError
from schemas.messages import FrameHeader

READ_S = 240.0

Frame = tuple[str, int]
"""Session and index, of one camera."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One record of ``frames``: when it was handed to the log, and its bytes as buffers count them."""

    header: FrameHeader
    sent_ms: int
    num_bytes: int

    @property
    def is_frame(self) -> bool:
        return self.header.kind == "frame"

    @property
    def frame(self) -> Frame:
        return self.header.session_id, self.header.frame_index


def on_disk(folder: Path, cameras: Iterable[str]) -> dict[str, list[Frame]]:
    """Camera to the frames in the segments of a spool."""
    kept: dict[str, list[Frame]] = {camera: [] for camera in cameras}
    for path in sorted(folder.rglob("*.segment")):
        try:
            records = list(skim(path, 0))
        except FileNotFoundError:  # it was done with
            continue
        frames = (one.header for one in records if one.header.kind == "frame")
        kept[path.parent.name] += [(one.session_id, one.frame_index) for one in frames]
    return kept


def arrivals(bus: Bus, cameras: Iterable[str]) -> dict[str, list[Arrival]]:
    """Camera to its records, in the order of the log."""
    found: dict[str, list[Arrival]] = {camera: [] for camera in cameras}
    for record in _all(bus, "frames"):
        header = decode_message(FrameHeader, record.header(HEADER))
        found[header.camera_id].append(Arrival(header, record.timestamp_ms, held_bytes(record)))
    return found


def gaps(bus: Bus) -> dict[str, list[CameraGap]]:
    """Camera to the gaps that were told, each once."""
    found: dict[str, dict[str, CameraGap]] = {}
    for record in _all(bus, "camera-events"):
        if b"camera.gap" in (record.value or b""):
            event = decode_message(CameraGapEvent, record.value)
            found.setdefault(event.subject, {})[event.id] = event.data
    return {camera: list(named.values()) for camera, named in found.items()}


def named_by(told: Iterable[CameraGap]) -> set[Frame]:
    """The frames from the first to the last of each gap."""
    return {(gap.session_id, index) for gap in told for index in range(gap.first_frame, gap.last_frame + 1)}


def in_order(found: Sequence[Arrival]) -> list[Arrival]:
    """Each record at its first coming; workers drop what comes again."""
    first: dict[tuple[Frame, str], Arrival] = {}
    for one in found:
        first.setdefault((one.frame, one.header.kind), one)
    return list(first.values())


def num_repeats(found: Iterable[Arrival]) -> int:
    """How many frames came again."""
    return sum(count - 1 for count in Counter(one.frame for one in found if one.is_frame).values())


def missing(found: Sequence[Arrival], kept: Iterable[Frame] = ()) -> set[Frame]:
    """Frames that must have been captured and did not come.

    How many there were the end of a session says; where it was lost as well, the last of those that were ``kept``.
    """
    num_of: dict[str, int] = {}
    for session, index in kept:
        num_of[session] = max(num_of.get(session, 0), index + 1)
    num_of.update({one.header.session_id: one.header.frame_index for one in found if not one.is_frame})
    captured = {(session, index) for session, number in num_of.items() for index in range(number)}
    return captured - {one.frame for one in found if one.is_frame}


def most_within_ms(times_ms: Sequence[int], span_ms: int) -> int:
    """The most of ``times_ms`` that lie within so long of each other."""
    ordered, first, most = sorted(times_ms), 0, 0
    for last, at in enumerate(ordered):
        while at - ordered[first] >= span_ms:
            first += 1
        most = max(most, last - first + 1)
    return most


def _all(bus: Bus, topic: str) -> Sequence[Record]:
    """As a caller would who knows that the broker was away a moment ago: again and again, up to a deadline."""
    until_s = time.monotonic() + READ_S
    while True:
        try:
            with closing(bus.reader([topic], from_beginning=True)) as reader:
                return reader.read_to_end(READ_S)
        except TransientError:
            if time.monotonic() > until_s:
                raise
