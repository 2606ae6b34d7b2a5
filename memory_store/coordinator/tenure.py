"""One term of leading: from taking the lease of coordinators until it is lost or the process stops.

Nothing here outlives the term: what is undecided at its end comes again from the log.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memory_store.bank import Bank
from memory_store.coordinator.counts import CoordinatorSnapshot
from memory_store.coordinator.event_book import EventBook
from memory_store.coordinator.guards import (
    EventSpan,
    Rejection,
    ahead_of_time,
    already_taken,
    bad_shape,
    damaged,
    empty,
    false_claim,
    foreign_bundle,
    foreign_grid,
    frozen,
    implausible,
    implausible_counts,
    not_finite,
    stale_base,
    unknown_bank,
)
from memory_store.coordinator.keeper import BankKeeper
from memory_store.coordinator.options import CoordinatorOptions
from memory_store.coordinator.outgoing import Outgoing
from memory_store.coordinator.positions import Place, Positions
from memory_store.coordinator.rounds import Held, Rejected, Round, Rounds
from memory_store.coordinator.settling import change_of, settle
from memory_store.coordinator.spans import ProposalSpans
from memory_store.coordinator.verdicts import Verdicts
from memory_store.normality import Normality
from memory_store.proposal import ItemSums
from memory_store.taken import Taken
from memory_store.views import InitialBank
from messaging.dead_letters import dead_letter
from messaging.ports import Claim, Delivery, Intake, Record, Subscription
from messaging.tracing import Tracer, context_of
from schemas.codec import HEADER, decode_header, decode_message, decode_proposal_arrays, encode_message
from schemas.errors import BadMessageError
from schemas.messages import AnomalyEvent, EventData, ProposalHeader

_log = logging.getLogger(__name__)

MAX_REMEMBERED_IDS = 50_000
FIND_S = 10.0
"""How often the store is searched for banks that an operator has made, if somebody proposes to an unknown one."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A commit whose outcome is not known yet."""

    bank_id: str
    commit_id: str
    proposals: tuple[Held, ...]
    round: Round


class Tenure:
    """Receives, judges, settles. ``receive`` never touches the store; ``work`` can fail anywhere and be repeated.

    Args:
        options: see there.
        initial: the bundle's bank.
        subscription: to proposals, events and verdicts; closed by ``end``.
        partitions: of these topics, all of which must be held before a quarantine can pass.
        keeper: of the banks.
        outgoing: to the broker.
        counts: what is counted into.
        clock: seconds, monotonic.
        tracer: tells what proposals spend their time on, where their records have a trace; None = nothing is told.

    Attributes:
        is_ending: nothing more will come that could speak against what is held, so it is settled at once.
        complete_until: seconds; all that the log had then has been received.
    """

    def __init__(
        self,
        options: CoordinatorOptions,
        initial: InitialBank,
        subscription: Subscription,
        partitions: Mapping[str, int],
        keeper: BankKeeper,
        outgoing: Outgoing,
        counts: CoordinatorSnapshot,
        clock: Callable[[], float],
        tracer: Tracer | None = None,
    ) -> None:
        self.subscription = subscription
        self.is_ending = False
        self._options = options
        self._initial = initial
        self._partitions = partitions
        self._keeper = keeper
        self._outgoing = outgoing
        self._counts = counts
        self._clock = clock
        self._spans = ProposalSpans(tracer, clock)
        self._positions = Positions()
        self._rounds: Rounds = Rounds(options.rules)
        self._events: EventBook = EventBook(options.rules)
        self._verdicts = Verdicts(options, initial, keeper, outgoing, counts.verdicts)
        self._decided: dict[str, None] = {}
        self._attempt: _Attempt | None = None
        self.complete_until = float("-inf")
        self._taken: dict[str, Taken | None] = {}
        self._renewed_at = float("-inf")
        self._found_at = float("-inf")
        self._has_strangers = False
        self._ids: dict[str, str] = {}

    @property
    def held(self) -> int:
        """Proposals waiting."""
        return len(self._rounds)

    @property
    def events_remembered(self) -> int:
        """Events that bear on proposals."""
        return len(self._events)

    def end(self) -> None:
        """Give back what is undecided and leave the group."""
        self._counts.returned += self._rounds.remove_from(lambda _: True)
        self.subscription.close()

    def receive(self, wait_s: float) -> None:
        """Take in what the log has; wait for it as long as this."""
        began_at = self._clock()
        self._rounds.begin_reading()
        intake = self.subscription.receive(self._options.max_records, wait_s)
        self._follow_claims(intake)
        now = self._clock()
        for delivery in intake.deliveries:
            self._take(delivery, now)
        if self._positions.covers(self._partitions) and self.subscription.lag() == 0:
            self.complete_until = began_at
            self._rounds.all_is_read()

    def work(self) -> None:
        """Decide what is due, publish it, make the positions durable.

        Raises:
            TransientError: store or broker away; nothing was lost, call again.
        """
        now = self._clock()
        self._resolve_attempt()
        if now - self._renewed_at >= self._options.refresh_s:
            self._keeper.renew()
            self._renewed_at = now
            self._verdicts.take_out_expired()
        self._verdicts.work()
        if self._has_strangers and now - self._found_at >= FIND_S:
            self._keeper.find_new()
            self._found_at, self._has_strangers = now, False
        self._reject(self._rounds.blocked(self._events))
        for bank_id in self._rounds.bank_ids():
            with self._keeper.setting_aside(bank_id):
                self._work_on(bank_id, now)
            if (why := self._keeper.damaged.get(bank_id)) is not None:
                self._take_out([Rejected(held, damaged(bank_id, why)) for held in self._rounds.of_bank(bank_id)])
        self._events.forget_old(min((held.received_at for held in self._rounds), default=now))
        self._outgoing.send()
        self._make_durable()

    def _follow_claims(self, intake: Intake) -> None:
        for claim in intake.revoked:
            self._positions.end(claim)
            self.complete_until = float("-inf")
            self._counts.returned += self._rounds.remove_from(_of(claim))
            self._events.forget_from(_of(claim))
            self._verdicts.forget_from(_of(claim))
        for assigned in intake.assigned:
            self._positions.begin(assigned)

    def _take(self, delivery: Delivery, now: float) -> None:
        record, place = delivery.record, Place(delivery.claim, delivery.record.offset)
        self._positions.passed(place)
        topics = self._options.topics
        is_proposal = record.topic == topics.memory_updates
        self._counts.received += is_proposal
        self._counts.events += record.topic == topics.anomaly_events
        try:
            if is_proposal:
                self._take_proposal(_proposal(record, place, now, context_of(delivery)))
            elif record.topic == topics.operator_verdicts:
                self._verdicts.take(record, place)
            else:
                self._take_event(decode_message(AnomalyEvent, record.value).data, now, place)
        except BadMessageError as error:
            self._counts.rejected[error.reason] += is_proposal
            if not delivery.is_replay:
                self._counts.dead_lettered[error.reason] += 1
                self._outgoing.add(dead_letter(record, error, topics.dead_letters, self._options.coordinator_id))

    def _take_event(self, event: EventData, now: float, place: Place) -> None:
        self._events.note(_span(event), now, place)
        slack = self._options.clock_slack
        if slack is None or event.last_at <= self._keeper.now() + slack:
            self._rounds.heard_of(event.camera_id, event.last_at.timestamp(), now)

    def _take_proposal(self, held: Held) -> None:
        rejection = self._flaw(held)
        self._reject([Rejected(held, rejection)] if rejection else self._rounds.add(held))

    def _flaw(self, held: Held) -> Rejection | None:
        """What speaks against a proposal whatever the bank."""
        header, sums = held.header, held.sums
        if not self._keeper.knows(header.bank_id) and (stranger := unknown_bank(header, self._options.bank_id)):
            self._has_strangers = True
            return stranger
        if held.identity in self._decided:
            return Rejection("duplicate", f"{held.identity} was decided already")
        places = self._initial.places_per_frame
        flaw = (
            foreign_bundle(header.bundle_digest, self._initial.bundle_digest)
            or bad_shape(sums, self._initial.items_MC.shape)
            or not_finite(sums)
            or false_claim(header)
            or ahead_of_time(header, self._keeper.now(), self._options.clock_slack)
            or foreign_grid(held.normality, self._initial.grid)
            or empty(sums, held.normality)
            or (held.normality and implausible_counts(header, held.normality))
            or implausible(sums, None if places is None else places * header.num_frames)
        )
        if flaw is None:
            self._note_id(held)
        return flaw

    def _note_id(self, held: Held) -> None:
        """Tell an id that stands for two contents: only a forger, or a worker run anew by hand, writes that."""
        first = self._ids.setdefault(held.header.proposal_id, held.identity)
        if first != held.identity:
            if self._counts.conflicting == 0:
                _log.warning("proposal %s came with two contents; who may write the topic?", held.header.proposal_id)
            self._counts.conflicting += 1
        _bound(self._ids)

    def _resolve_attempt(self) -> None:
        """Find out what became of a commit whose answer was lost, before anything else is decided."""
        attempt = self._attempt
        if attempt is None:
            return
        if self._keeper.was_applied(attempt.bank_id, attempt.commit_id):
            self._count_commit([held for held in attempt.proposals if held.identity in self._rounds], attempt.round)
            self._rounds.settled(attempt.bank_id, attempt.round)
        self._attempt = None
        with self._keeper.setting_aside(attempt.bank_id):
            self._keeper.renewed(attempt.bank_id)

    def _work_on(self, bank_id: str, now: float) -> None:
        if not (self._keeper.knows(bank_id) or self._keeper.has_room()):
            text = f"there are {self._options.max_banks} banks, as many as coordinator.max_banks allows"
            full = Rejection("unknown_bank", f"{text}; 'engram bank create {bank_id}' makes one more")
            self._take_out([Rejected(held, full) for held in self._rounds.of_bank(bank_id)])
            return
        bank = self._keeper.current(bank_id)
        self._resume(bank_id, now)
        if any(stale_base(held.header, bank) for held in self._rounds.of_bank(bank_id)):
            bank = self._keeper.renewed(bank_id)  # a worker may have seen a version that we have not
        self._reject_unfit(bank)
        while (round_ := self._due(bank, now)).held:
            bank = self._settle(bank, round_)
            self._reject_unfit(bank)

    def _resume(self, bank_id: str, now: float) -> None:
        """Know what was settled of a bank before this term: positions may not be as far, and it is read again."""
        if bank_id not in self._taken:
            taken = self._keeper.taken(bank_id)
            self._taken[bank_id] = taken
            if taken is not None:
                self._rounds.resume(bank_id, taken.until_s, taken.cameras, now)

    def _due(self, bank: Bank, now: float) -> Round:
        rules = self._options.rules
        if self._initial.is_learning(bank, self._options.learn_s):
            rules = rules.while_learning()
        return self._rounds.due(bank.bank_id, now, self.complete_until, rules, self.is_ending)

    def _reject_unfit(self, bank: Bank) -> None:
        digest = self._initial.bundle_digest
        alien, taken = None, self._taken.get(bank.bank_id)
        if bank.bundle_digest != digest:
            alien = foreign_bundle(bank.bundle_digest, digest)
        unfit = [
            Rejected(held, rejection)
            for held in self._rounds.of_bank(bank.bank_id)
            if (
                rejection := alien
                or frozen(bank)
                or (taken and already_taken(held.header, held.at_s, taken))
                or stale_base(held.header, bank)
            )
        ]
        self._take_out(unfit)

    def _settle(self, bank: Bank, round_: Round) -> Bank:
        """Commit what may be of a round; the bank afterwards."""
        keeper = self._keeper
        limits = self._options.limits.after(keeper.spent(bank.bank_id))
        settled = settle(bank, self._initial.items_MC, round_.held, limits, self._options.half_life_s)
        if settled.accepted:
            change = change_of(bank, settled, self._options.coordinator_id, round_.end_s)
            self._attempt = _Attempt(bank.bank_id, change.commit_id, tuple(settled.accepted), round_)
            with self._spans.committing(settled.accepted):
                outcome = keeper.commit(bank.followed_by(settled.items_MC, keeper.now(), settled.normality), change)
            self._attempt = None
            if outcome.status == "frozen":
                return keeper.renewed(bank.bank_id)
            self._count_commit(settled.accepted, round_)
        self._take_out(settled.rejected)
        self._rounds.settled(bank.bank_id, round_)
        return keeper.current(bank.bank_id)

    def _count_commit(self, accepted: Sequence[Held], round_: Round) -> None:
        self._counts.commits += 1
        self._counts.late += round_.num_late
        self._counts.committed += len(accepted)
        self._rounds.remove(accepted)
        self._remember(accepted)

    def _take_out(self, rejected: Sequence[Rejected]) -> None:
        self._rounds.remove([item.held for item in rejected])
        self._reject(rejected)

    def _reject(self, rejected: Sequence[Rejected]) -> None:
        for item in rejected:
            self._counts.rejected[item.rejection.reason] += 1
            reason, detail = item.rejection.reason, item.rejection.detail
            _log.debug("proposal %s rejected, %s: %s", item.held.header.proposal_id, reason, detail)
            self._spans.refused(item.held, reason)
        self._remember([item.held for item in rejected if item.rejection.reason not in ("duplicate", "unknown_bank")])

    def _remember(self, decided: Sequence[Held]) -> None:
        self._decided.update(dict.fromkeys(held.identity for held in decided))
        _bound(self._decided)

    def _make_durable(self) -> None:
        undecided = (*(held.place for held in self._rounds), *self._verdicts.places())
        progress = self._positions.open_progress(undecided, self._events.places())
        if progress:
            self.subscription.commit(progress)
            self._positions.durable(progress)


def _of(claim: Claim) -> Callable[[Place], bool]:
    return lambda place: place.claim == claim


def _proposal(record: Record, place: Place, now: float, traceparent: str | None) -> Held:
    """Decode a proposal.

    Raises:
        BadMessageError: it cannot be, or must not be believed.
    """
    record.check()
    header = decode_header(ProposalHeader, record.header(HEADER), record.key, "bank_id")
    *arrays, counts = decode_proposal_arrays(header, record.value)
    normality = None if header.normality is None else Normality.from_wire(header.normality, counts)
    content = hashlib.sha256(encode_message(header) + (record.value or b"")).hexdigest()
    identity = f"{header.proposal_id}#{content[:32]}"
    return Held(header, ItemSums(*arrays), now, place, identity, normality, traceparent=traceparent)


def _bound(remembered: dict[str, Any]) -> None:
    while len(remembered) > MAX_REMEMBERED_IDS:
        del remembered[next(iter(remembered))]


def _span(event: EventData) -> EventSpan:
    """The frames of the event that a message is about."""
    last_frame = event.frames.last if event.phase == "end" else None
    return EventSpan(event.camera_id, event.session_id, event.frames.first, last_frame)
