"""What a worker has computed but not yet made durable: one transaction in the making, and its share of the counters."""

from collections import Counter
from dataclasses import dataclass, field

from messaging.ports import Claim, OutRecord


@dataclass(slots=True)
class Tally:
    """Counts of records by what became of them. They balance: ``received`` is the sum of all that follow."""

    received: int = 0
    scored: int = 0
    warming: int = 0
    session_ends: int = 0
    dead_lettered: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    proposals: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Tally") -> None:
        """Add another tally to this one."""
        self.received += other.received
        self.scored += other.scored
        self.warming += other.warming
        self.session_ends += other.session_ends
        for mine, theirs in (
            (self.dead_lettered, other.dead_lettered),
            (self.skipped, other.skipped),
            (self.events, other.events),
            (self.proposals, other.proposals),
        ):
            mine.update(theirs)

    def balances(self) -> bool:
        """Whether every record received is accounted for."""
        accounted = self.scored + self.warming + self.session_ends
        return self.received == accounted + self.dead_lettered.total() + self.skipped.total()


@dataclass(slots=True)
class Output:
    """Records of one transaction, and the cameras and claims whose state and progress go with them."""

    records: list[OutRecord] = field(default_factory=list)
    dirty: set[tuple[Claim, str]] = field(default_factory=set)
    claims: set[Claim] = field(default_factory=set)
    tally: Tally = field(default_factory=Tally)

    def is_empty(self) -> bool:
        """Whether there is nothing to commit, not even progress."""
        return not (self.records or self.claims)
