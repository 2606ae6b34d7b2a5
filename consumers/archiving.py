"""From the events topic into an archive: each step reads, folds in, and moves the position in one transaction."""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from consumers.archive import Archive
from consumers.sieve import EventSieve, ReadCounts
from messaging.ports import Places, Reader, Record
from schemas.errors import TransientError

_log = logging.getLogger(__name__)

BATCH = 500
FORGET_INTERVAL_S = 60.0


class Archiver:
    """Follows one topic into one archive.

    Args:
        reader: of ``topic``, from its beginning; closed by its owner.
        archive: where events go, and where it says how far it is.
        topic: name, with prefix.
        keep: events that were over for longer are deleted; None = none.
        now: the wall clock, UTC.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        reader: Reader,
        archive: Archive,
        topic: str,
        keep: timedelta | None,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._archive = archive
        self._topic = topic
        self._keep = keep
        self._now = now
        self._clock = clock
        self._sieve = EventSieve(memory=0)  # the archive knows its events, and what was not stored must come again
        self._is_placed = False
        self._forgot_at_s = float("-inf")

    @property
    def counts(self) -> ReadCounts:
        """What happened to the records so far; those that come again are counted again."""
        return self._sieve.counts

    def step(self, timeout_s: float) -> Sequence[Record]:
        """Archive what comes next; the records, empty at the deadline.

        Raises:
            TransientError: broker away, or the archive takes nothing now. Nothing is passed over: the next step begins
                where the archive says.
        """
        self._take_place()
        records = self._reader.read(BATCH, timeout_s)
        self._store(records)
        self._forget_old()
        return records

    def to_end(self, timeout_s: float) -> None:
        """Archive everything from where the archive is to the end of the topic as it is now.

        Raises:
            TransientError: as ``step``, or the end was not reached by the deadline.
        """
        self._take_place()
        for records in self._reader.batches_to_end(timeout_s):
            self._store(records)
        self._forget_old()

    def _take_place(self) -> None:
        if self._is_placed:
            return
        there, known = self._reader.partitions(), self._archive.positions(self._topic)
        found = self._reader.seek({where: known.get(where, 0) for where in there})
        if missing := [where for where, offset in known.items() if found.get(where, -1) < offset]:
            self._start_over(missing)
            known = {}
        for (topic, number), offset in known.items():
            if num_gone := found[topic, number] - offset:
                _log.warning("up to %d records of %s/%d were deleted before they were read", num_gone, topic, number)
        self._is_placed = True

    def _start_over(self, missing: Sequence[tuple[str, int]]) -> None:
        """The topic is another one of the same name, so what is known of its other partitions means nothing either."""
        self._archive.forget_positions(self._topic)
        self._reader.seek(dict.fromkeys(self._reader.partitions(), 0))
        names = ", ".join(f"{topic}/{number}" for topic, number in sorted(missing))
        text = "%s does not reach so far as it was read (%s), it was made again: from its start, for all partitions"
        _log.warning(text, self._topic, names)

    def _store(self, records: Sequence[Record]) -> None:
        if not records:
            return
        taken = [(self._sieve.take(record), record.value or b"") for record in records]
        try:
            self._archive.add([(event, body) for event, body in taken if event is not None], _after(records))
        except TransientError:
            self._is_placed = False  # the reader is ahead of the archive
            raise

    def _forget_old(self) -> None:
        if self._keep is None or self._clock() - self._forgot_at_s < FORGET_INTERVAL_S:
            return
        num_forgotten = 0
        while num := self._archive.forget_before(self._now() - self._keep):
            num_forgotten += num
        self._forgot_at_s = self._clock()
        if num_forgotten:
            _log.info("deleted %d events older than %s", num_forgotten, self._keep)


def _after(records: Sequence[Record]) -> Places:
    return {(record.topic, record.partition): record.offset + 1 for record in records}
