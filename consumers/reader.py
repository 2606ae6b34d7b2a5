"""Following the events and scores topics without a group: from the beginning, or from now on."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Generic, TypeVar

from consumers.sieve import MEMORY, EventSieve, ReadCounts, ScoreSieve, Sieve
from messaging.ports import Reader, Record
from schemas.backoff import Backoff
from schemas.errors import TransientError
from schemas.messages import AnomalyEvent, FrameScore, Message

_log = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)
T = TypeVar("T")
BATCH = 500
POLL_S = 0.5


def followed(read: Callable[[float], Sequence[T]], stop: threading.Event) -> Iterator[Sequence[T]]:
    """What ``read`` gives, again and again until ``stop`` is set. A broker that is away is waited for.

    Args:
        read: called with the longest wait in seconds.
        stop: ends it.
    """
    backoff = Backoff(0.5, 10.0)
    while not stop.is_set():
        try:
            found = read(POLL_S)
        except TransientError as error:
            wait_s = backoff.next_s()
            _log.warning("trying again in %.1f s: %s", wait_s, error)
            stop.wait(wait_s)
            continue
        backoff.reset()
        yield found


class MessageReader(Generic[M]):
    """Turns records of one topic into messages. Not thread-safe: one follower, one reader.

    Args:
        reader: where records come from; closed by ``close``.
        sieve: what is taken from them.
    """

    def __init__(self, reader: Reader, sieve: Sieve[M]) -> None:
        self._reader = reader
        self._sieve = sieve

    @property
    def counts(self) -> ReadCounts:
        """What happened to the records so far."""
        return self._sieve.counts

    def read(self, timeout_s: float, max_records: int = BATCH) -> list[M]:
        """The next messages; empty at the deadline, or when all that came was left out."""
        return self._taken(self._reader.read(max_records, timeout_s))

    def read_to_end(self, timeout_s: float) -> list[M]:
        """Every message from here to the end as it is now.

        Raises:
            TransientError: the end was not reached by the deadline.
        """
        return self._taken(self._reader.read_to_end(timeout_s))

    def close(self) -> None:
        """Release the reader."""
        self._reader.close()

    def _taken(self, records: Sequence[Record]) -> list[M]:
        return [message for message in map(self._sieve.take, records) if message is not None]


class EventReader(MessageReader[AnomalyEvent]):
    """Follows the events topic; see ``EventSieve`` for the arguments."""

    def __init__(
        self,
        reader: Reader,
        camera_ids: Collection[str] = (),
        memory: int = MEMORY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(reader, EventSieve(camera_ids, memory, clock))


class ScoreReader(MessageReader[FrameScore]):
    """Follows the scores topic; see ``ScoreSieve`` for the arguments."""

    def __init__(
        self,
        reader: Reader,
        camera_ids: Collection[str] = (),
        memory: int = MEMORY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(reader, ScoreSieve(camera_ids, memory, clock))
