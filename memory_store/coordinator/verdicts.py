"""What operators say of events, judged and written: one version each, with the operator in the audit.

``decide`` is pure. ``Verdicts`` holds what was received until it is decided, so that a store that is away loses none;
who takes over finds in the log of the bank what was written already.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from memory_store.bank import Bank, Change
from memory_store.coordinator.guards import damaged, foreign_bundle, foreign_exemplars, frozen
from memory_store.coordinator.keeper import BankKeeper
from memory_store.coordinator.options import CLOCK_SLACK, CoordinatorOptions
from memory_store.coordinator.outgoing import Outgoing
from memory_store.coordinator.positions import Place
from memory_store.exemplar import (
    MAX_BYTES,
    MAX_EXEMPLARS,
    Exemplar,
    exemplar_of,
    in_order,
    silenced_by,
    to_bytes,
)
from memory_store.views import InitialBank
from messaging.ports import OutRecord, Record
from schemas.codec import EVENT_HEADERS, decode_message, encode_message
from schemas.errors import BadMessageError
from schemas.messages import READING
from schemas.verdicts import OperatorVerdict, VerdictOutcome, outcome_event

_log = logging.getLogger(__name__)

MAX_WAITING = 1000
"""Verdicts held while the store is away."""
MAX_AT_ONCE = 50
"""Decided in one go; the lead must be prolonged between."""

_ECHOED = {"verdict_id", "event_id", "camera_id", "bank_id", "judgement", "operator"}
RefusalReason = Literal[
    "unknown_bank",
    "foreign_bundle",
    "foreign_event",
    "bad_shape",
    "no_memory",
    "frozen",
    "damaged_bank",
    "implausible",
    "expired",
    "superseded",
    "nothing_said",
    "too_many",
    "silences",
    "overflow",
]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a verdict has no effect: one word for programs, and the same for a person, with what to do."""

    reason: RefusalReason
    why: str


@dataclass(frozen=True, slots=True)
class Said:
    """A verdict that was received.

    Attributes:
        exemplar: what a bank would remember of it; None of ``undo`` and ``skip``.
        place: where it was read.
    """

    verdict: OperatorVerdict
    exemplar: Exemplar | None
    place: Place


@dataclass(frozen=True, slots=True)
class Decision:
    """What a verdict leads to.

    Attributes:
        exemplars: of the next version; None = nothing is to be written.
        why: to be said with it.
    """

    exemplars: tuple[Exemplar, ...] | None
    why: str = ""


def flaw_of(verdict: OperatorVerdict, exemplar: Exemplar | None, initial: InitialBank, now: datetime) -> Refusal | None:
    """What speaks against a verdict whatever the bank has."""
    foreign = foreign_bundle(verdict.bundle_digest, initial.bundle_digest)
    if foreign is not None:
        return Refusal("foreign_bundle", f"{foreign.detail}; only events of the bundle in use can be spoken about")
    if not verdict.event_id.startswith(f"{verdict.camera_id}:"):
        return Refusal("foreign_event", f"event '{verdict.event_id}' is not of camera '{verdict.camera_id}'")
    if initial.grid is None:
        return Refusal("no_memory", "this bundle has no memory of what is normal; train or calibrate one that has")
    if verdict.given_at > now + CLOCK_SLACK:
        return Refusal("implausible", f"it is of {verdict.given_at:%Y-%m-%dT%H:%M:%SZ}, which is yet to come")
    if verdict.expires_at is not None and verdict.expires_at <= now:
        return Refusal("expired", f"it was to hold until {verdict.expires_at:%Y-%m-%dT%H:%M:%SZ}, which is over")
    alien = None if exemplar is None else foreign_exemplars([exemplar], initial.grid)
    return None if alien is None else Refusal("bad_shape", alien.detail)


def decide(said: Said, bank: Bank, now: datetime) -> Decision | Refusal:
    """What is to become of a verdict without a flaw.

    Args:
        said: the verdict.
        bank: that it is for, as it is.
        now: wall clock.
    """
    verdict, exemplar = said.verdict, said.exemplar
    if (refused := frozen(bank)) is not None:
        return Refusal("frozen", f"{refused.detail}; 'engram bank thaw {bank.bank_id}' lets it learn again")
    if verdict.judgement == "skip":
        return Decision(None, "seen")
    known = next((one for one in bank.exemplars if one.event_id == verdict.event_id), None)
    if known is not None and known.given_at > verdict.given_at:
        said_later = f"{known.operator} said '{known.judgement}' later, {known.given_at:%Y-%m-%dT%H:%M:%SZ}"
        return Refusal("superseded", f"{said_later}; of several verdicts the last one counts")
    others = tuple(one for one in bank.exemplars if one.event_id != verdict.event_id and not one.is_over(now))
    if exemplar is None:
        if known is None:
            return Refusal("nothing_said", f"bank '{bank.bank_id}' holds no verdict on '{verdict.event_id}'")
        return Decision(others, f"'{known.judgement}' by {known.operator} is undone")
    candidate = in_order((*others, exemplar))
    if len(candidate) > MAX_EXEMPLARS or len(to_bytes(candidate)) > MAX_BYTES:
        text = (
            f"bank '{bank.bank_id}' holds {len(others)} verdicts, as many as fit ({MAX_EXEMPLARS}, {MAX_BYTES} bytes)"
        )
        return Refusal("too_many", f"{text}; undo some: engram feedback --list {bank.bank_id}")
    canary = silenced_by(exemplar, others)
    if canary is not None:
        text = f"it would silence '{canary.event_id}', which {canary.operator} called real"
        return Refusal("silences", f"{text}; choose a smaller scope, or undo that one")
    if candidate == bank.exemplars:
        return Decision(None, "it was said already")
    return Decision(candidate, _contradiction(exemplar, others))


def _contradiction(added: Exemplar, others: Sequence[Exemplar]) -> str:
    """What was called normal and is like an event that is now called real."""
    if added.judgement != "real":
        return ""
    like = [one.event_id for one in others if silenced_by(one, [added]) is not None]
    return f"the like of it was called normal with '{like[0]}'; from now on it alarms again" if like else ""


class Verdicts:
    """Verdicts received and not decided yet, in their order.

    Args:
        options: of the coordinator.
        initial: the bundle's bank.
        keeper: of the banks.
        outgoing: where answers go.
        decided: counts, by outcome.
    """

    def __init__(
        self,
        options: CoordinatorOptions,
        initial: InitialBank,
        keeper: BankKeeper,
        outgoing: Outgoing,
        decided: Counter[str],
    ) -> None:
        self._options = options
        self._initial = initial
        self._keeper = keeper
        self._outgoing = outgoing
        self._decided = decided
        self._waiting: list[Said] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def places(self) -> Iterator[Place]:
        """Where those that wait were read."""
        return (said.place for said in self._waiting)

    def forget_from(self, where: Callable[[Place], bool]) -> None:
        """Drop those from such a place: they will be read again."""
        self._waiting = [said for said in self._waiting if not where(said.place)]

    def take(self, record: Record, place: Place) -> None:
        """Receive one.

        Raises:
            BadMessageError: it is none, or must not be believed.
        """
        record.check()
        verdict = decode_message(OperatorVerdict, record.value)
        try:
            exemplar = exemplar_of(verdict) if verdict.judgement not in ("skip", "undo") else None
        except BadMessageError as error:
            self._refuse(verdict, Refusal("bad_shape", str(error)))
            return
        flaw = flaw_of(verdict, exemplar, self._initial, self._keeper.now())
        if flaw is None and len(self) >= MAX_WAITING:
            flaw = Refusal("overflow", f"{MAX_WAITING} verdicts wait for the store; say it again later")
        if flaw is not None:
            self._refuse(verdict, flaw)
        else:
            self._waiting.append(Said(verdict, exemplar, place))

    def work(self) -> None:
        """Decide what waits, and answer.

        Raises:
            TransientError: store away, or the bank moved on; what is not decided waits on.
        """
        for said in self._waiting[:MAX_AT_ONCE]:
            bank_id = said.verdict.bank_id
            with self._keeper.setting_aside(bank_id):
                self._settle(said)
            if (why := self._keeper.damaged.get(bank_id)) is not None:
                self._refuse(said.verdict, Refusal("damaged_bank", damaged(bank_id, why).detail))
            self._waiting.remove(said)

    def take_out_expired(self) -> None:
        """Write a version without them for each bank that holds verdicts whose time is over."""
        now = self._keeper.now()
        for bank in list(self._keeper.banks.values()):
            over = [one for one in bank.exemplars if one.is_over(now)]
            if over and not bank.frozen and bank.bundle_digest == self._initial.bundle_digest:
                names = ", ".join(one.event_id for one in over)
                content = "\n".join([bank.epoch, bank.digest, names])
                commit_id = f"expired {hashlib.sha256(content.encode()).hexdigest()[:32]}"
                kept = tuple(one for one in bank.exemplars if not one.is_over(now))
                change = Change("verdict", self._options.coordinator_id, f"expired: {names}"[:500], commit_id)
                with self._keeper.setting_aside(bank.bank_id):
                    self._commit(bank, kept, change)

    def _settle(self, said: Said) -> None:
        verdict, keeper = said.verdict, self._keeper
        commit_id = f"verdict {verdict.verdict_id}"
        bank = keeper.found(verdict.bank_id)
        if bank is None:
            text = f"there is no bank '{verdict.bank_id}': nothing has taught it yet"
            self._refuse(verdict, Refusal("unknown_bank", f"{text}; let its camera be learned first"))
            return
        written = keeper.entry_with(bank.bank_id, commit_id)
        if written is not None:  # by who led before, or by us before the answer was lost
            self._answer(verdict, "applied", why=written.change.reason, version=written.version, digest=written.digest)
            return
        decision = decide(said, bank, keeper.now())
        if isinstance(decision, Decision) and decision.exemplars is not None:
            if self._commit(bank, decision.exemplars, _change(verdict, commit_id)):
                bank = keeper.current(bank.bank_id)
                self._answer(verdict, "applied", why=decision.why, version=bank.version, digest=bank.digest)
                return
            decision = Refusal("frozen", f"bank '{bank.bank_id}' is frozen; thaw it first")
        if isinstance(decision, Refusal):
            self._refuse(verdict, decision)
        else:
            self._answer(verdict, "noted", why=decision.why, version=bank.version, digest=bank.digest)

    def _commit(self, bank: Bank, exemplars: tuple[Exemplar, ...], change: Change) -> bool:
        """Whether it was written; not where somebody has frozen the bank meanwhile."""
        follower = replace(bank.followed_by(bank.items_MC, self._keeper.now()), exemplars=exemplars)
        return self._keeper.commit(follower, change).status != "frozen"

    def _refuse(self, verdict: OperatorVerdict, refusal: Refusal) -> None:
        _log.info(
            "verdict of %s on %s refused, %s: %s", verdict.operator, verdict.event_id, refusal.reason, refusal.why
        )
        self._answer(verdict, "refused", refusal.reason, refusal.why)

    def _answer(
        self,
        verdict: OperatorVerdict,
        outcome: Literal["applied", "refused", "noted"],
        reason: RefusalReason | None = None,
        why: str = "",
        version: int | None = None,
        digest: str | None = None,
    ) -> None:
        self._decided[outcome] += 1
        answer = VerdictOutcome.model_validate(
            {
                **verdict.model_dump(include=_ECHOED),
                "outcome": outcome,
                "reason": reason,
                "why": why[:500],
                "bank_version": version,
                "bank_digest": digest,
                "decided_at": self._keeper.now(),
            },
            context=READING,  # a newer console may have a judgement that this coordinator does not know
        )
        topic, value = self._options.topics.memory_events, encode_message(outcome_event(answer))
        self._outgoing.add(OutRecord(topic, verdict.bank_id, value, EVENT_HEADERS))


def _change(verdict: OperatorVerdict, commit_id: str) -> Change:
    """For the log: what was said of which event, and why."""
    what = f"{verdict.judgement} {verdict.event_id}"
    if verdict.judgement != "undo":
        until = "" if verdict.expires_at is None else f" until {verdict.expires_at:%Y-%m-%dT%H:%M:%SZ}"
        what += f", {verdict.scope}{until}"
    return Change("verdict", verdict.operator, f"{what}: {verdict.reason}".removesuffix(": "), commit_id)
