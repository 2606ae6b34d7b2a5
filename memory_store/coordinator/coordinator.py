"""The single writer of all banks: takes the lead, works through a tenure, steps back when the lead is lost.

Any number of coordinators may run with the same group. Only the one that holds the lease of coordinators subscribes,
so that it alone sees every proposal and every event; the others wait. A leader that was paused past its lease does no
harm: each commit carries a fencing token that the store checks.
"""

import hashlib
import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from memory_store.bank import Bank
from memory_store.coordinator.keeper import BankKeeper, Writer, newest_banks
from memory_store.coordinator.ledger import CoordinatorSnapshot, Ledger
from memory_store.coordinator.outgoing import Outgoing
from memory_store.coordinator.tenure import CoordinatorOptions, Parts, Tenure
from memory_store.store import BankStore, Lease
from memory_store.views import InitialBank
from messaging.ports import Bus, Publisher
from schemas.errors import OwnershipLostError, TransientError
from schemas.messages import utc_now

_log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0
MAX_WAITING_TO_SEND = 1000


def leadership(group: str) -> str:
    """Name of the lease that makes a coordinator the leader of its group; groups that share a store have their own."""
    return f"leadership.{hashlib.sha256(group.encode()).hexdigest()[:32]}"


@dataclass(slots=True)
class _Term:
    tenure: Tenure
    parts: Parts
    lease: Lease


class Coordinator:
    """Merges proposals into new bank versions.

    Args:
        bus: where topics are; closed by its owner.
        store: where banks are; closed by its owner.
        initial: the bundle's bank, from which banks are created and to which they must stay near.
        options: see ``CoordinatorOptions``.
        clock: seconds, monotonic.
        wall_clock: UTC, for the log.
    """

    def __init__(
        self,
        bus: Bus,
        store: BankStore,
        initial: InitialBank,
        options: CoordinatorOptions,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._bus = bus
        self._store = store
        self._initial = initial
        self._options = options
        self._clock = clock
        self._wall_clock = wall_clock
        self._holder = f"{options.coordinator_id}-{secrets.token_hex(8)}"
        self._ledger = Ledger()
        self._term: _Term | None = None
        self._trouble: str | None = None
        self._publisher: Publisher | None = None
        self._renew_at = float("-inf")
        self._pause_s = FIRST_PAUSE_S
        self._not_before = float("-inf")
        self._snapshot = CoordinatorSnapshot()

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
            if self._term is None:
                self._take_the_lead()
            if self._term is not None:
                busy = self._lead(self._term)
        except OwnershipLostError as error:
            self._troubled(error)
            self.step_back()
        except TransientError as error:
            self._troubled(error)
        self._snapshot = self._look()
        return busy

    def step_back(self) -> None:
        """Give back what is undecided, leave the group, let a standby take over at once."""
        term, self._term = self._term, None
        if term is None:
            return
        term.tenure.end()
        term.parts.subscription.close()
        try:
            self._store.release(term.lease)
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
        author, topic = self._options.coordinator_id, self._options.topics.memory_banks
        writer = Writer(author, self._holder, self._options.lease_s, topic)
        keeper = BankKeeper(self._store, self._initial, writer, outgoing, self._wall_clock)
        keeper.begin(self._archived())
        self._term = self._new_term(lease, keeper, outgoing)
        _log.info("%s leads with token %d", self._holder, lease.token)

    def _new_term(self, lease: Lease, keeper: BankKeeper, outgoing: Outgoing) -> _Term:
        topics = [self._options.topics.memory_updates, self._options.topics.anomaly_events]
        existing = self._bus.existing_topics()
        parts = Parts(
            subscription=self._bus.subscription(topics, self._options.group),
            keeper=keeper,
            outgoing=outgoing,
            initial=self._initial,
            partitions={topic: existing[topic] for topic in topics if topic in existing},
            clock=self._clock,
            wall_clock=self._wall_clock,
        )
        return _Term(Tenure(parts, self._options, self._ledger), parts, lease)

    def _archived(self) -> dict[str, Bank]:
        reader = self._bus.reader([self._options.topics.memory_banks], from_beginning=True)
        try:
            return newest_banks(reader.read_to_end(self._options.restore_timeout_s))
        finally:
            reader.close()

    def _lead(self, term: _Term) -> bool:
        """Receive, and decide unless that was tried a moment ago; False if receiving must wait too."""
        has_room = len(term.parts.outgoing) < MAX_WAITING_TO_SEND
        if has_room:
            term.tenure.receive()
        if self._clock() < self._not_before:
            return has_room
        self._not_before = self._clock() + self._options.work_interval_s
        if self._clock() >= self._renew_at:
            self._keep_the_lead(term)
        term.tenure.work()
        self._trouble, self._pause_s = None, FIRST_PAUSE_S
        return has_room

    def _keep_the_lead(self, term: _Term) -> None:
        """Prolong the lease, or take it again if nobody else had it."""
        lease = self._store.acquire(leadership(self._options.group), self._holder, self._options.lease_s)
        if lease is None or lease.token not in (term.lease.token, term.lease.token + 1):
            raise OwnershipLostError(f"the lead of {self._holder} ran out; whoever leads now has the log")
        term.lease = lease  # one more than before: it ran out, but nobody else had it in between
        self._renew_at = self._clock() + self._options.lease_s / 3

    def _troubled(self, error: TransientError) -> None:
        if self._trouble is None:
            _log.warning("trying again: %s", error)
        self._trouble = str(error)
        self._not_before = self._clock() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _look(self) -> CoordinatorSnapshot:
        ledger, term = self._ledger, self._term
        return CoordinatorSnapshot(
            is_leader=term is not None,
            trouble=self._trouble,
            received=ledger.received,
            committed=ledger.committed,
            rejected=dict(ledger.rejected),
            returned=ledger.returned,
            held=term.tenure.held if term else 0,
            events=ledger.events,
            dead_lettered=dict(ledger.dead_lettered),
            commits=ledger.commits,
            events_remembered=term.tenure.events_remembered if term else 0,
            waiting_to_send=len(term.parts.outgoing) if term else 0,
            versions=dict(term.parts.keeper.versions) if term else {},
        )
