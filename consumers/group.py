"""Messages for a member of a consumer group: each at least once, and its position only once it was dealt with.

The group's position in a partition never passes a message that is still *open*: handed out, and not settled. So
whatever ends this process, the messages that were not dealt with come again, here or at another member. Those that
were settled after the last commit come again too: within one process they are known as repeats, over a restart they
are not, and whoever is told twice knows it by ``source`` and ``id``.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from consumers.sieve import ReadCounts, Sieve
from messaging.ports import Claim, Delivery, Intake, Progress, Record, Subscription
from schemas.errors import TransientError
from schemas.messages import Message

_log = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)
Where = tuple[str, int]
"""Topic and partition."""
Place = tuple[str, int, int]
"""Topic, partition, offset."""


@dataclass(frozen=True, slots=True)
class Received(Generic[M]):
    """One message, and the record that it came in."""

    message: M
    record: Record

    @property
    def place(self) -> Place:
        """Where it stands in the log."""
        return self.record.topic, self.record.partition, self.record.offset


@dataclass(slots=True)
class _Partition:
    """How far a partition that is ours was received.

    Attributes:
        claim: under which.
        floor: what was committed when the claim began; others may have gone beyond what is still open here.
        next_offset: after the newest record received.
        durable: what we have committed; None = nothing yet.
        starts_over: the log does not reach so far as we had read, and nothing came of it since.
    """

    claim: Claim
    floor: int
    next_offset: int
    durable: int | None = None
    starts_over: bool = False


class GroupReader(Generic[M]):
    """Follows a topic as a member of a group. For one thread.

    Args:
        subscription: the membership; closed by ``close``.
        sieve: what is taken from the records.
    """

    def __init__(self, subscription: Subscription, sieve: Sieve[M]) -> None:
        self._subscription = subscription
        self._sieve = sieve
        self._partitions: dict[Where, _Partition] = {}
        self._open: dict[Where, dict[int, Record]] = {}

    @property
    def counts(self) -> ReadCounts:
        """What happened to the records so far; those that come again while they are open are not counted."""
        return self._sieve.counts

    @property
    def num_open(self) -> int:
        """Messages handed out and not settled."""
        return sum(map(len, self._open.values()))

    @property
    def num_partitions(self) -> int:
        """Partitions that are ours."""
        return len(self._partitions)

    def lag(self) -> int:
        """Records of our partitions that were not received yet, as last known; callable from any thread."""
        return self._subscription.lag()

    def receive(self, timeout_s: float, max_records: int) -> list[Received[M]]:
        """The next messages, which are open from here on; empty at the deadline, or when all were left out.

        Raises:
            FatalError: the membership is beyond repair.
        """
        intake = self._subscription.receive(max_records, timeout_s)
        self._rebalance(intake)
        if intake.assigned:
            self.commit()  # a group that has just begun keeps its beginning, whatever happens next
        return [found for found in map(self._taken, intake.deliveries) if found is not None]

    def settle(self, places: Iterable[Place]) -> None:
        """The messages at these places were dealt with; the next ``commit`` may pass them."""
        for topic, partition, offset in places:
            self._open.get((topic, partition), {}).pop(offset, None)

    def commit(self) -> None:
        """Make durable how far messages were dealt with. A broker that is away is told; the next commit catches up."""
        progress = self._progress()
        if not progress:
            return
        try:
            self._subscription.commit(progress)
        except TransientError as error:
            _log.warning("the position is not durable yet, the next commit will be: %s", error)
            return
        for item in progress:
            self._partitions[item.claim.topic, item.claim.partition].durable = item.next_offset

    def close(self) -> None:
        """Leave the group; open messages come again to whoever follows."""
        self._subscription.close()

    def _rebalance(self, intake: Intake) -> None:
        for claim in intake.revoked:
            self._partitions.pop((claim.topic, claim.partition), None)
        for assigned in intake.assigned:
            claim, offset = assigned.claim, assigned.committed_offset
            self._partitions[claim.topic, claim.partition] = _Partition(claim, offset, offset)
        for lost in intake.lost:
            if lost.num_records == 0 and lost.claim not in {assigned.claim for assigned in intake.assigned}:
                # The log was cut off under us: a position beyond its end would be one between records to come.
                partition = self._partitions.get((lost.claim.topic, lost.claim.partition))
                if partition is not None:
                    partition.starts_over = True
                continue
            place = f"{lost.claim.topic}/{lost.claim.partition}@{lost.first_offset}"
            _log.warning("up to %d records from %s on were deleted before they were read", lost.num_records, place)

    def _taken(self, delivery: Delivery) -> Received[M] | None:
        record = delivery.record
        where = record.topic, record.partition
        partition = self._partitions.get(where)
        if partition is not None and partition.starts_over:
            partition = self._partitions[where] = _Partition(partition.claim, record.offset, record.offset)
        if partition is not None:
            partition.next_offset = record.offset + 1
        unsettled = self._open.setdefault(where, {})
        if record.offset in unsettled and unsettled[record.offset].value == record.value:
            return None  # it came before a rebalance, and is still in hand
        message = self._sieve.take(record)
        if message is None:
            return None
        unsettled[record.offset] = record
        return Received(message, record)

    def _progress(self) -> list[Progress]:
        progress = []
        for where, partition in self._partitions.items():
            if partition.starts_over:
                continue
            reached = max(partition.floor, min((partition.next_offset, *self._open.get(where, ()))))
            if reached != partition.durable:
                progress.append(Progress(partition.claim, reached, reached))
        return progress
