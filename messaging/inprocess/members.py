"""A member of a group within the process, and its atomic outbox."""

import logging
from collections.abc import Sequence

from messaging.inprocess.group import Group, Membership, TopicPartition
from messaging.inprocess.log import PartitionLog
from messaging.inprocess.shared import SharedLog
from messaging.ports import Assigned, Claim, Delivery, Intake, Look, Lost, OutRecord, Progress, as_it_is
from schemas.errors import FatalError, OwnershipLostError

_log = logging.getLogger(__name__)


class InProcessSubscription:
    """A member of a group within the process."""

    def __init__(
        self,
        shared: SharedLog,
        topics: Sequence[str],
        group: Group,
        state_topic: str | None,
        scope: str,
        look: Look = as_it_is,
    ) -> None:
        self.scope = scope
        self._look = look
        self._shared = shared
        self._group = group
        self._state_topic = state_topic
        self._read_from: dict[Claim, int] = {}
        self._committed: dict[Claim, int] = {}
        self._turn = 0
        self._closed = False
        self._member: Membership = group.join({name: len(shared.topics[name].partitions) for name in topics})
        shared.changed.notify_all()

    def receive(self, max_records: int, timeout_s: float) -> Intake:
        """See ``ports.Subscription``."""
        with self._shared.changed:
            if self._closed:
                raise FatalError("a subscription must be open to receive, this one was closed")
            self._shared.changed.wait_for(self._has_news, timeout_s)
            return self._intake(max_records)

    def commit(self, progress: Sequence[Progress]) -> None:
        """See ``ports.Subscription``."""
        with self._shared.changed:
            self._group.commit(self._member, self._kept(progress))

    def commit_with(self, records: Sequence[OutRecord], progress: Sequence[Progress]) -> None:
        """Publish and commit in one step, under the bus's lock; for the outbox."""
        if any(self._member.claims.get((item.claim.topic, item.claim.partition)) != item.claim for item in progress):
            raise OwnershipLostError("every claim must still be held to commit, one has ended: rewind")
        self._shared.append(records)
        self._group.commit(self._member, self._kept(progress))

    def abandon(self) -> None:
        """See ``ports.Subscription``. The log dies with the process, so there is nobody to tell."""

    def rewind(self) -> None:
        """See ``ports.Subscription``."""
        with self._shared.changed:
            self._group.rewind(self._member)
            self._shared.changed.notify_all()

    def lag(self) -> int:
        """See ``ports.Subscription``."""
        with self._shared.changed:
            return sum(
                self._partition(where).end - self._read_from.get(claim, self._first_wanted(where))
                for where, claim in self._member.claims.items()
            )

    def close(self) -> None:
        """See ``ports.Subscription``."""
        with self._shared.changed:
            self._closed = True
            self._group.leave(self._member)
            self._shared.changed.notify_all()

    def _kept(self, progress: Sequence[Progress]) -> list[Progress]:
        """As it is committed: what has still to be read of a replay stays, see ``Progress``."""
        return [item.keeping(self._read_from.get(item.claim)) for item in progress]

    def _partition(self, where: TopicPartition) -> PartitionLog:
        return self._shared.topics[where[0]].partitions[where[1]]

    def _first_wanted(self, where: TopicPartition) -> int:
        return max(self._group.position(where).replay_from, self._partition(where).start)

    def _has_news(self) -> bool:
        member = self._member
        waiting = (self._partition(where).end > self._read_from[claim] for where, claim in member.claims.items())
        return bool(self._closed or member.revoked or member.fresh) or any(waiting)

    def _intake(self, max_records: int) -> Intake:
        member = self._member
        revoked, fresh = tuple(member.revoked), tuple(member.fresh)
        member.revoked.clear()
        member.fresh.clear()
        for claim in revoked:
            self._read_from.pop(claim, None)
            self._committed.pop(claim, None)
        lost = self._overtaken(fresh)
        assigned = tuple(self._begin(claim) for claim in fresh)
        return Intake(revoked, assigned, tuple(self._take(max_records)), lost)

    def _overtaken(self, fresh: Sequence[Claim]) -> tuple[Lost, ...]:
        """What the log let go of before it was read. It keeps what a group needs, so this tells of a fault."""
        lost = []
        for where, claim in self._member.claims.items():
            if claim in fresh and where not in self._group.positions:
                continue  # a new group begins with what there is
            next_offset = self._group.position(where).next_offset
            first, start = max(self._read_from.get(claim, next_offset), next_offset), self._partition(where).start
            if start > first:
                lost.append(Lost(claim, first, start - first))
                self._read_from[claim] = start
        for item in lost:
            _log.warning("%d records of %s/%d were gone", item.num_records, item.claim.topic, item.claim.partition)
        return tuple(lost)

    def _begin(self, claim: Claim) -> Assigned:
        where = (claim.topic, claim.partition)
        self._read_from[claim] = self._first_wanted(where)
        self._committed[claim] = self._group.position(where).next_offset
        if self._state_topic is None:
            return Assigned(claim, self._committed[claim])
        newest = self._shared.topics[self._state_topic].partitions[claim.partition].newest()
        states: dict[str, bytes] = {}
        doubted: dict[str, bytes] = {}
        for key, record in newest.items():
            into = states if self._look(record).flaw is None else doubted
            into[key] = record.value or b""
        return Assigned(claim, self._committed[claim], states, doubted)

    def _take(self, max_records: int) -> list[Delivery]:
        claims = list(self._member.claims.values())
        self._turn += 1  # another partition comes first each time, so a busy one cannot starve the others
        first = self._turn % len(claims) if claims else 0
        deliveries: list[Delivery] = []
        for claim in claims[first:] + claims[:first]:
            records = self._partition((claim.topic, claim.partition)).read(
                self._read_from[claim], max_records - len(deliveries)
            )
            deliveries += [Delivery(record, claim, record.offset < self._committed[claim]) for record in records]
            if records:
                self._read_from[claim] = records[-1].offset + 1
        return deliveries


class InProcessOutbox:
    """Atomic because the bus has one lock."""

    def __init__(self, shared: SharedLog, subscription: InProcessSubscription, writer_id: str) -> None:
        self._shared = shared
        self._subscription = subscription
        self._writer_id = writer_id
        self._closed = False
        with shared.changed:
            shared.writers[self._writer_id] = self

    def commit(self, records: Sequence[OutRecord], progress: Sequence[Progress]) -> None:
        """See ``ports.Outbox``."""
        with self._shared.changed:
            if self._closed:
                raise FatalError("an outbox must be open to commit, this one was closed")
            if self._shared.writers.get(self._writer_id) is not self:
                raise OwnershipLostError(f"writer '{self._writer_id}' must be the newest of its id, another took over")
            self._subscription.commit_with(records, progress)

    def close(self) -> None:
        """See ``ports.Outbox``."""
        with self._shared.changed:
            self._closed = True
            if self._shared.writers.get(self._writer_id) is self:
                del self._shared.writers[self._writer_id]
