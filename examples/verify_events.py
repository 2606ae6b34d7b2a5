"""A verifier: looks at each event once more, and adds what it found.

Run it with ``python examples/verify_events.py``. It reads ``anomaly-events`` as a consumer group and writes each
message again into ``verified-events``, unchanged but for three CloudEvents extension attributes: ``verdict``
(confirmed, rejected, unsure), ``verdictby``, ``verdictreason``. The message and the group's position are one Kafka
transaction, so each is verified exactly once, whatever happens.

Whoever wants verified events alone reads the other topic: engram notify RULES.toml --topic verified-events, engram
archive run --topic verified-events. The first topic stays as it is: a verifier that is slow or wrong hides no alarm.

``judge`` is where a second model goes, for example one that is asked about the picture. This one knows a single thing:
what changes most of the picture at once is light, not somebody.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engram.build.adapters import open_bus
from engram.run.process import connected, stop_on_signals
from messaging.ports import Bus, Claim, OutRecord, Progress, Record, TopicSpec
from schemas.codec import EVENT_HEADERS
from schemas.errors import TransientError
from schemas.settings import ConsumerSettings, load_settings
from schemas.topics import TopicNames

WHOLE_PICTURE = 0.6
"""Share of the picture above which a change is not of something in it."""


@dataclass(frozen=True)
class Verdict:
    """``verdict`` is confirmed, rejected or unsure."""

    verdict: str
    reason: str


def judge(event: dict[str, Any]) -> Verdict:
    """What to think of an event, by its regions; boxes are x, y, width, height in fractions of the picture."""
    boxes = [region["box"] for region in event["data"].get("regions", ())]
    if not boxes:
        return Verdict("unsure", "the event names no region")
    share = max(width * height for _, _, width, height in boxes)
    if share > WHOLE_PICTURE:
        return Verdict("rejected", f"{share:.0%} of the picture changed at once")
    return Verdict("confirmed", f"a region of {share:.0%} of the picture")


def verified(record: Record, topic: str, judge: Callable[[dict[str, Any]], Verdict]) -> OutRecord:
    """The message of ``record`` with a verdict. What is no event goes on as it is: its readers will say so."""
    value = record.value
    try:
        event = json.loads(value or b"")
        found = judge(event)
        event |= {"verdict": found.verdict, "verdictby": "verify_events.py", "verdictreason": found.reason}
        value = json.dumps(event, separators=(",", ":")).encode()
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    return OutRecord(topic, (record.key or b"unknown").decode(errors="replace"), value, EVENT_HEADERS)


def verify(bus: Bus, prefix: str, stop: threading.Event, judge: Callable[[dict[str, Any]], Verdict] = judge) -> None:
    """Verify events until ``stop`` is set."""
    events = TopicNames.with_prefix(prefix).anomaly_events
    topic = f"{prefix}verified-events"
    bus.create_topics([TopicSpec(topic, bus.existing_topics()[events])])  # as many: a camera's order stays
    subscription = bus.subscription([events], f"{prefix}verifier")
    outbox = bus.outbox(subscription, "verifier")
    try:
        while not stop.is_set():
            deliveries = subscription.receive(100, 0.5).deliveries
            ends: dict[Claim, int] = {one.claim: one.record.offset + 1 for one in deliveries}
            try:
                if ends:
                    records = [verified(one.record, topic, judge) for one in deliveries]
                    outbox.commit(records, [Progress(claim, end, end) for claim, end in ends.items()])
            except TransientError as error:  # another member took over, or the broker is away: nothing was written
                print(f"starting over from the last commit: {error}")
                stop.wait(1.0)
                subscription.rewind()
    finally:
        outbox.close()
        subscription.close()


def main() -> None:
    """Verify until a signal; settings come from the environment, as for every other part."""
    kafka = load_settings(ConsumerSettings, None, {}).kafka
    with open_bus(kafka) as bus, stop_on_signals() as stop:
        if connected(bus.existing_topics, stop) is not None:
            verify(bus, kafka.topic_prefix, stop)


if __name__ == "__main__":
    main()
