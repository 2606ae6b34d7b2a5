"""From records to messages: validate, drop repeats, filter, count what was left out.

Delivery may repeat a message (a producer's retry, a consumer that reads from an older position), so a message is taken
once per identity, remembered in a bounded memory. A bad message is skipped and counted, never fatal: a reader must not
be stopped by one record.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from consumers.letters import printable
from messaging.ports import Record
from schemas.codec import decode_message
from schemas.errors import BadMessageError
from schemas.messages import AnomalyEvent, FrameScore, Message

_log = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)
MEMORY = 100_000
"""Identities remembered. An event has a few hundred messages at most, so this spans hundreds of events."""
TELL_S = 60.0
"""At most so often a follower says of one reason that it skipped messages."""


@dataclass(slots=True)
class ReadCounts:
    """What happened to the records so far; they add up: received = taken + repeated + filtered + all of bad."""

    received: int = 0
    taken: int = 0
    repeated: int = 0
    filtered: int = 0
    bad: Counter[str] = field(default_factory=Counter)

    def told_bad(self) -> str:
        """What was skipped, for people; for example ``3 foreign, 1 future_version``."""
        return ", ".join(f"{count} {reason}" for reason, count in self.bad.most_common())


class Sieve(ABC, Generic[M]):
    """Takes the messages of one topic from its records. Not thread-safe.

    Args:
        kind: the message's model.
        camera_ids: only these cameras; empty = all.
        memory: how many identities are remembered for dropping repeats.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        kind: type[M],
        camera_ids: Collection[str] = (),
        memory: int = MEMORY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kind = kind
        self._camera_ids = frozenset(camera_ids)
        self._memory = memory
        self._clock = clock
        self._told_at_s: dict[str, float] = {}
        self._seen: OrderedDict[Hashable, None] = OrderedDict()
        self.counts = ReadCounts()

    def take(self, record: Record) -> M | None:
        """The message of ``record``; None if it is left out, for a reason that is counted."""
        message = self._decoded(record)
        return message if message is not None and self._is_wanted(message) else None

    @abstractmethod
    def camera_of(self, message: M) -> str:
        """The camera a message is about."""

    @abstractmethod
    def identity_of(self, message: M) -> Hashable:
        """What two deliveries of the same message have in common."""

    def _decoded(self, record: Record) -> M | None:
        self.counts.received += 1
        try:
            return decode_message(self._kind, record.value)
        except BadMessageError as error:
            self.counts.bad[error.reason] += 1
            self._tell(record, error)
            return None

    def _tell(self, record: Record, error: BadMessageError) -> None:
        """The first of each reason, and again once a minute: a topic full of foreign records must not fill the log."""
        now_s = self._clock()
        if now_s - self._told_at_s.get(error.reason, float("-inf")) < TELL_S:
            return
        self._told_at_s[error.reason] = now_s
        place = f"{record.topic}/{record.partition}@{record.offset}"
        _log.warning("skipped %s: %s (so far: %s)", place, printable(str(error)), self.counts.told_bad())

    def _is_wanted(self, message: M) -> bool:
        if self._camera_ids and self.camera_of(message) not in self._camera_ids:
            self.counts.filtered += 1
            return False
        if not self._is_new(self.identity_of(message)):
            self.counts.repeated += 1
            return False
        self.counts.taken += 1
        return True

    def _is_new(self, identity: Hashable) -> bool:
        is_new = identity not in self._seen
        self._seen[identity] = None
        self._seen.move_to_end(identity)
        if len(self._seen) > self._memory:
            self._seen.popitem(last=False)
        return is_new


class EventSieve(Sieve[AnomalyEvent]):
    """Of the events topic; a repeat has the same CloudEvents ``source`` and ``id``."""

    def __init__(
        self,
        camera_ids: Collection[str] = (),
        memory: int = MEMORY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(AnomalyEvent, camera_ids, memory, clock)

    def camera_of(self, message: AnomalyEvent) -> str:
        """See ``Sieve``."""
        return message.data.camera_id

    def identity_of(self, message: AnomalyEvent) -> Hashable:
        """See ``Sieve``."""
        return message.source, message.id


class ScoreSieve(Sieve[FrameScore]):
    """Of the scores topic; a repeat is of the same frame."""

    def __init__(
        self,
        camera_ids: Collection[str] = (),
        memory: int = MEMORY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(FrameScore, camera_ids, memory, clock)

    def camera_of(self, message: FrameScore) -> str:
        """See ``Sieve``."""
        return message.camera_id

    def identity_of(self, message: FrameScore) -> Hashable:
        """See ``Sieve``."""
        return message.camera_id, message.session_id, message.frame_index
