"""The thread that alone owns a group's consumer: polls, hands partitions over, holds back, commits."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import KafkaError, KafkaTimeoutError, RetriableError
from kafka.structs import MemberState

from messaging.kafka.connection import MIB, KafkaConnection, KafkaOptions
from messaging.kafka.corrupt import CorruptBatches
from messaging.kafka.diagnosis import reaching
from messaging.kafka.errors import translate
from messaging.kafka.handover import Start, StateTopic, find_start, offsets_of
from messaging.kafka.inbox import CommitRequest, Inbox
from messaging.kafka.records import to_record
from messaging.ports import Assigned, Claim
from schemas.errors import FatalError, TransientError

_log = logging.getLogger(__name__)

_JOINING_MS = 300  # longer, as a join that ends between two polls is thrown away
_STABLE_MS = 200
_PAUSED_MS = 100
_BACKOFF_S = 0.2
_COMMIT_MS = 5000
_CLOSE_MS = 3000


def group_consumer(connection: KafkaConnection, options: KafkaOptions, group: str) -> KafkaConsumer:
    """A consumer for ``group`` that reads committed records as raw bytes and commits nothing by itself."""
    with reaching(connection, f"connecting a member of group '{group}' to Kafka"):
        return KafkaConsumer(
            **connection.client_settings(),
            group_id=group,
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=int(options.session_timeout_s * 1000),
            heartbeat_interval_ms=int(min(1.0, options.session_timeout_s / 3) * 1000),
            max_poll_interval_ms=int(options.max_poll_interval_s * 1000),
            request_timeout_ms=int(connection.timeout_s * 1000),
            max_poll_records=500,
            fetch_max_bytes=16 * MIB,
            max_partition_fetch_bytes=MIB,
        )


@dataclass(frozen=True, slots=True)
class Membership:
    """What a poll thread works with.

    Attributes:
        consumer: not subscribed yet.
        topics: what to subscribe to.
        states: where states come from; None without a state topic.
        is_broker_there: asked before an unstable group is given up.
    """

    consumer: KafkaConsumer
    topics: tuple[str, ...]
    states: StateTopic | None
    is_broker_there: Callable[[], bool]


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    """Turns rebalances into claims. Called on the client's thread, where nothing may block."""

    def __init__(self, consumer: KafkaConsumer, inbox: Inbox) -> None:
        self._consumer = consumer
        self._inbox = inbox

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._consumer.pause(*assigned)
        for partition in assigned:
            self._consumer.seek(partition, 0)  # else poll would wait for committed offsets, that may be unstable
        self._inbox.begin(assigned, self._consumer.group_metadata())

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002 - always all of them
        self._inbox.end_all()

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:  # noqa: ARG002
        self._inbox.end_all()


class PollThread(threading.Thread):
    """Runs until its inbox is closed; if it dies, the inbox says why."""

    def __init__(self, membership: Membership, options: KafkaOptions, inbox: Inbox) -> None:
        super().__init__(name=f"poll-{'-'.join(membership.topics)}", daemon=True)
        self.corrupt = CorruptBatches()
        self._membership = membership
        self._consumer = membership.consumer
        self._options = options
        self._inbox = inbox
        self._flowing: dict[TopicPartition, Claim] = {}
        self._is_held_back = False
        self._stable_at = time.monotonic()
        self._lag = 0

    @property
    def lag(self) -> int:
        """Records of our partitions that have not been polled yet, as last known."""
        return self._lag

    def run(self) -> None:
        """The thread's body."""
        try:
            self._subscribe()
            while not self._inbox.is_closed:
                self._turn()
        except FatalError as error:
            self._inbox.fail(error)
        except Exception as error:
            _log.exception("the poll thread died")
            self._inbox.fail(FatalError(f"the poll thread died of {type(error).__name__}: {error}; start again"))
        finally:
            self._leave()

    def _subscribe(self) -> None:
        self._consumer.subscribe(list(self._membership.topics), listener=_Rebalances(self._consumer, self._inbox))
        for topic in self._membership.topics:
            self._consumer.partitions_for_topic(topic)  # metadata that comes later would cost a second rebalance

    def _turn(self) -> None:
        is_stable = self._is_stable()
        waits_ms = _JOINING_MS if not is_stable else _PAUSED_MS if self._is_waiting() else _STABLE_MS
        self._poll(waits_ms)
        if self._is_stable():
            self._stable_at = time.monotonic()
            self._hand_over()
            self._commit_asked()
            self._hold_back()
            self._lag = self._count_lag()
        else:
            self._watch_group()

    def _is_stable(self) -> bool:
        return bool(self._consumer.group_metadata().state == MemberState.STABLE)

    def _is_waiting(self) -> bool:
        return self._is_held_back or bool(self._inbox.unannounced())

    def _poll(self, timeout_ms: int) -> None:
        try:
            found = self._consumer.poll(timeout_ms=timeout_ms)
        except KafkaError as error:
            self._survive(error)
            return
        for partition, records in found.items():
            claim = self._flowing.get(partition)
            if claim is not None:
                self._inbox.put(claim, [to_record(record) for record in records])

    def _survive(self, error: KafkaError) -> None:
        if self.corrupt.step_over(self._consumer, error, self._consumer.assignment()):
            return
        translated_error = translate(error, "polling")
        if isinstance(translated_error, FatalError):
            raise translated_error from error
        _log.warning("%s", translated_error)
        time.sleep(_BACKOFF_S)

    def _hand_over(self) -> None:
        """Bring what goes with new claims, as far as it is known already."""
        claims = {TopicPartition(claim.topic, claim.partition): claim for claim in self._inbox.unannounced()}
        if not claims:
            return
        self._consumer.pause(*claims)  # after a rewind they are still flowing
        starts = self._starts(claims)
        states = self._states(starts)
        for partition, start in starts.items():
            if partition.partition in states:
                self._begin(
                    claims[partition],
                    start,
                    Assigned(claims[partition], start.committed_offset, states[partition.partition]),
                )

    def _starts(self, claims: Iterable[TopicPartition]) -> dict[TopicPartition, Start]:
        starts = {}
        for partition in claims:
            try:
                starts[partition] = find_start(self._consumer, partition)
            except (
                KafkaTimeoutError,
                RetriableError,
            ) as error:  # an open transaction, or the broker is slow: ask again
                _log.info("the start of %s[%d] is not known yet: %s", partition.topic, partition.partition, error)
        return starts

    def _states(self, starts: dict[TopicPartition, Start]) -> dict[int, dict[str, bytes]]:
        numbers = [partition.partition for partition in starts]
        if self._membership.states is None or not numbers:
            return {number: {} for number in numbers}
        try:
            return {number: dict(states) for number, states in self._membership.states.newest(numbers).items()}
        except TransientError as error:
            _log.info("states are not known yet: %s", error)
            return {}

    def _begin(self, claim: Claim, start: Start, assigned: Assigned) -> None:
        partition = TopicPartition(claim.topic, claim.partition)
        if not self._inbox.announce(assigned):
            return  # rewound meanwhile; the next turn begins again
        self._consumer.seek(partition, start.replay_from)
        self._flowing[partition] = claim
        if not self._is_held_back:
            self._consumer.resume(partition)

    def _commit_asked(self) -> None:
        while (request := self._inbox.next_commit()) is not None:
            self._commit(request)

    def _commit(self, request: CommitRequest) -> None:
        # On this thread and outside poll no rebalance can come in between the look at the claims and the commit.
        offsets = offsets_of(self._inbox.current(request.progress))
        try:
            if offsets:
                self._consumer.commit(offsets, timeout_ms=_COMMIT_MS)
            request.done.set_result(None)
        except KafkaError as error:
            request.done.set_exception(translate(error, "committing positions"))

    def _hold_back(self) -> None:
        """Pause fetching while the queue is high, go on when it is half empty."""
        records, num_bytes = self._inbox.queued()
        fill = max(records / self._options.queue_records, num_bytes / self._options.queue_bytes)
        if not self._is_held_back and fill >= 1.0:
            self._is_held_back = True
            self._consumer.pause(*self._consumer.assignment())
        elif self._is_held_back and fill <= 0.5:
            self._is_held_back = False
            ours = self._consumer.assignment() & self._announced()
            self._consumer.resume(*ours)

    def _announced(self) -> set[TopicPartition]:
        waiting = {TopicPartition(claim.topic, claim.partition) for claim in self._inbox.unannounced()}
        return set(self._flowing) - waiting

    def _count_lag(self) -> int:
        lag = 0
        for partition in self._consumer.assignment() & self._announced():
            end, position = self._consumer.highwater(partition), self._consumer.position(partition)
            lag += max(0, (end or 0) - (position or 0))
        return lag

    def _watch_group(self) -> None:
        unstable_s = time.monotonic() - self._stable_at
        if unstable_s < self._options.unstable_limit_s:
            return
        if self._membership.is_broker_there():
            raise FatalError(
                f"the group must settle within {self._options.unstable_limit_s:.0f} s, it has not in "
                f"{unstable_s:.0f} s though the broker is there: start this process again"
            )
        self._stable_at = time.monotonic()

    def _leave(self) -> None:
        try:
            self._consumer.close(autocommit=False, timeout_ms=_CLOSE_MS)
            if self._membership.states is not None:
                self._membership.states.close()
        except (KafkaError, RuntimeError) as error:
            _log.warning("leaving the group went wrong, the others take over when our session ends: %s", error)
        self._inbox.close()
