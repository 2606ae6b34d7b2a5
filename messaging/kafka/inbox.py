"""What the poll thread and the user of a subscription share: claims, what arrived, commits to be made.

No Kafka in here: one lock, plain data. Three threads meet: the client's own (rebalances begin and end claims), the poll
thread (brings assignments and records) and the user (takes them, rewinds, asks for commits).
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from messaging.kafka.attempts import Trial
from messaging.kafka.marks import Checkpoint, Mark, Partition
from messaging.kafka.states import StateTable
from messaging.ports import Assigned, Claim, Delivery, Intake, Lost, OutRecord, Progress, Record
from messaging.sizes import held_bytes
from schemas.errors import FatalError, OwnershipLostError, TransientError


@dataclass(frozen=True, slots=True)
class CommitRequest:
    """Positions that the poll thread is asked to commit; ``done`` tells how it went."""

    progress: tuple[Progress, ...]
    done: "Future[None]" = field(default_factory=Future)


class Inbox:
    """Thread-safe meeting place. A claim is *announced* once its ``Assigned`` has been put in.

    Args:
        stuck_after_s: a poll thread that was not heard of for so long is taken for stuck.
        clock: monotonic seconds.
        counts_attempts: whether records go one by one after a death, see ``attempts``.
    """

    def __init__(
        self,
        stuck_after_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        counts_attempts: bool = True,
    ) -> None:
        self._stuck_after_s = stuck_after_s
        self._counts_attempts = counts_attempts
        self._clock = clock
        self._alive_at_s = clock()
        self._changed = threading.Condition()
        self._epochs: dict[Partition, int] = {}
        self._claims: dict[Partition, Claim] = {}
        self._committed: dict[Claim, int] = {}  # of the announced claims
        self._trials: dict[Claim, Trial] = {}
        self._untaken: dict[Claim, int] = {}  # first offset that its user has not taken yet
        self._states: dict[Claim, StateTable] = {}
        self._in_doubt: set[Claim] = set()  # a commit began and is not known to have gone through
        self._left_marks: dict[Partition, Mark] = {}
        self._membership: Any = None
        self._revoked: list[Claim] = []
        self._assigned: list[Assigned] = []
        self._lost: list[Lost] = []
        self._queue: deque[Delivery] = deque()
        self._queued_bytes = 0
        self._commits: deque[CommitRequest] = deque()
        self._failure: FatalError | None = None
        self._closed = False
        self._abandoned = False

    # --- the client's thread, at rebalances

    def begin(self, partitions: Iterable[Partition], membership: Any) -> None:
        """Start claims on ``partitions``, valid together with ``membership`` (the group generation)."""
        with self._changed:
            self._membership = membership
            for partition in partitions:
                self._claim(partition)

    def end_all(self) -> dict[Partition, Mark]:
        """End every claim; what was queued under them is dropped, it is still in the log.

        Returns:
            What to commit so that the hand-over is no attempt; nothing after ``abandon``. A claim with a commit under
            way is left alone: an older offset must not come after it.
        """
        with self._changed:
            cleared = {}
            for claim, trial in () if self._abandoned else self._trials.items():
                mark = trial.standing_mark
                if mark is not None and claim not in self._in_doubt:
                    cleared[claim.topic, claim.partition] = replace(
                        mark, attempts=mark.attempts - 1, checkpoint=self._checkpoint(claim)
                    )
            for claim in list(self._claims.values()):
                self._end(claim)
            self._membership = None
            self._left_marks.clear()
            self._drop_stale()
            return cleared

    # --- the poll thread

    def alive(self) -> None:
        """The poll thread has come round, or has got an answer on its way."""
        self._alive_at_s = self._clock()

    def unannounced(self) -> list[Claim]:
        """Claims whose committed offset and states have still to be fetched."""
        with self._changed:
            return [claim for claim in self._claims.values() if claim not in self._committed]

    def announce(
        self,
        assigned: Assigned,
        replay_from: int | None = None,
        attempts: int = 0,
        states: StateTable | None = None,
    ) -> bool:
        """Hand over what goes with a new claim; False if the claim has ended meanwhile.

        Args:
            assigned: what its user is told.
            replay_from: as it was committed; None = the committed offset.
            attempts: as they were committed, our own from before a rewind included.
            states: as they were read; None without a state topic.
        """
        with self._changed:
            if not self._is_current(assigned.claim):
                return False
            claim, offset = assigned.claim, assigned.committed_offset
            left = self._left_marks.pop((claim.topic, claim.partition), None)
            is_ours = left is not None and (left.next_offset, left.attempts) == (offset, attempts)
            first = offset if replay_from is None else replay_from
            self._committed[claim] = offset
            self._untaken[claim] = first
            self._trials[claim] = Trial(offset, first, attempts - is_ours, is_marked=is_ours)
            if not self._counts_attempts:
                self._trials[claim].waive()
            if states is not None:
                self._states[claim] = states
            self._assigned.append(assigned)
            self._changed.notify_all()
            return True

    def put(self, claim: Claim, records: Iterable[Record]) -> None:
        """Queue records that were fetched under ``claim``; nothing happens if it has ended."""
        with self._changed:
            if claim not in self._committed:
                return
            first_new = self._committed[claim]
            for record in records:
                self._queue.append(Delivery(record, claim, is_replay=record.offset < first_new))
                self._queued_bytes += held_bytes(record)
            self._changed.notify_all()

    def held(self, now_s: float) -> dict[Claim, tuple[int, Mark | None]]:
        """Per claim the next record that waits for ``let_go``: its offset, and what must be committed before."""
        with self._changed:
            if all(trial.is_open for trial in self._trials.values()):
                return {}  # as nearly always, and the queue is long
            first: dict[Claim, int] = {}
            for delivery in self._queue:
                if not self._may_go(delivery):
                    first.setdefault(delivery.claim, delivery.record.offset)
            return {
                claim: (offset, self._wanted(claim, offset))
                for claim, offset in first.items()
                if self._trials[claim].may_open(offset, now_s)
            }

    def let_go(self, claim: Claim, offset: int, mark: Mark | None, now_s: float) -> None:
        """The record at ``offset`` may be taken: ``mark`` is committed."""
        with self._changed:
            if self._is_current(claim):
                self._trials[claim].open(offset, mark, now_s)
                self._changed.notify_all()

    def marks(self, progress: Sequence[Progress]) -> dict[Partition, Mark]:
        """What to commit for ``progress``: without progress beyond our own mark, its attempts are not forgotten."""
        with self._changed:
            return {(item.claim.topic, item.claim.partition): self._mark(item) for item in progress}

    def far_behind(self, records: Sequence[OutRecord], progress: Sequence[Progress]) -> list[OutRecord]:
        """States that are to be written again in the transaction of ``records`` and ``progress``."""
        with self._changed:
            tables = [self._states[item.claim] for item in progress if item.claim in self._states]
            topics = {table.partition.topic for table in tables}
            keys = {record.key for record in records if record.topic in topics}
            return [record for table in tables for record in table.far_behind(keys)]

    def committed(self, progress: Sequence[Progress], written: Sequence[Record] = ()) -> None:
        """These positions are durable, and ``written`` with them; in the order of the log."""
        with self._changed:
            ended = {item.claim.partition for item in progress if not self._is_current(item.claim)}
            tables = {table.partition: table for claim, table in self._states.items() if claim.partition not in ended}
            for record in written:
                table = tables.get((record.topic, record.partition))
                if table is not None:
                    table.take(record)
            for item in progress:
                self._in_doubt.discard(item.claim)
                trial = self._trials.get(item.claim)
                if trial is not None:
                    trial.progressed(item.next_offset, min(item.replay_from, item.next_offset))
            self._changed.notify_all()

    def distrust_states(self) -> None:
        """What the state topic holds is not known for certain any more, until claims begin anew."""
        with self._changed:
            for table in self._states.values():
                table.distrust()

    def first_new(self, claim: Claim) -> int:
        """The committed offset at the start of a claim; 0 once it has ended."""
        with self._changed:
            return self._committed.get(claim, 0)

    def lose(self, lost: Lost) -> None:
        """Tell of records that are gone."""
        with self._changed:
            if lost.claim in self._committed:
                self._lost.append(lost)
                self._changed.notify_all()

    def queued(self) -> tuple[int, int]:
        """Records and bytes waiting to be taken."""
        with self._changed:
            return len(self._queue), self._queued_bytes

    def next_commit(self) -> CommitRequest | None:
        """The oldest commit that was asked for."""
        with self._changed:
            return self._commits.popleft() if self._commits else None

    def current(self, progress: Sequence[Progress]) -> list[Progress]:
        """Those whose claims are still held."""
        with self._changed:
            return [item for item in progress if self._is_current(item.claim)]

    def fail(self, failure: FatalError) -> None:
        """The membership is beyond repair; whoever waits learns why."""
        with self._changed:
            self._failure = self._failure or failure
            self._stop_commits()
            self._changed.notify_all()

    # --- the user's thread

    def take(self, max_records: int, timeout_s: float) -> Intake:
        """Wait for anything at all and take it, at most ``max_records`` deliveries."""
        with self._changed:
            self._check_usable()
            self._wait(timeout_s)
            if self._failure is not None:
                raise self._failure
            revoked, assigned, lost = tuple(self._revoked), tuple(self._assigned), tuple(self._lost)
            for told in (self._revoked, self._assigned, self._lost):
                told.clear()
            deliveries = self._take_open(max_records)
            self._untaken.update({delivery.claim: delivery.record.offset + 1 for delivery in deliveries})
            self._queued_bytes -= sum(held_bytes(delivery.record) for delivery in deliveries)
            return Intake(revoked, assigned, deliveries, lost)

    def rewind(self) -> None:
        """End every claim and start a new one on the same partition."""
        with self._changed:
            for claim in list(self._claims.values()):
                self._end(claim)
                self._claim((claim.topic, claim.partition))
            self._drop_stale()

    def kept(self, progress: Sequence[Progress]) -> list[Progress]:
        """As it is committed: what has still to be taken of a replay stays, see ``Progress``."""
        with self._changed:
            return [item.keeping(self._untaken.get(item.claim)) for item in progress]

    def membership_for(self, progress: Sequence[Progress]) -> Any:
        """The group generation that all these claims belong to.

        Raises:
            OwnershipLostError: a claim has ended.
        """
        with self._changed:
            ended = [item.claim for item in progress if not self._is_current(item.claim)]
            if ended:
                raise OwnershipLostError(f"every claim must still be held to commit, {ended} have ended: rewind")
            self._in_doubt.update(item.claim for item in progress)
            return self._membership

    def ask_commit(self, request: CommitRequest) -> None:
        """Leave a commit to the poll thread."""
        with self._changed:
            self._check_usable()
            self._commits.append(request)

    def abandon(self) -> None:
        """Whoever used this is dying of what it had in hand: from here on a hand-over counts as an attempt."""
        self._abandoned = True

    def close(self) -> None:
        """Wake all who wait; nothing comes in or goes out any more."""
        with self._changed:
            self._closed = True
            self._stop_commits()
            self._changed.notify_all()

    @property
    def is_closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed

    def _claim(self, partition: Partition) -> None:
        self._epochs[partition] = self._epochs.get(partition, 0) + 1
        self._claims[partition] = Claim(*partition, epoch=self._epochs[partition])

    def _end(self, claim: Claim) -> None:
        del self._claims[claim.topic, claim.partition]
        was_announced = self._committed.pop(claim, None) is not None
        trial = self._trials.pop(claim, None)
        self._untaken.pop(claim, None)
        self._states.pop(claim, None)
        self._in_doubt.discard(claim)
        self._lost = [lost for lost in self._lost if lost.claim != claim]
        if trial is not None and trial.standing_mark is not None:
            self._left_marks[claim.topic, claim.partition] = trial.standing_mark
        untold = [assigned for assigned in self._assigned if assigned.claim == claim]
        for assigned in untold:
            self._assigned.remove(assigned)
        if was_announced and not untold:  # the user never heard of the others, so need not hear of their end
            self._revoked.append(claim)
            self._changed.notify_all()

    def _mark(self, item: Progress) -> Mark:
        trial = self._trials.get(item.claim)
        standing = trial.standing_mark if trial is not None else None
        attempts = standing.attempts if standing is not None and standing.next_offset == item.next_offset else 0
        return Mark(item.next_offset, min(item.replay_from, item.next_offset), attempts, self._checkpoint(item.claim))

    def _wanted(self, claim: Claim, offset: int) -> Mark | None:
        mark = self._trials[claim].wanted(offset)
        return None if mark is None else replace(mark, checkpoint=self._checkpoint(claim))

    def _checkpoint(self, claim: Claim) -> Checkpoint | None:
        return self._states[claim].checkpoint if claim in self._states else None

    def _drop_stale(self) -> None:
        self._queue = deque(delivery for delivery in self._queue if delivery.claim in self._committed)
        self._queued_bytes = sum(held_bytes(delivery.record) for delivery in self._queue)

    def _is_current(self, claim: Claim) -> bool:
        return self._claims.get((claim.topic, claim.partition)) == claim

    def _wait(self, timeout_s: float) -> None:
        """Wait for news; a stuck poll thread ends the wait as soon as it counts as stuck, not at its end."""
        until_s = self._clock() + timeout_s
        while not self._has_news():
            silent_s = self._clock() - self._alive_at_s
            if silent_s >= self._stuck_after_s:
                raise FatalError(
                    f"the poll thread must come round every {self._stuck_after_s:.0f} s, it has been stuck for "
                    f"{silent_s:.0f} s: start this process again, its partitions then go to others"
                )
            left_s = until_s - self._clock()
            if left_s <= 0:
                return
            self._changed.wait_for(self._has_news, min(left_s, self._stuck_after_s - silent_s))

    def _has_news(self) -> bool:
        return bool(self._closed or self._failure or self._revoked or self._assigned or self._lost) or any(
            map(self._may_go, self._queue)
        )

    def _may_go(self, delivery: Delivery) -> bool:
        return delivery.record.offset < self._trials[delivery.claim].open_below

    def _take_open(self, max_records: int) -> tuple[Delivery, ...]:
        """The first that may go, each with what is known of earlier attempts; the order of a claim is kept."""
        taken: list[Delivery] = []
        kept: list[Delivery] = []
        while self._queue and len(taken) < max_records:
            delivery = self._queue.popleft()
            if self._may_go(delivery):
                attempts = self._trials[delivery.claim].attempts_at(delivery.record.offset)
                taken.append(replace(delivery, attempts=attempts) if attempts else delivery)
            else:
                kept.append(delivery)
        self._queue.extendleft(reversed(kept))
        return tuple(taken)

    def _check_usable(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise FatalError("a subscription must be open to be used, this one was closed")

    def _stop_commits(self) -> None:
        while self._commits:
            self._commits.popleft().done.set_exception(TransientError("the subscription ended before it could commit"))
