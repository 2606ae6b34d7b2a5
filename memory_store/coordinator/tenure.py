"""One term of leading: from taking the lease of coordinators until it is lost or the process stops.

Nothing here outlives the term: what is undecided at its end comes again from the log.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from memory_store.bank import Bank
from memory_store.coordinator.guards import (
    EventSpan,
    Rejection,
    bad_shape,
    foreign_bundle,
    frozen,
    implausible,
    not_finite,
    stale_base,
)
from memory_store.coordinator.keeper import BankKeeper
from memory_store.coordinator.ledger import Ledger
from memory_store.coordinator.outgoing import Outgoing
from memory_store.coordinator.positions import Place, Positions
from memory_store.coordinator.rounds import EventBook, Held, Rejected, RoundRules, Rounds
from memory_store.coordinator.settling import ChangeLimits, change_of, settle
from memory_store.proposal import ItemSums
from memory_store.views import InitialBank
from messaging.dead_letters import dead_letter
from messaging.ports import Claim, Delivery, Intake, Record, Subscription
from schemas.codec import HEADER, decode_header, decode_message, decode_proposal_arrays
from schemas.errors import BadMessageError
from schemas.messages import AnomalyEvent, ProposalHeader
from schemas.topics import TopicNames

_log = logging.getLogger(__name__)

MAX_REMEMBERED_IDS = 50_000


@dataclass(frozen=True, slots=True)
class CoordinatorOptions:
    """What a coordinator does and how patiently.

    Attributes:
        coordinator_id: name in logs and in the audit.
        topics: names of the topics.
        group: consumer group; the same for the leader and its standbys.
        rules: how proposals wait.
        limits: how far a bank may go.
        lease_s: a standby takes over when the leader was silent for so long.
        refresh_s: how often the store is looked at for changes made by others.
        send_timeout_s: longest wait for the broker to confirm.
        restore_timeout_s: longest wait for the archive to be read.
        receive_s: longest wait for records; bounds how late a round is settled.
        max_records: records received at once.
        work_interval_s: shortest time between two looks at what is held, which cost the more the more is held.
    """

    coordinator_id: str
    topics: TopicNames
    group: str = "engram-coordinators"
    rules: RoundRules = field(default_factory=RoundRules)
    limits: ChangeLimits = field(default_factory=ChangeLimits)
    lease_s: float = 10.0
    refresh_s: float = 1.0
    send_timeout_s: float = 10.0
    restore_timeout_s: float = 60.0
    receive_s: float = 0.2
    max_records: int = 500
    work_interval_s: float = 0.1


@dataclass(frozen=True, slots=True)
class Parts:
    """What a term works with."""

    subscription: Subscription
    keeper: BankKeeper
    outgoing: Outgoing
    initial: InitialBank
    partitions: Mapping[str, int]
    clock: Callable[[], float]
    wall_clock: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A commit whose outcome is not known yet."""

    bank_id: str
    commit_id: str
    proposals: tuple[Held[Place], ...]


class Tenure:
    """Receives, judges, settles. ``receive`` never touches the store; ``work`` can fail anywhere and be repeated."""

    def __init__(self, parts: Parts, options: CoordinatorOptions, ledger: Ledger) -> None:
        self._parts = parts
        self._options = options
        self._ledger = ledger
        self._positions = Positions()
        self._rounds: Rounds[Place] = Rounds(options.rules)
        self._events: EventBook[Place] = EventBook(options.rules)
        self._decided: dict[str, None] = {}
        self._attempt: _Attempt | None = None
        self._complete_until = float("-inf")
        self._renewed_at = float("-inf")

    @property
    def held(self) -> int:
        """Proposals waiting."""
        return len(self._rounds)

    @property
    def events_remembered(self) -> int:
        """Events that bear on proposals."""
        return len(self._events)

    def end(self) -> None:
        """Give back what is undecided."""
        self._ledger.returned += self._rounds.remove_from(lambda _: True)

    def receive(self) -> None:
        """Take in what the log has."""
        began_at = self._parts.clock()
        intake = self._parts.subscription.receive(self._options.max_records, self._options.receive_s)
        self._follow_claims(intake)
        now = self._parts.clock()
        for delivery in intake.deliveries:
            self._take(delivery, now)
        if self._positions.covers(self._parts.partitions) and self._parts.subscription.lag() == 0:
            self._complete_until = began_at

    def work(self) -> None:
        """Decide what is due, publish it, make the positions durable.

        Raises:
            TransientError: store or broker away; nothing was lost, call again.
        """
        now = self._parts.clock()
        self._resolve_attempt()
        if now - self._renewed_at >= self._options.refresh_s:
            self._parts.keeper.renew()
            self._renewed_at = now
        self._reject(self._rounds.blocked(self._events))
        for bank_id in self._rounds.bank_ids():
            self._work_on(bank_id, now)
        self._events.forget_old(min((held.received_at for held in self._rounds), default=now))
        self._parts.outgoing.send()
        self._make_durable()

    def _follow_claims(self, intake: Intake) -> None:
        for claim in intake.revoked:
            self._positions.end(claim)
            self._complete_until = float("-inf")
            self._ledger.returned += self._rounds.remove_from(_of(claim))
            self._events.forget_from(_of(claim))
        for assigned in intake.assigned:
            self._positions.begin(assigned)

    def _take(self, delivery: Delivery, now: float) -> None:
        record, place = delivery.record, Place(delivery.claim, delivery.record.offset)
        self._positions.passed(place)
        is_proposal = record.topic == self._options.topics.memory_updates
        self._ledger.received += is_proposal
        self._ledger.events += not is_proposal
        try:
            if is_proposal:
                self._take_proposal(_proposal(record, place, now))
            else:
                self._events.note(_span(record), now, place)
        except BadMessageError as error:
            self._ledger.rejected[error.reason] += is_proposal
            if not delivery.is_replay:
                self._ledger.dead_lettered[error.reason] += 1
                topics, author = self._options.topics, self._options.coordinator_id
                self._parts.outgoing.add(dead_letter(record, error, topics.dead_letters, author))

    def _take_proposal(self, held: Held[Place]) -> None:
        rejection = self._flaw(held)
        self._reject([Rejected(held, rejection)] if rejection else self._rounds.add(held))

    def _flaw(self, held: Held[Place]) -> Rejection | None:
        """What speaks against a proposal whatever the bank."""
        if held.header.proposal_id in self._decided:
            return Rejection("duplicate", f"{held.header.proposal_id} was decided already")
        initial = self._parts.initial
        return (
            foreign_bundle(held.header, initial.bundle_digest)
            or bad_shape(held.sums, initial.items_MC.shape)
            or not_finite(held.sums)
            or implausible(held.sums)
        )

    def _resolve_attempt(self) -> None:
        """Find out what became of a commit whose answer was lost, before anything else is decided."""
        attempt = self._attempt
        if attempt is None:
            return
        if self._parts.keeper.was_applied(attempt.bank_id, attempt.commit_id):
            self._count_commit([held for held in attempt.proposals if held.header.proposal_id in self._rounds])
        self._attempt = None
        self._parts.keeper.renewed(attempt.bank_id)

    def _work_on(self, bank_id: str, now: float) -> None:
        bank = self._parts.keeper.current(bank_id)
        if any(stale_base(held.header, bank) for held in self._rounds.of_bank(bank_id)):
            bank = self._parts.keeper.renewed(bank_id)  # a worker may have seen a version that we have not
        self._reject_unfit(bank)
        while round_ := self._rounds.due(bank_id, now, self._complete_until):
            bank = self._settle(bank, round_)
            self._reject_unfit(bank)

    def _reject_unfit(self, bank: Bank) -> None:
        digest = self._parts.initial.bundle_digest
        alien = None
        if bank.bundle_digest != digest:
            alien = Rejection("foreign_bundle", f"the bank is of bundle {bank.bundle_digest:.12}, here is {digest:.12}")
        unfit = [
            Rejected(held, rejection)
            for held in self._rounds.of_bank(bank.bank_id)
            if (rejection := alien or frozen(bank) or stale_base(held.header, bank))
        ]
        self._rounds.remove([item.held for item in unfit])
        self._reject(unfit)

    def _settle(self, bank: Bank, round_: Sequence[Held[Place]]) -> Bank:
        """Commit what may be of a round; the bank afterwards."""
        keeper = self._parts.keeper
        settled = settle(keeper.base(bank), round_, self._options.limits)
        if settled.items_MC is not None:
            change = change_of(bank, settled, self._options.coordinator_id)
            self._attempt = _Attempt(bank.bank_id, change.commit_id, tuple(settled.accepted))
            outcome = keeper.commit(bank.followed_by(settled.items_MC, self._parts.wall_clock()), change)
            self._attempt = None
            if outcome.status == "frozen":
                return keeper.renewed(bank.bank_id)
            self._count_commit(settled.accepted)
        self._rounds.remove([item.held for item in settled.rejected])
        self._reject(settled.rejected)
        return keeper.current(bank.bank_id)

    def _count_commit(self, accepted: Sequence[Held[Place]]) -> None:
        self._ledger.commits += 1
        self._ledger.committed += len(accepted)
        self._rounds.remove(accepted)
        self._remember(accepted)

    def _reject(self, rejected: Sequence[Rejected[Place]]) -> None:
        for item in rejected:
            self._ledger.rejected[item.rejection.reason] += 1
            reason, detail = item.rejection.reason, item.rejection.detail
            _log.info("proposal %s rejected, %s: %s", item.held.header.proposal_id, reason, detail)
        self._remember([item.held for item in rejected if item.rejection.reason != "duplicate"])

    def _remember(self, decided: Sequence[Held[Place]]) -> None:
        self._decided.update(dict.fromkeys(held.header.proposal_id for held in decided))
        while len(self._decided) > MAX_REMEMBERED_IDS:
            del self._decided[next(iter(self._decided))]

    def _make_durable(self) -> None:
        undecided = (held.place for held in self._rounds)
        progress = self._positions.open_progress(undecided, self._events.places())
        if progress:
            self._parts.subscription.commit(progress)
            self._positions.durable(progress)


def _of(claim: Claim) -> Callable[[Place], bool]:
    return lambda place: place.claim == claim


def _proposal(record: Record, place: Place, now: float) -> Held[Place]:
    """Decode a proposal.

    Raises:
        BadMessageError: it cannot be.
    """
    header = decode_header(ProposalHeader, record.header(HEADER), record.key, "bank_id")
    return Held(header, ItemSums(*decode_proposal_arrays(header, record.value)), now, place)


def _span(record: Record) -> EventSpan:
    """The frames of the event that a message is about.

    Raises:
        BadMessageError: it is no event.
    """
    event = decode_message(AnomalyEvent, record.value).data
    last_frame = event.frames.last if event.phase == "end" else None
    return EventSpan(event.camera_id, event.session_id, event.frames.first, last_frame)
