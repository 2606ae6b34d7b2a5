"""Rounds: proposals on one version of a bank are gathered, wait out their quarantine, and are settled together.

Pure: the clock comes as a number of seconds, decisions go out as values.

A round of a bank opens with the arrival of its oldest held proposal and gathers for ``round_s``; the youngest of those
then wait out ``quarantine_s``. What arrives in that time is held too: if the round commits it has become stale, if not
it is part of the next one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from memory_store.coordinator.guards import EventSpan, Rejection, camera_event
from memory_store.proposal import ItemSums
from schemas.messages import ProposalHeader

Place = TypeVar("Place")
"""Where a proposal came from; carried along for whoever must be told what became of it."""


@dataclass(frozen=True, slots=True)
class RoundRules:
    """How proposals wait.

    Attributes:
        round_s: how long a round gathers; 0 = each proposal is its own round.
        quarantine_s: age a proposal must reach; None = 30 s, or none at all where each proposal is its own round.
        guard_frames: frames before and after an event that must not teach either.
        max_held: proposals held at most; beyond it the oldest is dropped.
        event_memory_s: how long an event that has ended is remembered.
        max_event_s: how long an open event is believed without a sign of life.
    """

    round_s: float = 60.0
    quarantine_s: float | None = None
    guard_frames: int = 10
    max_held: int = 10_000
    event_memory_s: float = 600.0
    max_event_s: float = 86_400.0

    @property
    def wait_s(self) -> float:
        """The quarantine in force."""
        if self.quarantine_s is not None:
            return self.quarantine_s
        return 30.0 if self.round_s > 0 else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Held(Generic[Place]):
    """A proposal in quarantine; ``received_at`` in seconds of the coordinator's clock."""

    header: ProposalHeader
    sums: ItemSums
    received_at: float
    place: Place


@dataclass(frozen=True, slots=True)
class Rejected(Generic[Place]):
    """A proposal that has no effect, and why."""

    held: Held[Place]
    rejection: Rejection


@dataclass(slots=True)
class _Remembered(Generic[Place]):
    span: EventSpan
    place: Place
    touched_at: float


class EventBook(Generic[Place]):
    """The events that bear on proposals: those that are open, and those that ended a short while ago."""

    def __init__(self, rules: RoundRules) -> None:
        self._rules = rules
        self._sessions: dict[tuple[str, str], dict[int, _Remembered[Place]]] = {}

    def note(self, span: EventSpan, now: float, place: Place) -> None:
        """A message about an event; the place of its first message is kept."""
        events = self._sessions.setdefault((span.camera_id, span.session_id), {})
        known = events.get(span.first_frame)
        events[span.first_frame] = _Remembered(span, known.place if known else place, now)

    def spans(self, camera_id: str, session_id: str) -> Iterator[EventSpan]:
        """Events of one session."""
        return (item.span for item in self._sessions.get((camera_id, session_id), {}).values())

    def places(self) -> Iterator[Place]:
        """Where the remembered events began."""
        return (item.place for events in self._sessions.values() for item in events.values())

    def forget_old(self, now: float) -> None:
        """Drop what no proposal that arrives at ``now`` or later can meet any more."""
        self._keep(lambda item: now - item.touched_at <= self._memory_s(item.span))

    def forget_from(self, where: Callable[[Place], bool]) -> None:
        """Drop those that began at such a place: they will be read again."""
        self._keep(lambda item: not where(item.place))

    def _memory_s(self, span: EventSpan) -> float:
        return self._rules.max_event_s if span.last_frame is None else self._rules.event_memory_s

    def _keep(self, wanted: Callable[[_Remembered[Place]], bool]) -> None:
        for key, events in list(self._sessions.items()):
            kept = {first: item for first, item in events.items() if wanted(item)}
            if kept:
                self._sessions[key] = kept
            else:
                del self._sessions[key]

    def __len__(self) -> int:
        return sum(len(events) for events in self._sessions.values())


class Rounds(Generic[Place]):
    """The held proposals of all banks, in order of arrival."""

    def __init__(self, rules: RoundRules) -> None:
        self._rules = rules
        self._held: dict[str, Held[Place]] = {}
        self._by_bank: dict[str, dict[str, Held[Place]]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, proposal_id: str) -> bool:
        return proposal_id in self._held

    def __iter__(self) -> Iterator[Held[Place]]:
        return iter(self._held.values())

    def bank_ids(self) -> Sequence[str]:
        """Banks with held proposals."""
        return list(self._by_bank)

    def of_bank(self, bank_id: str) -> Sequence[Held[Place]]:
        """Held proposals of a bank, oldest first."""
        return list(self._by_bank.get(bank_id, {}).values())

    def add(self, held: Held[Place]) -> Sequence[Rejected[Place]]:
        """Take a proposal into quarantine; what is rejected: itself if it is held already, the oldest if full."""
        header = held.header
        if header.proposal_id in self:
            return [Rejected(held, Rejection("duplicate", f"{header.proposal_id} is held already"))]
        self._held[header.proposal_id] = held
        self._by_bank.setdefault(header.bank_id, {})[header.proposal_id] = held
        if len(self) <= self._rules.max_held:
            return []
        oldest = next(iter(self))
        self.remove([oldest])
        return [Rejected(oldest, Rejection("overflow", f"more than {self._rules.max_held} proposals are held"))]

    def remove(self, gone: Sequence[Held[Place]]) -> None:
        """Take out what was decided."""
        for held in gone:
            header = held.header
            self._held.pop(header.proposal_id, None)
            of_bank = self._by_bank.get(header.bank_id, {})
            of_bank.pop(header.proposal_id, None)
            if not of_bank:
                self._by_bank.pop(header.bank_id, None)

    def remove_from(self, where: Callable[[Place], bool]) -> int:
        """Take out those that came from such a place: they will be read again. How many."""
        gone = [held for held in self if where(held.place)]
        self.remove(gone)
        return len(gone)

    def blocked(self, events: EventBook[Place]) -> Sequence[Rejected[Place]]:
        """Held proposals that an event has met; they are taken out."""
        found = [Rejected(held, hit) for held in self if (hit := self._hit(held, events))]
        self.remove([item.held for item in found])
        return found

    def due(self, bank_id: str, now: float, complete_until: float) -> Sequence[Held[Place]]:
        """The proposals of a bank's round if it is to be settled now, else none.

        Args:
            bank_id: the bank.
            now: seconds.
            complete_until: until when all that was in the log has been received; an event that is still on its way
                must be able to stop a proposal, so a quarantine passes only up to this point.
        """
        held = self.of_bank(bank_id)
        if not held:
            return []
        opened_at, wait_s = held[0].received_at, self._rules.wait_s
        if self._rules.round_s == 0:
            gathered = held[:1]
        else:
            gathered = [item for item in held if item.received_at <= opened_at + self._rules.round_s]
        settles_at = opened_at + self._rules.round_s + wait_s
        seen_until = now if wait_s == 0 else min(now, complete_until)
        return gathered if seen_until >= settles_at else []

    def _hit(self, held: Held[Place], events: EventBook[Place]) -> Rejection | None:
        header = held.header
        for span in events.spans(header.camera_id, header.session_id):
            if rejection := camera_event(header, span, self._rules.guard_frames):
                return rejection
        return None
