"""The example of the documentation, as a process of its own, on a real Kafka."""

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection, KafkaOptions
from messaging.ports import OutRecord, TopicSpec
from schemas.codec import EVENT_HEADERS, encode_message
from tests.unit.consumers.samples import event

EXAMPLE = Path(__file__).parents[3] / "examples" / "consume_events.py"
DEADLINE_S = 120.0
START, UPDATE, END = event(5, 9), event(5, 15, "update", 1), event(5, 18, "end", 2)


class Following:
    """The example at work; its lines as they come."""

    def __init__(self, *arguments: str) -> None:
        self._child = subprocess.Popen(
            [sys.executable, str(EXAMPLE), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def next_line(self) -> str:
        try:
            return self._lines.get(timeout=DEADLINE_S)
        except queue.Empty:
            self.end()
            raise AssertionError("a line must come within the deadline") from None

    def end(self) -> list[str]:
        """Kill it; the lines that nobody has asked for."""
        self._child.kill()
        self._child.wait(DEADLINE_S)
        return [self._lines.get_nowait() for _ in range(self._lines.qsize())]

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self._lines.put(line.rstrip())


@pytest.fixture
def bus(kafka_bootstrap: str) -> Iterator[KafkaBus]:
    made = KafkaBus(KafkaConnection(kafka_bootstrap), KafkaOptions())
    yield made
    made.close()


@pytest.fixture
def prefix(bus: KafkaBus, fresh_name: Callable[[str], str]) -> str:
    name = f"{fresh_name('example')}."
    bus.create_topics([TopicSpec(f"{name}anomaly-events", 1)])
    return name


def put(bus: KafkaBus, prefix: str, *values: bytes) -> None:
    publisher = bus.publisher()
    for value in values:
        publisher.publish(OutRecord(f"{prefix}anomaly-events", "cam1", value, EVENT_HEADERS))
    assert publisher.flush(DEADLINE_S)
    publisher.close(DEADLINE_S)


def test_it_prints_each_event_message_once_and_goes_on_after_a_restart(
    bus: KafkaBus, prefix: str, kafka_bootstrap: str
) -> None:
    newer = json.loads(encode_message(UPDATE)) | {"traceparent": "00-1", "id": "cam1:s1:5:9"}
    newer["data"]["brightness"] = 3
    later = newer | {"id": "cam1:s1:5:10", "type": "dev.engram.anomaly.update.v2"}
    put(
        bus,
        prefix,
        encode_message(START),
        b"no JSON",
        b"[]",
        b'{"type": 1}',
        encode_message(START),
        json.dumps(later).encode(),
        json.dumps(newer).encode(),
        encode_message(UPDATE),
    )
    follower = Following(kafka_bootstrap, f"{prefix}group", prefix)
    assert [follower.next_line() for _ in range(3)] == [
        "2026-03-01T08:00:00.900000Z cam1 start None 0.97",
        "2026-03-01T08:00:01.500000Z cam1 update None 0.97",
        "2026-03-01T08:00:01.500000Z cam1 update None 0.97",
    ]
    put(bus, prefix, encode_message(END))
    assert " cam1 end " in follower.next_line()
    assert follower.end() == []
    put(bus, prefix, encode_message(event(30, 31, camera_id="cam2")))
    again = Following(kafka_bootstrap, f"{prefix}group", prefix)
    lines = [again.next_line()]
    if " cam1 end " in lines[0]:  # killed before it had committed what it printed: at least once
        lines = [again.next_line()]
    assert " cam2 start " in lines[0]
    assert again.end() == []


def test_it_needs_nothing_but_kafka_python() -> None:
    imports = [line.split()[1] for line in EXAMPLE.read_text().splitlines() if line.startswith(("import ", "from "))]
    assert imports == ["json", "sys", "kafka"]
