"""The frames of an event, found again in the frames topic: from so long before it to so long after it.

An event says when its frames were *captured*; the log can be asked only for when it *took* them. The two differ by
whatever lay between: a film that is read faster than it plays, frames that an edge kept on disk, a worker that is late.
So the search goes back from when the log took the event, twice as far each time, until a frame of its session is met
that is older than what is wanted, or the first of the session, or the log begins.
"""

import logging
import math
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from messaging.ports import Bus, Reader, Record
from schemas.codec import HEADER, decode_header
from schemas.errors import BadMessageError, EngramError
from schemas.messages import FrameHeader, FrameSpan

log = logging.getLogger(__name__)

SLACK_S = 10.0
"""Further back than seems needed: clocks differ, and a worker needs a moment."""
LONGEST_BACK_S = 400 * 86400.0
READ_S = 120.0
MAX_BYTES = 2 << 30
"""Most that is read for one event: other cameras share a partition with it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Frames of one session.

    Attributes:
        first_at, last_at: capture times, both included.
        span: frames that the event covers.
        told_at: capture time of the frame by which the event was told.
        logged_ms: when the log took that message, since 1970.
        partition: of that message; its camera's frames are most likely in the one of the same number.
    """

    camera_id: str
    session_id: str
    first_at: datetime
    last_at: datetime
    span: FrameSpan
    told_at: datetime
    logged_ms: int
    partition: int


@dataclass(frozen=True, slots=True)
class HeldFrame:
    """One frame as its producer sent it."""

    header: FrameHeader
    jpeg: bytes


@dataclass(slots=True)
class Passage:
    """What was found, for who counts: filled while ``FrameLog.read`` is read.

    Attributes:
        has_beginning: a frame before what is wanted was seen, or the session's first: none is gone before it.
    """

    wanted: Wanted
    has_beginning: bool = False
    first: FrameHeader | None = None
    last: FrameHeader | None = None
    num_read: int = 0

    def take(self, header: FrameHeader) -> None:
        """A frame that is wanted."""
        self.first = self.first or header
        self.last = header
        self.num_read += 1

    def num_missing(self, num_shown: int) -> int:
        """Frames that belong to it and are not among the ``num_shown``; those at its beginning by the frame rate."""
        if self.first is None or self.last is None:
            return self.wanted.span.last - self.wanted.span.first + 1
        within = self.last.frame_index - self.first.frame_index + 1 - num_shown
        behind = max(0, self.wanted.span.last - self.last.frame_index)
        return max(0, within) + behind + (0 if self.has_beginning else self._before(self.first))

    def _before(self, first: FrameHeader) -> int:
        reckoned = math.floor((first.captured_at - self.wanted.first_at).total_seconds() * first.fps)
        return min(first.frame_index, max(reckoned, first.frame_index - self.wanted.span.first, 0))


@dataclass(slots=True)
class FrameLog:
    """The frames topic, for looking up. For one thread.

    Attributes:
        topic: of frames, with prefix.
        num_partitions: of it, if the events topic has as many; else 0 and all are searched.
    """

    bus: Bus
    topic: str
    num_partitions: int
    _readers: dict[int | None, Reader] = field(default_factory=dict)

    def read(self, passage: Passage) -> Iterator[HeldFrame]:
        """The frames that ``passage`` wants and the log still has, in order; none in the worst case.

        Raises:
            TransientError: broker away.
        """
        for partition in self._likely(passage.wanted):
            try:
                yield from self._read(passage, partition)
            except EngramError:
                self._forget(partition)
                raise
            if passage.num_read:
                return

    def close(self) -> None:
        """Release the readers."""
        for partition in tuple(self._readers):
            self._forget(partition)

    def _likely(self, wanted: Wanted) -> tuple[int | None, ...]:
        """Where to look: None = everywhere, for a producer that spreads keys in another way."""
        return (wanted.partition, None) if wanted.partition < self.num_partitions else (None,)

    def _read(self, passage: Passage, partition: int | None) -> Iterator[HeldFrame]:
        wanted, budget = passage.wanted, _Budget()
        reader = self._reader(partition)
        start = self._found_start(reader, wanted, budget)
        if start is None:
            return
        reader.seek({(start.topic, start.partition): start.offset})
        for record, header in self._of_session(reader, wanted, budget):
            if header.kind == "end_of_session" or header.captured_at > wanted.last_at:
                return
            if header.frame_index == 0 or header.captured_at < wanted.first_at:
                passage.has_beginning = True
            if header.captured_at >= wanted.first_at:
                passage.take(header)
                yield HeldFrame(header, record.value or b"")

    def _found_start(self, reader: Reader, wanted: Wanted, budget: "_Budget") -> Record | None:
        """The oldest record of the session that need be read; None if there is none of it."""
        back_s = max(0.0, (wanted.told_at - wanted.first_at).total_seconds()) + SLACK_S
        before: tuple[int, int] | None = None
        found: Record | None = None
        while not budget.is_spent and back_s < LONGEST_BACK_S:
            reader.seek_time(max(0, wanted.logged_ms - int(back_s * 1000)))
            seen: dict[tuple[str, int], int] = {}
            found = None
            for record, header in self._of_session(reader, wanted, budget, seen):
                found = record
                if header.frame_index == 0 or header.captured_at < wanted.first_at:
                    return record
                break
            place = (-1 if found is None else found.offset, min(seen.values())) if seen else None
            if place is not None and place == before:
                return found  # as far back as the log goes
            before, back_s = place, 2 * back_s
        return found

    def _of_session(
        self, reader: Reader, wanted: Wanted, budget: "_Budget", seen: dict[tuple[str, int], int] | None = None
    ) -> Iterator[tuple[Record, FrameHeader]]:
        """Records of the session from here to the end of the log as it is now; ``seen`` gets where each began."""
        key = wanted.camera_id.encode()
        for records in reader.batches_to_end(READ_S):
            for record in records:
                if seen is not None:
                    seen.setdefault((record.topic, record.partition), record.offset)
                if budget.spends(record):
                    return
                if record.key != key:
                    continue
                with suppress(BadMessageError):  # the worker has made a dead letter of it
                    record.check()
                    header = decode_header(FrameHeader, record.header(HEADER), record.key, "camera_id")
                    if header.session_id == wanted.session_id:
                        yield record, header

    def _reader(self, partition: int | None) -> Reader:
        if partition not in self._readers:
            only: Collection[int] | None = None if partition is None else (partition,)
            self._readers[partition] = self.bus.reader([self.topic], from_beginning=False, partitions=only)
        return self._readers[partition]

    def _forget(self, partition: int | None) -> None:
        reader = self._readers.pop(partition, None)
        if reader is not None:
            reader.close()


@dataclass(slots=True)
class _Budget:
    """Bytes that may still be read for one event."""

    left: int = MAX_BYTES

    @property
    def is_spent(self) -> bool:
        return self.left <= 0

    def spends(self, record: Record) -> bool:
        """Take a record into account; True, and said once, if that was the last."""
        was_left, self.left = self.left > 0, self.left - len(record.value or b"")
        if self.is_spent and was_left:
            log.warning("gave up looking for frames of an event: %d MiB of %s were read", MAX_BYTES >> 20, record.topic)
        return self.is_spent
