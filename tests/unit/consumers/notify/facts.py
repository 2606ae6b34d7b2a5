"""Facts and rules to start from."""

from typing import Any

from consumers.notify.facts import EventFacts, facts_of
from consumers.notify.rules import Rule
from messaging.ports import Record
from schemas.codec import encode_message
from schemas.messages import AnomalyEvent, EventPhase
from tests.unit.consumers.samples import event


def record_of(message: AnomalyEvent, offset: int = 0, timestamp_ms: int = 0, body: bytes | None = None) -> Record:
    value = encode_message(message) if body is None else body
    return Record("events", 0, offset, message.partitionkey.encode(), value, (), timestamp_ms)


def facts(
    first: int = 5, last: int = 5, phase: EventPhase = "start", number: int = 0, camera: str = "gate"
) -> EventFacts:
    message = event(first, last, phase, number, camera)
    return facts_of(message, record_of(message))


def rule(**changes: Any) -> Rule:
    return Rule.model_validate({"name": "all", "to": ["guard"], **changes})
