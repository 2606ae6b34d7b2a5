"""What a target is told: one message of an event, or several events of a quiet time together."""

import hashlib
import json
from dataclasses import dataclass
from datetime import timezone
from typing import Literal, Protocol

from consumers.notify.facts import EventFacts, told
from consumers.notify.quiet import MAX_NAMED, Withheld
from schemas.errors import BadMessageError, TransientError

SUMMARY_TYPE = "dev.engram.notification.summary.v1"


class NotTakenError(TransientError):
    """The target did not take it now; ``retry_after_s``: when it asked to be tried again, if it did."""

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RefusedError(BadMessageError):
    """The target will never take this one."""

    def __init__(self, message: str) -> None:
        super().__init__("notify_refused", message)


@dataclass(frozen=True, slots=True)
class Notification:
    """One thing to tell.

    Attributes:
        id: of letters, digits and _; the same whenever this is told again, for who must not be told twice.
        kind: ``event``; ``summary``; ``state``: not to be told, but what shows a state follows it.
        facts: of the event, of a summary its newest message.
        text: one line for people.
        body: CloudEvents JSON.
    """

    id: str
    kind: Literal["event", "summary", "state"]
    facts: EventFacts
    text: str
    body: bytes


class Target(Protocol):
    """Where notifications go. For one thread, but for ``close``."""

    shows_state: bool
    """Whether it wants ``state`` too."""

    def tell(self, notification: Notification) -> None:
        """Hand over one; durable there when it returns.

        Raises:
            NotTakenError: not now.
            RefusedError: never.
        """

    def close(self) -> None:
        """Release; wakes a ``tell`` that waits."""


def of_event(facts: EventFacts, kind: Literal["event", "state"]) -> Notification:
    """One message of an event, as it came."""
    return Notification(_key(facts.source, facts.message_id), kind, facts, told(facts), facts.body)


def of_withheld(rule: str, withheld: Withheld) -> Notification:
    """The events of a quiet time as one CloudEvent; its id is that of the first message in it."""
    first, newest = withheld.first, withheld.newest
    assert first is not None, "a summary is made of something"
    assert newest is not None, "a summary is made of something"
    num_open = sum(phase != "end" for phase in withheld.events.values())
    data = {
        "rule": rule,
        "camera_id": newest.camera_id,
        "num_events": len(withheld.events),
        "num_open": num_open,
        "peak": withheld.peak,
        "since": _iso(first),
        "event_ids": list(withheld.events)[:MAX_NAMED],
    }
    envelope = {
        "specversion": "1.0",
        "id": f"{first.message_id}:summary",
        "source": first.source,
        "type": SUMMARY_TYPE,
        "subject": f"cameras/{newest.camera_id}",
        "time": newest.last_at.astimezone(timezone.utc).isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": data,
    }
    events = "1 more event" if len(withheld.events) == 1 else f"{len(withheld.events)} more events"
    text = f"{newest.camera_id}: {events} since {_iso(first)}, {num_open} still going on (score {withheld.peak:.2f})"
    body = json.dumps(envelope, separators=(",", ":")).encode()
    return Notification(_key(first.source, f"{first.message_id}:summary"), "summary", newest, text, body)


def _key(source: str, message_id: str) -> str:
    return "evt_" + hashlib.sha256(f"{source}\n{message_id}".encode()).hexdigest()[:32]


def _iso(facts: EventFacts) -> str:
    return facts.started_at.astimezone(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
