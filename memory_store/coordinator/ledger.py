"""What became of every proposal, in numbers that add up."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Ledger:
    """Counters since the start of the process. ``received == committed + rejected + returned + held`` at all times.

    Attributes:
        received: records of proposals, each time they were received.
        committed: proposals that became part of a version.
        rejected: by reason; undecodable ones under the reason of their dead letter.
        returned: given back undecided because the partition went to somebody else; they are received again.
        events: records of events received.
        dead_lettered: records sent to the dead letters, by reason.
        commits: versions written.
    """

    received: int = 0
    committed: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    returned: int = 0
    events: int = 0
    dead_lettered: Counter[str] = field(default_factory=Counter)
    commits: int = 0


@dataclass(frozen=True, slots=True)
class CoordinatorSnapshot:
    """The state of a coordinator at one moment, for health checks and metrics; see ``Ledger`` for the counters.

    Attributes:
        is_leader: whether it holds the lease of coordinators; the others wait.
        trouble: what the last attempt failed with, None if all is well.
        held: proposals waiting.
        events_remembered: events that bear on proposals.
        waiting_to_send: records not yet confirmed by the broker.
        versions: bank id to version.
    """

    is_leader: bool = False
    trouble: str | None = None
    received: int = 0
    committed: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    returned: int = 0
    held: int = 0
    events: int = 0
    dead_lettered: Mapping[str, int] = field(default_factory=dict)
    commits: int = 0
    events_remembered: int = 0
    waiting_to_send: int = 0
    versions: Mapping[str, int] = field(default_factory=dict)

    def adds_up(self) -> bool:
        """Whether every proposal is accounted for."""
        return self.received == self.committed + sum(self.rejected.values()) + self.returned + self.held
