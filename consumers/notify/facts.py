"""What rules and messages to people need of an event; what an older or newer event lacks is simply not known."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from messaging.ports import Record
from schemas.messages import AnomalyEvent

UTC = timezone.utc


@dataclass(frozen=True, slots=True)
class EventFacts:
    """One message of an event.

    Attributes:
        message_id: of this message, the same whenever it comes again.
        peak: anomaly score, [0, 1].
        severity: None = the event says none.
        zones: that it names; empty = none.
        rarity: how unusual it is, in words; empty = not said.
        body: the message as it came, JSON.
        traceparent, tracestate: of the frame that it began with; None = it has none.
    """

    source: str
    message_id: str
    event_id: str
    camera_id: str
    phase: str
    started_at: datetime
    last_at: datetime
    end_reason: str | None
    peak: float
    severity: str | None
    zones: tuple[str, ...]
    rarity: str
    body: bytes
    traceparent: str | None = None
    tracestate: str | None = None


def facts_of(event: AnomalyEvent, record: Record) -> EventFacts:
    """The facts of ``event``, which came in ``record``."""
    body = record.value or b""
    raw = _table(json.loads(body).get("data"))
    data = event.data
    severity = raw.get("severity")
    return EventFacts(
        source=event.source,
        message_id=event.id,
        event_id=data.event_id,
        camera_id=data.camera_id,
        phase=data.phase,
        started_at=data.started_at,
        last_at=data.last_at,
        end_reason=data.end_reason,
        peak=data.peak.anomaly_score,
        severity=severity if isinstance(severity, str) else None,
        zones=_zones(raw),
        rarity=str(_table(_table(raw.get("peak")).get("rarity")).get("words") or "")[:200],
        body=body,
        traceparent=event.traceparent,
        tracestate=event.tracestate,
    )


def told(facts: EventFacts) -> str:
    """One line for people."""
    lasted = (facts.last_at - facts.started_at).total_seconds()
    at = f"{facts.started_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    text = {
        "start": f"{facts.camera_id}: something unusual since {at}",
        "update": f"{facts.camera_id}: something unusual goes on since {at}",
        "end": f"{facts.camera_id}: over after {lasted:.0f} s, it began {at}",
    }.get(facts.phase, f"{facts.camera_id}: {facts.phase}, {at}")
    more = [f"score {facts.peak:.2f}", facts.severity or "", facts.rarity]
    return f"{text} ({', '.join(part for part in more if part)})"


def _zones(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """``zone`` or ``zones`` of the event, and those of its regions."""
    found: list[Any] = [raw.get("zone"), *_list(raw.get("zones"))]
    found += [_table(region).get("zone") for region in _list(raw.get("regions"))]
    return tuple(dict.fromkeys(zone for zone in found if isinstance(zone, str) and zone))


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
