"""The newest state of each event, as many as there is room for: the oldest goes first."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from console.kept import Ledger, Row
from console.pictures import thumbnail_of
from schemas.codec import encode_message
from schemas.messages import AnomalyEvent

MAX_EVENT_BYTES = 256 * 1024
"""Of one message without its picture. Ours have 10 KB; larger ones are somebody else's idea."""
OVERHEAD_BYTES = 2048
"""What an event costs beside its message and its picture."""
UNKNOWN_S = 120.0
"""An open event of which nothing was heard for so long is unknown, not over (docs/events.md)."""


@dataclass(frozen=True, slots=True)
class EventCard:
    """What lists show of an event.

    Attributes:
        why: name and spreads of each evidence of the peak, largest first.
        zones: of its regions, in their order.
        wanted_per_day: false alarms a day that its threshold was made for; None = none.
        heard_at: when the log took its newest message.
    """

    event_id: str
    camera_id: str
    started_at: datetime
    last_at: datetime
    phase: str
    end_reason: str | None
    severity: str
    trouble: str | None
    peak: float
    current: float
    rarity: str
    why: tuple[tuple[str, float], ...]
    zones: tuple[str, ...]
    bank_id: str
    bank_version: int
    wanted_per_day: float | None
    sequence: str
    heard_at: datetime
    has_picture: bool

    @property
    def is_open(self) -> bool:
        """Whether no end was told."""
        return self.phase != "end"

    @property
    def lasted_s(self) -> float:
        """From its first to its last anomalous frame so far."""
        return (self.last_at - self.started_at).total_seconds()

    def is_unknown(self, now: datetime) -> bool:
        """Open, and nothing was heard of it for too long."""
        return self.is_open and (now - self.heard_at).total_seconds() > UNKNOWN_S


@dataclass(frozen=True, slots=True)
class Shelved:
    """One event: what lists show, its newest message without the picture, and the newest picture (JPEG)."""

    card: EventCard
    body: bytes
    picture: bytes | None

    @property
    def num_bytes(self) -> int:
        """What it takes."""
        return len(self.body) + len(self.picture or b"") + OVERHEAD_BYTES


class EventShelf:
    """Events by id, bounded. Not thread-safe.

    Args:
        ledger: told what is to be kept.
        max_events, max_bytes: bounds.
    """

    def __init__(self, ledger: Ledger, max_events: int, max_bytes: int) -> None:
        self._ledger = ledger
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._shelved: OrderedDict[str, Shelved] = OrderedDict()
        self._open: set[str] = set()
        self.num_bytes = 0
        self.num_dropped = 0

    def __len__(self) -> int:
        return len(self._shelved)

    def take(self, event: AnomalyEvent, heard_at: datetime) -> bool:
        """The next message of an event; whether it is news. An older one than is known changes nothing."""
        event_id = event.data.event_id
        known = self._shelved.get(event_id)
        if known is not None and event.sequence <= known.card.sequence:
            return False
        picture = thumbnail_of(event)
        bare = event.model_copy(update={"data": event.data.model_copy(update={"thumbnail": None})})
        body = encode_message(bare)
        if len(body) > MAX_EVENT_BYTES:
            return False
        at_ms = int(heard_at.timestamp() * 1000)
        if picture is not None:
            self._ledger.put(Row("picture", event_id, at_ms, picture))
        elif known is not None:
            picture = known.picture
        self._ledger.put(Row("event", event_id, at_ms, body))
        self._put(event_id, Shelved(card_of(bare, heard_at, picture is not None), body, picture))
        self._make_room()
        return True

    def put_picture(self, event_id: str, picture: bytes) -> None:
        """The picture of an event as it was kept."""
        known = self._shelved.get(event_id)
        if known is not None:
            self._put(event_id, Shelved(replace(known.card, has_picture=True), known.body, picture))

    def get(self, event_id: str) -> Shelved | None:
        """One event; None if it is not here (any more)."""
        return self._shelved.get(event_id)

    def cards(self) -> Iterator[EventCard]:
        """All, those that began last first."""
        return (shelved.card for shelved in reversed(self._shelved.values()))

    def open_cards(self) -> list[EventCard]:
        """Those without an end."""
        return [self._shelved[event_id].card for event_id in self._open]

    def _put(self, event_id: str, shelved: Shelved) -> None:
        before = self._shelved.get(event_id)
        self.num_bytes += shelved.num_bytes - (0 if before is None else before.num_bytes)
        self._shelved[event_id] = shelved
        if shelved.card.is_open:
            self._open.add(event_id)
        else:
            self._open.discard(event_id)

    def _make_room(self) -> None:
        while len(self._shelved) > self._max_events or (self.num_bytes > self._max_bytes and len(self._shelved) > 1):
            event_id, oldest = self._shelved.popitem(last=False)
            self._open.discard(event_id)
            self.num_bytes -= oldest.num_bytes
            self.num_dropped += 1
            self._ledger.drop("event", event_id)
            self._ledger.drop("picture", event_id)


def card_of(event: AnomalyEvent, heard_at: datetime, has_picture: bool) -> EventCard:
    """What lists show of an event by its newest message."""
    data = event.data
    why = sorted(((each.name, each.spreads) for each in data.peak.evidence), key=lambda pair: -pair[1])
    zones = dict.fromkeys(zone for region in data.regions for zone in region.zones)
    return EventCard(
        event_id=data.event_id,
        camera_id=data.camera_id,
        started_at=data.started_at,
        last_at=data.last_at,
        phase=data.phase,
        end_reason=data.end_reason,
        severity=data.severity or "info",
        trouble=data.trouble,
        peak=data.peak.anomaly_score,
        current=data.current_score,
        rarity="" if data.peak.rarity is None else data.peak.rarity.words,
        why=tuple(why),
        zones=tuple(zones),
        bank_id=data.provenance.bank_id,
        bank_version=data.provenance.bank_version,
        wanted_per_day=data.threshold.target_false_alarms_per_day,
        sequence=event.sequence,
        heard_at=heard_at,
        has_picture=has_picture,
    )
