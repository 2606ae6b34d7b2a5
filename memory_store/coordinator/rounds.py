"""Rounds: what cameras saw in one stretch of time is gathered, waits out its quarantine, and is settled together.

Pure: the clock comes as a number of seconds, decisions go out as values.

A round of a bank is a stretch of **capture time**: of ``round_s``, begun at a whole multiple of it since 1970. It is
settled when every camera of the bank has gone on for ``quarantine_s`` since its end, for until then an event can open
that speaks against it. So what is settled with what follows from the recording, however fast it is read, in whatever
portions, in whatever order its cameras come. What is found after its round was settled joins the next one.

The clock of the coordinator has a say only where cameras do not go on: a round is waited for ``patience_s`` longer than
it would take, and a camera that was silent for so long is not waited for (``RoundRules.longest_s``).

A camera's time never runs back (``CameraClocks``): what comes out of order is dated like what came before it. If its
clock was set back by more than a round, its rounds begin anew there.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from memory_store.coordinator.event_book import EventBook
from memory_store.coordinator.guards import Rejection, camera_event
from memory_store.coordinator.options import RoundRules
from memory_store.coordinator.positions import Place
from memory_store.normality import Normality
from memory_store.proposal import ItemSums
from schemas.messages import ProposalHeader

MAX_CAMERAS = 10_000
"""Names can be made up; those not heard of for longest are forgotten, and then not waited for."""


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A proposal in quarantine.

    Attributes:
        header, sums, normality: what it says.
        received_at: seconds of the coordinator's clock.
        place: where it was read, for whoever must be told what became of it.
        identity: its id and the digest of its content; who writes first under an id does not own it.
        at_s: capture time of its newest frame as rounds count it, seconds since 1970, see ``CameraClocks``.
        traceparent: of its record.
    """

    header: ProposalHeader
    sums: ItemSums
    received_at: float
    place: Place
    identity: str
    normality: Normality | None = None
    at_s: float = math.nan
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """What is to be settled together.

    Attributes:
        end_s: capture time that it ends with; what is found of earlier later on is late.
        held: proposals; none where the time has not come.
        num_late: of which so many are of a round that was settled before.
    """

    end_s: float
    held: Sequence[Held] = ()
    num_late: int = 0


@dataclass(frozen=True, slots=True)
class Rejected:
    """A proposal that has no effect, and why."""

    held: Held
    rejection: Rejection


class Rounds:
    """The held proposals of all banks, in order of arrival."""

    def __init__(self, rules: RoundRules) -> None:
        self._rules = rules
        self._held: dict[str, Held] = {}
        self._by_bank: dict[str, dict[str, Held]] = {}
        self._by_camera: dict[str, dict[str, Held]] = {}
        self._clocks = CameraClocks(rules.round_s)
        self._settled_s: dict[str, float] = {}

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
        held = self._dated(held)
        self._put(held)
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
        """Take out those that came from such a place: they will be read again, and dated anew. How many."""
        gone = [held for held in self if where(held.place)]
        self.remove(gone)
        self._clocks = CameraClocks(self._rules.round_s)
        return len(gone)

    def blocked(self, events: EventBook) -> Sequence[Rejected]:
        """Held proposals that an event has met; they are taken out."""
        found = [Rejected(held, hit) for held in self if (hit := self._hit(held, events))]
        self.remove([item.held for item in found])
        return found

    def heard_of(self, camera_id: str, captured_s: float, now: float) -> None:
        """A camera has gone on at least to this capture time, by what its events say."""
        self._clocks.heard(camera_id, captured_s, now)

    def begin_reading(self) -> None:
        """What comes from here on is read later than what came before."""
        self._clocks.begin_reading()

    def all_is_read(self) -> None:
        """All that was in the log when ``begin_reading`` was called has been read, events too."""
        self._clocks.all_is_read()

    def resume(self, bank_id: str, settled_s: float, cameras: Sequence[str], now: float) -> None:
        """What an earlier coordinator has settled of a bank, and which cameras went on for so long with it."""
        self._settled_s.setdefault(bank_id, settled_s)
        if self._rules.patience_s is not None:
            for camera_id in cameras:
                self._clocks.resume(bank_id, camera_id, settled_s, now)

    def settled(self, bank_id: str, round_: Round) -> None:
        """A round was decided; what is found of its time from here on is late."""
        self._settled_s[bank_id] = max(self._settled_s.get(bank_id, -math.inf), round_.end_s)

    def due(
        self,
        bank_id: str,
        now: float,
        complete_until: float,
        rules: RoundRules | None = None,
        is_ending: bool = False,
    ) -> Round:
        """The oldest round of a bank, with its proposals if it is to be settled now.

        Args:
            bank_id: the bank.
            now: seconds.
            complete_until: until when all that was in the log has been received; an event that is still on its way
                must be able to stop a proposal, so by the clock a quarantine passes only up to this point.
            rules: of this bank, if it has its own.
            is_ending: all that can come has come, so that no quarantine is needed.
        """
        rules, held = rules or self._rules, self.of_bank(bank_id)
        if not held:
            return Round(-math.inf)
        seen_until = now if rules.wait_s == 0 else min(now, complete_until)
        if rules.round_s == 0:
            return self._due_alone(held[0], seen_until, rules, is_ending)
        settled_s = self._settled_s.get(bank_id, -math.inf)
        begin_s = max(min(item.at_s for item in held), settled_s)
        end_s = (math.floor(begin_s / rules.round_s) + 1) * rules.round_s
        gathered: Sequence[Held] = [item for item in held if item.at_s < end_s]
        if not is_ending:
            is_past = self._clocks.all_past(
                bank_id, end_s + rules.wait_s, settled_s, now - rules.longest_s, rules.wait_s > 0
            )
            gathered = self._by_camera_time(gathered, rules) if is_past else self._overdue(gathered, seen_until, rules)
        return Round(end_s, gathered, sum(item.at_s < settled_s for item in gathered))

    def _by_camera_time(self, gathered: Sequence[Held], rules: RoundRules) -> Sequence[Held]:
        """Of a round whose cameras have gone on: what was not found so late that its own has not, since."""
        wait_s, is_past = rules.wait_s, self._clocks.is_past
        return [item for item in gathered if is_past(item.header.camera_id, item.at_s + wait_s, wait_s > 0)]

    def _overdue(self, gathered: Sequence[Held], seen_until: float, rules: RoundRules) -> Sequence[Held]:
        """Of a round whose cameras do not go on: what has waited for long enough by the clock."""
        if not gathered or seen_until < min(item.received_at for item in gathered) + rules.longest_s:
            return ()
        return [item for item in gathered if item.received_at + rules.wait_s <= seen_until]

    def _due_alone(self, held: Held, seen_until: float, rules: RoundRules, is_ending: bool) -> Round:
        """A proposal that is a round by itself."""
        is_due = (
            is_ending
            or rules.wait_s == 0
            or self._clocks.is_past(held.header.camera_id, held.at_s + rules.wait_s, is_read=True)
            or seen_until >= held.received_at + rules.longest_s
        )
        return Round(held.at_s, [held] if is_due else ())

    def _dated(self, held: Held) -> Held:
        """With its time; if a clock was set back, what was held of that camera is as old as what comes now."""
        header = held.header
        dated = self._clocks.date(header.camera_id, header.captured_to.timestamp(), held.received_at)
        self._clocks.join(header.bank_id, header.camera_id)
        if dated.was_set_back:
            for item in list(self._by_camera.get(header.camera_id, {}).values()):
                self._put(replace(item, at_s=min(item.at_s, dated.at_s)))
            since = held.received_at - self._rules.longest_s
            begin_s = self._clocks.farthest(header.bank_id, since)
            self._settled_s[header.bank_id] = min(self._settled_s.get(header.bank_id, -math.inf), begin_s)
        return replace(held, at_s=dated.at_s)

    def _put(self, held: Held) -> None:
        for index, key in self._indices(held):
            index.setdefault(key, {})[held.identity] = held
        self._held[held.identity] = held

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


@dataclass(frozen=True, slots=True)
class Dated:
    """When something was captured, as rounds count it, seconds since 1970."""

    at_s: float
    was_set_back: bool


@dataclass(slots=True)
class _Clock:
    newest_s: float = -math.inf
    passed_s: float = -math.inf
    heard_at: float = -math.inf


@dataclass(frozen=True, slots=True)
class _Word:
    """What a camera let hear of itself; ``sets`` its time, or only says that it is not earlier."""

    camera_id: str
    at_s: float
    sets: bool = False


class CameraClocks:
    """How far each camera has come, by what was read of it, and which banks it teaches.

    Two readings of it: how far its proposals go, and how far it has certainly come, with all that it published until
    then read, events too. What is read at once comes from several partitions, so that the second is behind the first by
    a look into the log.

    Args:
        slack_s: a camera that falls back by no more is only out of order.
    """

    def __init__(self, slack_s: float) -> None:
        self._slack_s = slack_s
        self._clocks: dict[str, _Clock] = {}
        self._banks: dict[str, set[str]] = {}
        self._read: list[_Word] = []
        self._reading: list[_Word] = []

    def date(self, camera_id: str, captured_s: float, now: float) -> Dated:
        """The time of a camera's next proposal: never before that of the one before, unless its clock was set back."""
        clock = self._clock(camera_id, now)
        was_set_back = captured_s < clock.newest_s - self._slack_s
        clock.newest_s = captured_s if was_set_back else max(clock.newest_s, captured_s)
        self._reading.append(_Word(camera_id, clock.newest_s, was_set_back))
        return Dated(clock.newest_s, was_set_back)

    def heard(self, camera_id: str, captured_s: float, now: float) -> None:
        """Something else that a camera has published."""
        self._clock(camera_id, now)
        self._reading.append(_Word(camera_id, captured_s))

    def begin_reading(self) -> None:
        """What comes from here on is read later than what came before."""
        self._read += self._reading
        self._reading = []

    def all_is_read(self) -> None:
        """All has been read that was published before what was read until ``begin_reading``."""
        for word in self._read:
            clock = self._clocks.get(word.camera_id)
            if clock is not None:
                clock.passed_s = word.at_s if word.sets else max(clock.passed_s, word.at_s)
        self._read = []

    def join(self, bank_id: str, camera_id: str) -> None:
        """A camera teaches a bank."""
        self._banks.setdefault(bank_id, set()).add(camera_id)

    def resume(self, bank_id: str, camera_id: str, at_s: float, now: float) -> None:
        """A camera taught a bank before we came, and had come so far then."""
        self.join(bank_id, camera_id)
        if camera_id not in self._clocks:
            clock = self._clock(camera_id, now)
            clock.newest_s = clock.passed_s = at_s

    def is_past(self, camera_id: str, at_s: float, is_read: bool) -> bool:
        """Whether a camera has come so far; ``is_read``: with all that it published until then."""
        clock = self._clocks.get(camera_id)
        return clock is not None and (clock.passed_s if is_read else clock.newest_s) >= at_s

    def all_past(self, bank_id: str, at_s: float, settled_s: float, since: float, is_read: bool) -> bool:
        """Whether all cameras of a bank that were heard of ``since`` then have come so far; False if none was.

        Whoever is behind what is settled already is late whatever we do, and is not waited for.
        """
        awaited = [one for one in self._alive(bank_id, since) if self._clocks[one].newest_s >= settled_s]
        return bool(awaited) and all(self.is_past(camera_id, at_s, is_read) for camera_id in awaited)

    def farthest(self, bank_id: str, since: float) -> float:
        """Time of the camera of a bank that is ahead of all others heard of ``since`` then."""
        return max((self._clocks[camera_id].newest_s for camera_id in self._alive(bank_id, since)), default=-math.inf)

    def _alive(self, bank_id: str, since: float) -> Iterable[str]:
        """Those heard of ``since`` then; the others are left out for good."""
        known = self._banks.get(bank_id, set())
        alive = {camera_id for camera_id in known if self._heard_at(camera_id) >= since}
        self._banks[bank_id] = alive
        return alive

    def _heard_at(self, camera_id: str) -> float:
        clock = self._clocks.get(camera_id)
        return -math.inf if clock is None else clock.heard_at

    def _clock(self, camera_id: str, now: float) -> _Clock:
        clock = self._clocks.pop(camera_id, None) or _Clock()
        clock.heard_at = now
        self._clocks[camera_id] = clock
        if len(self._clocks) > MAX_CAMERAS:
            del self._clocks[next(iter(self._clocks))]
        return clock
