"""How far the coordinator has come in each partition, as it may be made durable."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from messaging.ports import Assigned, Claim, Progress


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record was read: what a proposal or an event carries along, so that positions can wait for it."""

    claim: Claim
    offset: int


class Positions:
    """The next offset of each claim.

    A proposal counts as handled when it was decided, so a claim's durable position stays at its oldest held one. Events
    are handled at once, but whoever takes over must know those that still bear on proposals: they are read again.
    """

    def __init__(self) -> None:
        self._next: dict[Claim, int] = {}
        self._made_durable: dict[Claim, Progress] = {}

    @property
    def claims(self) -> Iterable[Claim]:
        """The claims held."""
        return self._next.keys()

    def begin(self, assigned: Assigned) -> None:
        """A claim starts."""
        self._next[assigned.claim] = assigned.committed_offset

    def end(self, claim: Claim) -> None:
        """A claim has ended."""
        self._next.pop(claim, None)
        self._made_durable.pop(claim, None)

    def passed(self, place: Place) -> None:
        """A record was received. One that is read again does not move the position back."""
        if place.claim in self._next:
            self._next[place.claim] = max(self._next[place.claim], place.offset + 1)

    def covers(self, partitions: Mapping[str, int]) -> bool:
        """Whether every partition of these topics is held."""
        held = {(claim.topic, claim.partition) for claim in self._next}
        return all((topic, index) in held for topic, count in partitions.items() for index in range(count))

    def open_progress(self, undecided: Iterable[Place], remembered: Iterable[Place]) -> list[Progress]:
        """What is to be made durable now: claims whose position has changed since ``durable``."""
        next_offsets = _lowered(self._next, undecided)
        replay_from = _lowered(next_offsets, remembered)
        progress = [Progress(claim, next_offsets[claim], replay_from[claim]) for claim in self._next]
        return [item for item in progress if self._made_durable.get(item.claim) != item]

    def durable(self, progress: Iterable[Progress]) -> None:
        """These positions were committed."""
        self._made_durable.update({item.claim: item for item in progress if item.claim in self._next})


def _lowered(offsets: Mapping[Claim, int], places: Iterable[Place]) -> dict[Claim, int]:
    lowered = dict(offsets)
    for place in places:
        if place.claim in lowered:
            lowered[place.claim] = min(lowered[place.claim], place.offset)
    return lowered
