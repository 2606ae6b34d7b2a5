"""Rounds: proposals on one version of a bank are gathered, wait out their quarantine, and are settled together.

Pure: the clock comes as a number of seconds, decisions go out as values.

A round of a bank opens with the arrival of its oldest held proposal and gathers for ``round_s``; the youngest of those
then wait out ``quarantine_s``. What arrives in that time is held too: if the round commits its sums have become stale,
if not it is part of the next one.

Time is the clock's, or the camera's where that runs faster: of a recording that is read in a minute an hour has passed
when its frames say so.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from memory_store.coordinator.guards import EventSpan, Rejection, camera_event
from memory_store.coordinator.options import RoundRules
from memory_store.coordinator.positions import Place
from memory_store.normality import Normality
from memory_store.proposal import ItemSums
from schemas.messages import ProposalHeader

MAX_SESSIONS = 10_000
"""Of which the newest proposal is remembered; names can be made up."""


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A proposal in quarantine.

    Attributes:
        header, sums, normality: what it says.
        received_at: seconds of the coordinator's clock.
        place: where it was read, for whoever must be told what became of it.
        identity: its id and the digest of its content; who writes first under an id does not own it.
    """

    header: ProposalHeader
    sums: ItemSums
    received_at: float
    place: Place
    identity: str
    normality: Normality | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A proposal that has no effect, and why."""

    held: Held
    rejection: Rejection


@dataclass(slots=True)
class _Remembered:
    span: EventSpan
    place: Place
    touched_at: float


class EventBook:
    """The events that bear on proposals: those that are open, and those that ended a short while ago."""

    def __init__(self, rules: RoundRules) -> None:
        self._rules = rules
        self._sessions: dict[tuple[str, str], dict[int, _Remembered]] = {}
        self._by_camera: Counter[str] = Counter()

    def note(self, span: EventSpan, now: float, place: Place) -> None:
        """A message about an event; the place of its first message is kept."""
        events = self._sessions.setdefault((span.camera_id, span.session_id), {})
        known = events.get(span.first_frame)
        events[span.first_frame] = _Remembered(span, known.place if known else place, now)
        self._by_camera[span.camera_id] += known is None
        if len(self) > self._rules.max_events:
            self._forget_one()

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

    def _forget_one(self) -> None:
        """The oldest of the camera with the most: whoever floods the topic drives out its own."""
        ((camera_id, _),) = self._by_camera.most_common(1)
        _, key, first = min(
            (item.touched_at, key, first)
            for key, events in self._sessions.items()
            if key[0] == camera_id
            for first, item in events.items()
        )
        del self._sessions[key][first]
        self._by_camera[camera_id] -= 1
        if not self._sessions[key]:
            del self._sessions[key]

    def _keep(self, wanted: Callable[[_Remembered], bool]) -> None:
        for key, events in list(self._sessions.items()):
            kept = {first: item for first, item in events.items() if wanted(item)}
            self._by_camera[key[0]] -= len(events) - len(kept)
            if kept:
                self._sessions[key] = kept
            else:
                del self._sessions[key]
        self._by_camera = +self._by_camera

    def __len__(self) -> int:
        return self._by_camera.total()


class Rounds:
    """The held proposals of all banks, in order of arrival."""

    def __init__(self, rules: RoundRules) -> None:
        self._rules = rules
        self._held: dict[str, Held] = {}
        self._newest: dict[tuple[str, str], Held] = {}  # by camera and session, by the camera's time
        self._by_bank: dict[str, dict[str, Held]] = {}
        self._by_camera: dict[str, dict[str, Held]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, identity: str) -> bool:
        return identity in self._held

    def __iter__(self) -> Iterator[Held]:
        return iter(self._held.values())

    def bank_ids(self) -> Sequence[str]:
        """Banks with held proposals."""
        return list(self._by_bank)

    def of_bank(self, bank_id: str) -> Sequence[Held]:
        """Held proposals of a bank, oldest first."""
        return list(self._by_bank.get(bank_id, {}).values())

    def add(self, held: Held) -> Sequence[Rejected]:
        """Take a proposal into quarantine.

        Returns:
            what is rejected: itself if it is held already; if too many are held, one of whoever holds the most.
        """
        if held.identity in self:
            return [Rejected(held, Rejection("duplicate", f"{held.identity} is held already"))]
        self._note_newest(held)
        for index, key in self._indices(held):
            index.setdefault(key, {})[held.identity] = held
        self._held[held.identity] = held
        if len(self) <= self._rules.max_held:
            return []
        surplus = self._surplus(held)
        self.remove([surplus])
        return [Rejected(surplus, Rejection("overflow", f"more than {self._rules.max_held} proposals are held"))]

    def remove(self, gone: Sequence[Held]) -> None:
        """Take out what was decided."""
        for held in gone:
            self._held.pop(held.identity, None)
            for index, key in self._indices(held):
                of_key = index.get(key, {})
                of_key.pop(held.identity, None)
                if not of_key:
                    index.pop(key, None)

    def remove_from(self, where: Callable[[Place], bool]) -> int:
        """Take out those that came from such a place: they will be read again. How many."""
        gone = [held for held in self if where(held.place)]
        self.remove(gone)
        return len(gone)

    def blocked(self, events: EventBook) -> Sequence[Rejected]:
        """Held proposals that an event has met; they are taken out."""
        found = [Rejected(held, hit) for held in self if (hit := self._hit(held, events))]
        self.remove([item.held for item in found])
        return found

    def due(self, bank_id: str, now: float, complete_until: float, rules: RoundRules | None = None) -> Sequence[Held]:
        """The proposals of a bank's round if it is to be settled now, else none.

        Args:
            bank_id: the bank.
            now: seconds.
            complete_until: until when all that was in the log has been received; an event that is still on its way
                must be able to stop a proposal, so a quarantine passes only up to this point.
            rules: of this bank, if it has its own.
        """
        held = self.of_bank(bank_id)
        if not held:
            return []
        rules = rules or self._rules
        round_s, wait_s = rules.round_s, rules.wait_s
        seen_until = now if wait_s == 0 else min(now, complete_until)
        if seen_until >= held[0].received_at + round_s + wait_s:
            gathered = [item for item in held if item.received_at <= held[0].received_at + round_s]
        elif self._age_s(held[0], seen_until) >= round_s + wait_s:
            gathered = [item for item in held if self._age_s(item, seen_until) >= wait_s]
        else:
            return []
        return gathered[:1] if round_s == 0 else gathered

    def _age_s(self, held: Held, seen_until: float) -> float:
        """Seconds that the camera has gone on for since, as far as all that was in the log then has been received."""
        newest = self._newest.get((held.header.camera_id, held.header.session_id))
        if newest is None or newest.received_at > seen_until:
            return 0.0
        return (newest.header.captured_to - held.header.captured_to).total_seconds()

    def _note_newest(self, held: Held) -> None:
        key = held.header.camera_id, held.header.session_id
        known = self._newest.pop(key, None)
        is_newer = known is None or held.header.captured_to > known.header.captured_to
        self._newest[key] = held if is_newer or known is None else known
        while len(self._newest) > MAX_SESSIONS:
            del self._newest[next(iter(self._newest))]

    def _surplus(self, newcomer: Held) -> Held:
        """Whose turn it is to leave: the newest of the camera that holds the most, or else the newcomer.

        No camera is driven below its kept share, so a flood under ever new names finds the door shut instead.
        """
        most = max(self._by_camera.values(), key=len)
        own = self._by_camera[newcomer.header.camera_id]
        if len(own) >= len(most) or len(most) <= self._rules.kept_share:
            return newcomer
        return next(reversed(most.values()))

    def _indices(self, held: Held) -> Sequence[tuple[dict[str, dict[str, Held]], str]]:
        return (self._by_bank, held.header.bank_id), (self._by_camera, held.header.camera_id)

    def _hit(self, held: Held, events: EventBook) -> Rejection | None:
        header = held.header
        for span in events.spans(header.camera_id, header.session_id):
            if rejection := camera_event(header, span, self._rules.guard_frames):
                return rejection
        return None
