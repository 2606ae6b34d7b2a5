"""What became of every proposal, in numbers that add up."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from memory_store.bank import Bank


@dataclass(slots=True)
class CoordinatorSnapshot:
    """The state of a coordinator at one moment, for health checks, logs and metrics; counters since it started.

    ``received == committed + rejected + returned + held`` at all times.

    Attributes:
        is_leader: whether it holds the lease of coordinators; the others wait.
        trouble: what the last attempt failed with, None if all is well.
        received: records of proposals, each time they were received.
        committed: proposals that became part of a version.
        rejected: by reason; undecodable ones under the reason of their dead letter.
        returned: given back undecided because the partition went to somebody else; they are received again.
        held: proposals waiting.
        conflicting: proposals under an id that another proposal had; each was judged by itself.
        events: records of events received.
        events_remembered: events that bear on proposals.
        dead_lettered: records sent to the dead letters, by reason.
        not_restored: records of the archive that no bank was made of, by reason.
        commits: versions written of proposals.
        late: proposals committed that came after the round of their time was settled.
        verdicts: what operators said of events, by what came of it.
        waiting_to_send: records not yet confirmed by the broker.
        versions: bank id to version.
        damaged: banks that are set aside, and what is wrong with each.
        banks: bank id to the newest version itself, as last seen; none while standing by.
    """

    is_leader: bool = False
    trouble: str | None = None
    received: int = 0
    committed: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    returned: int = 0
    held: int = 0
    conflicting: int = 0
    events: int = 0
    events_remembered: int = 0
    dead_lettered: Counter[str] = field(default_factory=Counter)
    not_restored: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    commits: int = 0
    late: int = 0
    waiting_to_send: int = 0
    damaged: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)
    banks: Mapping[str, Bank] = field(default_factory=dict)

    def copied(self) -> "CoordinatorSnapshot":
        """The same numbers, which do not move any more."""
        counters = (self.rejected, self.dead_lettered, self.not_restored, self.verdicts)
        rejected, dead_lettered, not_restored, verdicts = map(Counter, counters)
        return replace(
            self, rejected=rejected, dead_lettered=dead_lettered, not_restored=not_restored, verdicts=verdicts
        )

    def adds_up(self) -> bool:
        """Whether every proposal is accounted for."""
        return self.received == self.committed + self.rejected.total() + self.returned + self.held

    def line(self) -> str:
        """For the log."""
        role = "leading" if self.is_leader else "standing by"
        numbers = f"received {self.received}, committed {self.committed} in {self.commits} versions, held {self.held}"
        more = {
            "verdicts": self.verdicts,
            "rejected": self.rejected,
            "dead letters": self.dead_lettered,
            "not restored": self.not_restored,
        }
        told = [f"{name} {_listed(counter)}" for name, counter in more.items() if counter]
        if self.damaged:
            told.append(f"damaged banks {', '.join(sorted(self.damaged))}")
        if self.late:
            told.append(f"late {self.late}")
        if self.conflicting:
            told.append(f"conflicting ids {self.conflicting}")
        return f"{role}: {', '.join([numbers, f'returned {self.returned}', f'events {self.events}', *told])}"


def _listed(counter: Counter[str]) -> str:
    return f"{counter.total()} ({', '.join(f'{name} {count}' for name, count in sorted(counter.items()))})"
