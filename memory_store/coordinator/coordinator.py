"""The single writer of all banks: takes the lead, works through a tenure, steps back when the lead is lost.

Any number of coordinators may run with the same group. Only the one that holds the lease of coordinators subscribes,
so that it alone sees every proposal and every event; the others wait. A leader that was paused past its lease does no
harm: each commit carries the token of its lead, and the store refuses it once somebody else has led.
"""

import hashlib
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from memory_store.coordinator.archive import Archive, read_archive
from memory_store.coordinator.counts import CoordinatorSnapshot
from memory_store.coordinator.keeper import BankKeeper
from memory_store.coordinator.options import CoordinatorOptions
from memory_store.coordinator.outgoing import Outgoing
from memory_store.coordinator.tenure import Tenure
from memory_store.store import BankStore, Lease
from memory_store.views import InitialBank
from messaging.ports import Bus, Publisher
from messaging.tracing import Tracer
from schemas.backoff import Backoff
from schemas.errors import OwnershipLostError, TransientError
from schemas.messages import utc_now

_log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0
MAX_WAITING_TO_SEND = 1000


def leadership(group: str) -> str:
    """Name of the lease that makes a coordinator the leader of its group; groups that share a store have their own."""
    return f"leadership.{hashlib.sha256(group.encode()).hexdigest()[:32]}"


class Coordinator:
    """Merges proposals into new bank versions.

    Args:
        bus: where topics are; closed by its owner.
        store: where banks are; closed by its owner.
        initial: the bundle's bank, from which banks are created and to which they must stay near.
        options: see ``CoordinatorOptions``.
        clock: seconds, monotonic.
        wall_clock: UTC, for the log.
        tracer: see ``Tenure``.

    Attributes:
        turned_at_s: when its loop came round last, on ``clock``.
    """

    def __init__(
        self,
        bus: Bus,
        store: BankStore,
        initial: InitialBank,
        options: CoordinatorOptions,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], datetime] = utc_now,
        tracer: Tracer | None = None,
    ) -> None:
        self._bus = bus
        self._store = store
        self._initial = initial
        self._options = options
        self._clock = clock
        self._wall_clock = wall_clock
        self._tracer = tracer
        self._holder = f"{options.coordinator_id}-{secrets.token_hex(8)}"
        self._counts = CoordinatorSnapshot()
        self._tenure: Tenure | None = None
        self._keeper: BankKeeper | None = None
        self._outgoing: Outgoing | None = None
        self._lease: Lease | None = None
        self._trouble: str | None = None
        self._tell_at = clock() + options.tell_s
        self._publisher: Publisher | None = None
        self._renew_at = float("-inf")
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._pause_s = FIRST_PAUSE_S
        self._not_before = float("-inf")
        self._snapshot = CoordinatorSnapshot()
        self._ends_at = float("inf")
        self._progress = threading.Condition()
        self._num_awaiting = 0
        self._worked_until = self._decided_until = float("-inf")
        self._stands_by = False
        self.turned_at_s = clock()

    def run(self, stop: threading.Event) -> None:
        """Coordinate until ``stop`` is set.

        Raises:
            FatalError: settings, bundle or store are beyond repair.
        """
        try:
            while not stop.is_set():
                if not self.step():
                    stop.wait(self._options.lease_s / 5 if self._trouble is None else self._pause_s)
        finally:
            self.step_back()
            if self._publisher is not None:
                self._publisher.close(self._options.send_timeout_s)

    def step(self) -> bool:
        """One round trip of the loop; False if there is nothing to do but wait."""
        busy = False
        try:
            if self._tenure is None:
                self._take_the_lead()
            if self._tenure is not None:
                busy = self._work()
        except OwnershipLostError as error:
            self._troubled(error)
            self.step_back()
        except TransientError as error:
            self._troubled(error)
        self._snapshot = self._look()
        self._tell()
        self.turned_at_s = self._clock()
        with self._progress:
            # Only now: who waits for it looks at the snapshot next.
            self._decided_until = self._worked_until
            self._stands_by = self._tenure is None and self._trouble is None
            self._progress.notify_all()
        return busy

    def settle_the_rest(self, timeout_s: float) -> bool:
        """After the last frame of a recording: settle what is held, round by round, whatever quarantine says.

        Called from another thread than ``run``'s, when all that could speak against a proposal has been published.

        Args:
            timeout_s: after which it is given up.

        Returns:
            whether every proposal was decided.
        """
        self._ends_at = self._clock()
        return self.catch_up(timeout_s) and self._snapshot.held == 0

    def catch_up(self, timeout_s: float) -> bool:
        """Wait until all that was published before was read, and all was decided of which the time has come.

        Called from another thread than ``run``'s.

        Args:
            timeout_s: after which it is given up.

        Returns:
            whether it was; False, at once, if another coordinator leads.
        """
        asked_at = self._clock()
        with self._progress:
            self._num_awaiting += 1
            try:
                self._progress.wait_for(lambda: self._decided_until >= asked_at or self._stands_by, timeout_s)
                return self._decided_until >= asked_at
            finally:
                self._num_awaiting -= 1

    def step_back(self) -> None:
        """Give back what is undecided, leave the group, let a standby take over at once."""
        tenure, lease = self._tenure, self._lease
        self._tenure = self._keeper = self._outgoing = self._lease = None
        if tenure is None or lease is None:
            return
        tenure.end()
        try:
            self._store.release(lease)
        except TransientError as error:
            _log.warning("the lead could not be given up, it runs out in %.1f s: %s", self._options.lease_s, error)
        self._snapshot = self._look()

    def snapshot(self) -> CoordinatorSnapshot:
        """State after the last step; callable from any thread."""
        return self._snapshot

    def _take_the_lead(self) -> None:
        lease = self._store.acquire(leadership(self._options.group), self._holder, self._options.lease_s)
        if lease is None:
            self._trouble = None
            return
        self._renew_at = self._clock() + self._options.lease_s / 3
        if self._publisher is None:
            self._publisher = self._bus.publisher()
        outgoing = Outgoing(self._publisher, self._options.send_timeout_s)
        keeper = BankKeeper(self._store, self._initial, self._options, outgoing, self._wall_clock)
        keeper.lease = lease
        keeper.begin(self._archive())
        self._counts.not_restored.update(keeper.refused)
        existing = self._bus.existing_topics()
        topics = [self._options.topics.memory_updates, self._options.topics.anomaly_events, *self._heard(existing)]
        partitions = {topic: existing[topic] for topic in topics if topic in existing}
        subscription = self._bus.subscription(topics, self._options.group)
        self._tenure = Tenure(
            self._options,
            self._initial,
            subscription,
            partitions,
            keeper,
            outgoing,
            self._counts,
            self._clock,
            self._tracer,
        )
        self._keeper, self._outgoing, self._lease = keeper, outgoing, lease
        _log.info("%s leads with token %d", self._holder, lease.token)

    def _heard(self, existing: Mapping[str, int]) -> Sequence[str]:
        """The topic of verdicts, if it and that of their answers are there: an older Engram did not make them."""
        names = self._options.topics
        if {names.operator_verdicts, names.memory_events} <= set(existing):
            return [names.operator_verdicts]
        _log.warning(
            "verdicts of operators are not heard: make the topics %s and %s, 'engram topics create', and start again",
            names.operator_verdicts,
            names.memory_events,
        )
        return []

    def _archive(self) -> Archive:
        reader = self._bus.reader([self._options.topics.memory_banks], from_beginning=True)
        try:
            records = reader.read_to_end(self._options.restore_timeout_s)
        finally:
            reader.close()
        return read_archive(records, self._initial, self._options.limits.anchor_distance)

    def _work(self) -> bool:
        """Receive, and decide unless that was tried a moment ago; False if receiving must wait too."""
        assert self._tenure is not None and self._outgoing is not None
        has_room = len(self._outgoing) < MAX_WAITING_TO_SEND
        is_awaited = self._num_awaiting > 0
        if has_room:
            self._tenure.receive(0.0 if is_awaited else self._options.receive_s)
        if self._clock() < self._not_before and (self._trouble is not None or not is_awaited):
            return has_room
        self._not_before = self._clock() + self._options.work_interval_s
        if self._clock() >= self._renew_at:
            self._keep_the_lead()
        read_until = self._tenure.complete_until
        self._tenure.is_ending = read_until >= self._ends_at
        self._tenure.work()
        self._worked_until = read_until
        self._trouble = None
        self._backoff.reset()
        return has_room

    def _keep_the_lead(self) -> None:
        """Prolong the lease, or take it again if nobody else had it."""
        assert self._lease is not None and self._keeper is not None
        lease = self._store.acquire(leadership(self._options.group), self._holder, self._options.lease_s)
        if lease is None or lease.token not in (self._lease.token, self._lease.token + 1):
            raise OwnershipLostError(f"the lead of {self._holder} ran out; whoever leads now has the log")
        self._lease = self._keeper.lease = lease  # one more than before: it ran out, but nobody else had it in between
        self._renew_at = self._clock() + self._options.lease_s / 3

    def _troubled(self, error: TransientError) -> None:
        if self._trouble is None:
            _log.warning("trying again: %s", error)
        self._trouble = str(error)
        self._pause_s = self._backoff.next_s()
        self._not_before = self._clock() + self._pause_s

    def _tell(self) -> None:
        """The counters, one line a minute."""
        if self._clock() >= self._tell_at:
            self._tell_at = self._clock() + self._options.tell_s
            _log.info("%s", self._snapshot.line())

    def _look(self) -> CoordinatorSnapshot:
        tenure, look = self._tenure, self._counts.copied()
        look.is_leader, look.trouble = tenure is not None, self._trouble
        look.held = tenure.held if tenure else 0
        look.events_remembered = tenure.events_remembered if tenure else 0
        look.waiting_to_send = len(self._outgoing) if self._outgoing else 0
        look.versions = dict(self._keeper.versions) if self._keeper else {}
        look.damaged = dict(self._keeper.damaged) if self._keeper else {}
        look.banks = dict(self._keeper.banks) if self._keeper else {}
        return look
