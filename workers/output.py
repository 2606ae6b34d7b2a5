"""What a worker has computed but not yet made durable: one transaction in the making, and its share of the counters."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timezone

from messaging.ports import Claim, OutRecord
from schemas.messages import LATEST

LATEST_MS = int(LATEST.timestamp() * 1000)


@dataclass(slots=True)
class Tally:
    """Counts of records by what became of them. They balance: ``received`` is the sum of all that follow.

    ``lost`` records were never received: retention deleted them. ``events`` and ``proposals`` count what was published,
    ``untaught`` those of the scored frames that the memory learned nothing from, by why.
    """

    received: int = 0
    scored: int = 0
    warming: int = 0
    session_ends: int = 0
    dead_lettered: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    proposals: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    untaught: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Tally") -> None:
        """Add another tally to this one."""
        self.received += other.received
        self.scored += other.scored
        self.warming += other.warming
        self.session_ends += other.session_ends
        self.lost += other.lost
        for mine, theirs in (
            (self.dead_lettered, other.dead_lettered),
            (self.skipped, other.skipped),
            (self.events, other.events),
            (self.proposals, other.proposals),
            (self.untaught, other.untaught),
        ):
            mine.update(theirs)

    def since(self, earlier: "Tally") -> "Tally":
        """What came on top of ``earlier``."""
        return Tally(
            self.received - earlier.received,
            self.scored - earlier.scored,
            self.warming - earlier.warming,
            self.session_ends - earlier.session_ends,
            self.dead_lettered - earlier.dead_lettered,
            self.skipped - earlier.skipped,
            self.events - earlier.events,
            self.proposals - earlier.proposals,
            self.lost - earlier.lost,
            self.untaught - earlier.untaught,
        )

    def plus(self, other: "Tally") -> "Tally":
        """A new tally of both; this one stays, so that whoever holds it sees numbers that do not move."""
        both = self.since(Tally())
        both.add(other)
        return both

    def __str__(self) -> str:
        parts = [f"{self.received} received", f"{self.scored} scored", f"{self.warming} warming"]
        parts += [f"{self.session_ends} session ends", _told("dead-lettered", self.dead_lettered)]
        parts += [_told("skipped", self.skipped), f"{self.lost} lost", _told("event messages", self.events)]
        return ", ".join([*parts, _told("proposals", self.proposals), _told("untaught", self.untaught)])

    def balances(self) -> bool:
        """Whether every record received is accounted for."""
        accounted = self.scored + self.warming + self.session_ends
        return self.received == accounted + self.dead_lettered.total() + self.skipped.total()


def _told(what: str, counts: Counter[str]) -> str:
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()) if count)
    return f"{counts.total()} {what}" + (f" ({reasons})" if reasons else "")


@dataclass(slots=True)
class Output:
    """Records of one transaction, and the cameras and claims whose state and progress go with them.

    ``tombstones`` take the states of forgotten cameras from the state topic. ``captured`` are the capture times of the
    frames scored, ``num_learning`` of them were of cameras not known well enough to be judged; ``oldest_ms`` is when
    the log took the oldest record that was handled, in milliseconds of its clock.
    """

    records: list[OutRecord] = field(default_factory=list)
    tombstones: list[OutRecord] = field(default_factory=list)
    dirty: set[tuple[Claim, str]] = field(default_factory=set)
    claims: set[Claim] = field(default_factory=set)
    tally: Tally = field(default_factory=Tally)
    captured: list[datetime] = field(default_factory=list)
    num_learning: int = 0
    oldest_ms: int | None = None

    @property
    def oldest_at(self) -> datetime | None:
        """``oldest_ms`` as a time."""
        return None if self.oldest_ms is None else datetime.fromtimestamp(self.oldest_ms / 1000, timezone.utc)

    def note_arrival(self, timestamp_ms: int) -> None:
        """A record was handled that the log took at this time; a time that cannot be one is passed over."""
        if not 0 < timestamp_ms < LATEST_MS:
            return
        self.oldest_ms = timestamp_ms if self.oldest_ms is None else min(self.oldest_ms, timestamp_ms)

    def is_empty(self) -> bool:
        """Whether there is nothing to commit, not even progress."""
        return not (self.records or self.claims)
