"""What the board wants kept over a restart, as rows; ``keep`` writes them."""

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["event", "picture", "verdict", "outcome", "status", "bank", "media"]
KINDS: tuple[Kind, ...] = ("status", "bank", "event", "picture", "verdict", "outcome", "media")
"""In the order in which they are read back: a picture belongs to an event that is there."""

Name = tuple[Kind, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One thing to be kept under a kind and a key.

    Attributes:
        kind, key: its name.
        at_ms: when it was heard of, milliseconds since 1970.
        body: a message as JSON; of a picture, the JPEG.
    """

    kind: Kind
    key: str
    at_ms: int
    body: bytes

    @property
    def name(self) -> Name:
        """Kind and key."""
        return self.kind, self.key


@dataclass(slots=True)
class Ledger:
    """What has changed since it was last written: rows to put, names to drop; the last word on a name counts."""

    puts: dict[Name, Row] = field(default_factory=dict)
    drops: set[Name] = field(default_factory=set)

    def put(self, row: Row) -> None:
        """Keep ``row`` in the place of what has its name."""
        self.drops.discard(row.name)
        self.puts[row.name] = row

    def drop(self, kind: Kind, key: str) -> None:
        """Keep it no longer."""
        self.puts.pop((kind, key), None)
        self.drops.add((kind, key))

    def drain(self) -> "Ledger":
        """All of it, and begin anew."""
        drained = Ledger(self.puts, self.drops)
        self.puts, self.drops = {}, set()
        return drained

    def take_back(self, earlier: "Ledger") -> None:
        """What could not be written is to be written with the next; what came since counts more."""
        self.puts = {**{name: row for name, row in earlier.puts.items() if name not in self.drops}, **self.puts}
        self.drops |= earlier.drops - self.puts.keys()
