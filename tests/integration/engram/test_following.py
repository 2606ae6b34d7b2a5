"""``engram events --group`` as a process that is killed: nothing is missed, and what comes twice can be told."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.wait import wait_until
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection
from messaging.ports import OutRecord, TopicSpec
from schemas.codec import encode_message
from tests.unit.consumers.samples import event

ROOT = Path(__file__).parents[3]
DEADLINE_S = 120
Follow = Callable[[Path], "subprocess.Popen[bytes]"]


@pytest.fixture
def topic(settings: dict[str, str]) -> str:
    return settings["ENGRAM_KAFKA__TOPIC_PREFIX"] + "anomaly-events"


@pytest.fixture
def bus(kafka_bootstrap: str, topic: str) -> Iterator[KafkaBus]:
    made = KafkaBus(KafkaConnection(kafka_bootstrap))
    made.create_topics([TopicSpec(topic, 2)])
    yield made
    made.close()


@pytest.fixture
def follow(settings: dict[str, str], fresh_name: Callable[[str], str]) -> Iterator[Follow]:
    children: list[subprocess.Popen[bytes]] = []
    group = fresh_name("group")

    def begin(out: Path) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "engram", "events", "--group", group, "--from-beginning", "-o", "json"]
        with out.open("wb") as stdout:
            child = subprocess.Popen(command, env={**os.environ, **settings}, cwd=ROOT, stdout=stdout)
        children.append(child)
        return child

    yield begin
    for child in children:
        if child.poll() is None:
            child.kill()
        child.wait(30)


def ids(out: Path) -> list[str]:
    """Of the whole lines; the last one may be cut off."""
    return [json.loads(line)["id"] for line in out.read_text().split("\n")[:-1]]


def test_a_follower_that_is_killed_misses_nothing(bus: KafkaBus, topic: str, follow: Follow, tmp_path: Path) -> None:
    publisher = bus.publisher()

    def tell(numbers: range) -> None:
        for number in numbers:
            publisher.publish(OutRecord(topic, f"cam{number % 3}", encode_message(event(number, number))))
        assert publisher.flush(30)

    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    child = follow(first)
    tell(range(40))
    assert wait_until(lambda: len(ids(first)) > 0, DEADLINE_S)
    child.kill()
    tell(range(40, 60))
    child = follow(second)
    assert wait_until(lambda: set(ids(first)) | set(ids(second)) >= {event(n, n).id for n in range(60)}, DEADLINE_S)
    child.send_signal(signal.SIGTERM)
    assert child.wait(DEADLINE_S) == 0
    assert max(Counter(ids(second)).values()) == 1
    tell(range(60, 65))
    follow(third)
    assert wait_until(lambda: len(ids(third)) >= 5, DEADLINE_S)
    assert set(ids(third)) == {event(number, number).id for number in range(60, 65)}
