"""The verifier of the examples, as a process over a real Kafka: each event once, with a verdict."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deploy.local.wait import wait_until
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection
from messaging.ports import OutRecord, Record, TopicSpec
from schemas.codec import encode_message
from tests.unit.consumers.samples import event

ROOT = Path(__file__).parents[3]
DEADLINE_S = 120
NUM_EVENTS = 60


@pytest.fixture
def bus(kafka_bootstrap: str) -> Iterator[KafkaBus]:
    made = KafkaBus(KafkaConnection(kafka_bootstrap))
    yield made
    made.close()


@contextmanager
def verifier(kafka_bootstrap: str, prefix: str) -> Iterator["subprocess.Popen[bytes]"]:
    settings = {"ENGRAM_KAFKA__BOOTSTRAP_SERVERS": kafka_bootstrap, "ENGRAM_KAFKA__TOPIC_PREFIX": prefix}
    environment = {**os.environ, **settings, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen([sys.executable, str(ROOT / "examples" / "verify_events.py")], env=environment)
    try:
        yield child
    finally:
        child.kill()
        child.wait(30)


def test_each_event_gets_one_verdict_whatever_kills_the_verifier(
    bus: KafkaBus, kafka_bootstrap: str, fresh_name: Callable[[str], str]
) -> None:
    prefix = f"{fresh_name('p')}."
    events, topic = f"{prefix}anomaly-events", f"{prefix}verified-events"
    bus.create_topics([TopicSpec(events, 2)])
    publisher = bus.publisher()

    def tell(first: int) -> None:
        for number in range(first, first + NUM_EVENTS // 2):
            publisher.publish(OutRecord(events, f"cam{number % 3}", encode_message(event(number, number))))
        publisher.publish(OutRecord(events, "stray", b"no json"))
        assert publisher.flush(30)

    def found() -> list[Record]:
        if topic not in bus.existing_topics():
            return []
        reader = bus.reader([topic], from_beginning=True)
        records = list(reader.read_to_end(30))
        reader.close()
        return records

    tell(0)
    with verifier(kafka_bootstrap, prefix):
        assert wait_until(lambda: len(found()) > 0, DEADLINE_S)
    tell(NUM_EVENTS // 2)
    with verifier(kafka_bootstrap, prefix):
        assert wait_until(lambda: len(found()) >= NUM_EVENTS + 2, DEADLINE_S)
    records = found()
    whole = [json.loads(record.value or b"") for record in records if record.value != b"no json"]
    assert len(records) == NUM_EVENTS + 2
    assert sorted(one["id"] for one in whole) == sorted(event(n, n).id for n in range(NUM_EVENTS))
    assert {one["verdict"] for one in whole} == {"confirmed"}
    for one in whole:
        original: dict[str, Any] = json.loads(
            encode_message(event(one["data"]["frames"]["first"], one["data"]["frames"]["last"]))
        )
        added = {
            "verdict": "confirmed",
            "verdictby": "verify_events.py",
            "verdictreason": "a region of 25% of the picture",
        }
        assert one == original | added
    for key in (b"cam0", b"cam1", b"cam2"):
        order = [json.loads(one.value or b"")["data"]["frames"]["first"] for one in records if one.key == key]
        assert order == sorted(order), "a camera's events stay in order"
