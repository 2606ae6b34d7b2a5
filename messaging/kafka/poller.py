"""The thread that alone owns a group's consumer: polls, hands partitions over, holds back, commits."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import KafkaError, KafkaTimeoutError, OffsetOutOfRangeError, RetriableError
from kafka.structs import MemberState

from messaging.kafka.connection import MIB, KafkaConnection, KafkaOptions
from messaging.kafka.corrupt import CorruptBatches
from messaging.kafka.decoding import SkipCount, read_patiently
from messaging.kafka.diagnosis import reaching
from messaging.kafka.errors import translate
from messaging.kafka.handover import Start, StateTopic, find_start
from messaging.kafka.inbox import CommitRequest, Inbox
from messaging.kafka.marks import Checkpoint, offsets_of
from messaging.kafka.states import StateTable
from messaging.kafka.topics import GrowthWatch
from messaging.ports import Assigned, Begin, Claim, Lost
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
            auto_offset_reset="none",  # positions are always given; one out of range is told, see _overtaken
            partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=int(options.session_timeout_s * 1000),
            heartbeat_interval_ms=int(min(1.0, options.session_timeout_s / 3) * 1000),
            max_poll_interval_ms=int(options.max_poll_interval_s * 1000),
            request_timeout_ms=int(connection.timeout_s * 1000),
            max_poll_records=500,
            fetch_max_bytes=16 * MIB,
            max_partition_fetch_bytes=2 * MIB,  # a fetch costs the client two milliseconds, whatever its size
            metrics_enabled=False,  # nobody asks for them
        )


@dataclass(frozen=True, slots=True)
class Membership:
    """What a poll thread works with.

    Attributes:
        consumer: not subscribed yet.
        topics: what to subscribe to.
        scope: within which ids of writers are told apart.
        states: where states come from; None without a state topic.
        is_broker_there: asked before an unstable group is given up.
        growth: notices that the topics were grown.
        begin: where partitions begin that the group has no position of.
    """

    consumer: KafkaConsumer
    topics: tuple[str, ...]
    scope: str
    states: StateTopic | None
    is_broker_there: Callable[[], bool]
    growth: GrowthWatch
    begin: Begin = "oldest"


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
        cleared = self._inbox.end_all()
        if cleared:  # we live to hand over, so this was no attempt; nothing may block here
            self._consumer.commit_async(offsets_of(cleared))

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:  # noqa: ARG002
        self._inbox.end_all()


class PollThread(threading.Thread):
    """Runs until its inbox is closed; if it dies, the inbox says why."""

    def __init__(self, membership: Membership, options: KafkaOptions, inbox: Inbox) -> None:
        super().__init__(name=f"poll-{'-'.join(membership.topics)}", daemon=True)
        skipped = SkipCount()
        self.corrupt = CorruptBatches(skipped)
        self._membership = membership
        self._consumer = read_patiently(membership.consumer, skipped)
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
            self._consumer.subscribe(list(self._membership.topics), listener=_Rebalances(self._consumer, self._inbox))
            for topic in self._membership.topics:
                # Metadata that comes later would cost a second rebalance.
                self._until_answered(partial(self._consumer.partitions_for_topic, topic))
            while not self._inbox.is_closed:
                self._until_answered(self._turn)
        except FatalError as error:
            self._inbox.fail(error)
        except Exception as error:
            _log.exception("the poll thread died")
            self._inbox.fail(FatalError(f"the poll thread died of {type(error).__name__}: {error}; start again"))
        finally:
            self._leave()

    def _until_answered(self, ask: Callable[[], object]) -> None:
        """Any question may find the broker away; then it is asked again."""
        while not self._inbox.is_closed:
            self._inbox.alive()
            try:
                ask()
            except KafkaError as error:
                self._survive(error)
            else:
                return

    def _turn(self) -> None:
        is_stable = self._is_stable()
        waits_ms = _JOINING_MS if not is_stable else _PAUSED_MS if self._is_waiting() else _STABLE_MS
        self._poll(waits_ms)
        self._membership.growth.check(self._consumer.assignment())
        if self._is_stable():
            self._stable_at = time.monotonic()
            self._hand_over()
            self._commit_asked()
            self._let_go()
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
                self._inbox.put(claim, records)

    def _overtaken(self, partition: TopicPartition, position: int) -> None:
        """Retention has deleted what was to be read next, or the topic was made again: go on with what there is."""
        oldest = self._consumer.beginning_offsets([partition], timeout_ms=_COMMIT_MS)[partition]
        self._consumer.seek(partition, oldest)
        claim = self._flowing.get(partition)
        if claim is None:
            return
        first = max(position, self._inbox.first_new(claim))  # what was only to be replayed is no loss
        if position > oldest or oldest > first:
            self._tell_lost(claim, first, max(0, oldest - first))

    def _tell_lost(self, claim: Claim, first: int, num: int) -> None:
        where = f"{claim.topic}[{claim.partition}]"
        if num:
            _log.warning("up to %d records of %s from %d on were deleted unread: keep them longer", num, where, first)
        else:
            _log.warning("%s was made again, it does not reach offset %d: reading starts over", where, first)
        self._inbox.lose(Lost(claim, first, num))

    def _survive(self, error: KafkaError) -> None:
        if isinstance(error, OffsetOutOfRangeError) and error.args and isinstance(error.args[0], dict):
            try:
                for partition, position in error.args[0].items():
                    self._overtaken(partition, position)
            except KafkaError as slow:  # the position stays out of range, so it comes again
                error = slow
            else:
                return
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
        tables = self._states({claims[partition]: start.checkpoint for partition, start in starts.items()})
        for partition, start in starts.items():
            claim = claims[partition]
            if claim in tables:
                self._begin(claim, start, tables[claim])

    def _starts(self, claims: Iterable[TopicPartition]) -> dict[TopicPartition, Start]:
        starts = {}
        for partition in claims:
            self._inbox.alive()  # each answer may take as long as the broker lets us wait
            try:
                starts[partition] = find_start(self._consumer, partition, self._membership.begin)
            except (
                KafkaTimeoutError,
                RetriableError,
            ) as error:  # an open transaction, or the broker is slow: ask again
                _log.info("the start of %s[%d] is not known yet: %s", partition.topic, partition.partition, error)
        return starts

    def _states(self, claims: Mapping[Claim, Checkpoint | None]) -> Mapping[Claim, StateTable | None]:
        if self._membership.states is None or not claims:
            return dict.fromkeys(claims)
        self._inbox.alive()
        try:
            return self._membership.states.newest(claims)
        except TransientError as error:
            _log.info("states are not known yet: %s", error)
            return {}

    def _begin(self, claim: Claim, start: Start, table: StateTable | None) -> None:
        partition = TopicPartition(claim.topic, claim.partition)
        states, doubted = (table.values(), table.doubted()) if table else ({}, {})
        assigned = Assigned(claim, start.committed_offset, states, doubted)
        if not self._inbox.announce(assigned, start.replay_from, start.attempts, table):
            return  # rewound meanwhile; the next turn begins again
        if start.lost_from is not None:
            self._tell_lost(claim, start.lost_from, start.num_lost)
        self._consumer.seek(partition, start.replay_from)
        self._flowing[partition] = claim
        if not self._is_held_back:
            self._consumer.resume(partition)

    def _let_go(self) -> None:
        """Mark what is begun with, see ``attempts``. Nobody else commits for these claims meanwhile."""
        now_s = time.monotonic()
        held = self._inbox.held(now_s)
        marks = {(claim.topic, claim.partition): mark for claim, (_, mark) in held.items() if mark}
        try:
            if marks:
                self._consumer.commit(offsets_of(marks), timeout_ms=_COMMIT_MS)
        except KafkaError as error:
            _log.warning("%s", translate(error, "marking what is begun with"))
            self._inbox.rewind()  # it may still be carried out: only what is committed then tells
            return
        for claim, (offset, mark) in held.items():
            self._inbox.let_go(claim, offset, mark, now_s)

    def _commit_asked(self) -> None:
        while (request := self._inbox.next_commit()) is not None:
            self._inbox.alive()
            self._commit(request)

    def _commit(self, request: CommitRequest) -> None:
        # On this thread and outside poll no rebalance can come in between the look at the claims and the commit.
        current = self._inbox.current(request.progress)
        marks = self._inbox.marks(current)
        try:
            if marks:
                self._consumer.commit(offsets_of(marks), timeout_ms=_COMMIT_MS)
            self._inbox.committed(current)
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
            # At once: the client first asks whether the position is still right; a broker that is away, for a minute.
            end, position = self._consumer.highwater(partition), self._consumer.position(partition, timeout_ms=0)
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
        self._membership.growth.close()
        cleared = self._inbox.end_all() if self._inbox.is_closed else {}
        try:
            if cleared:
                self._consumer.commit(offsets_of(cleared), timeout_ms=_CLOSE_MS)
        except KafkaError as error:
            _log.warning("the next owner will take this hand-over for a death: %s", error)
        try:
            self._consumer.close(autocommit=False, timeout_ms=_CLOSE_MS)
            if self._membership.states is not None:
                self._membership.states.close()
        except (KafkaError, RuntimeError) as error:
            _log.warning("leaving the group went wrong, the others take over when our session ends: %s", error)
        self._inbox.close()
