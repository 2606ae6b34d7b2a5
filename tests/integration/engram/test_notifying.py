"""``engram notify`` as a process over a real Kafka: webhook and MQTT at once, rules read again, broken ones refused."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deploy.local.ports import free_port
from deploy.local.wait import wait_until
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection
from messaging.ports import OutRecord, TopicSpec
from schemas.codec import encode_message
from schemas.messages import AnomalyEvent
from tests.http_receiver import Receiver, receiver
from tests.integration.consumers.test_mqtt import house
from tests.mosquitto import LocalMosquitto
from tests.unit.consumers.samples import event

ROOT = Path(__file__).parents[3]
DEADLINE_S = 120
START = event(5, 5, camera_id="gate")
RULES = """
[webhooks.guard]
url = "{url}"
secret = "env:GUARD_SECRET"
[mqtt.home]
host = "127.0.0.1"
port = {port}
[[rules]]
name = "the guard"
to = ["guard"]
cameras = ["{camera}"]
[[rules]]
name = "the house"
to = ["home"]
"""


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture
def bus(kafka_bootstrap: str) -> Iterator[KafkaBus]:
    made = KafkaBus(KafkaConnection(kafka_bootstrap))
    yield made
    made.close()


class Notifier:
    """The process and what it says."""

    def __init__(self, rules: Path, settings: dict[str, str], log: Path) -> None:
        self._log = log
        self.port = free_port()
        command = [sys.executable, "-m", "engram", "notify", str(rules), "--http", str(self.port)]
        environment = {**os.environ, **settings, "GUARD_SECRET": "abc"}
        with log.open("wb") as stderr:
            self.child = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=stderr)

    def page(self, path: str) -> str:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=DEADLINE_S).text

    def until_said(self, text: str) -> None:
        assert wait_until(lambda: text in self._log.read_text(), DEADLINE_S), self._log.read_text()


def test_a_house_and_a_guard_are_told_and_rules_are_read_again(
    bus: KafkaBus, settings: dict[str, str], there: Receiver, own_mosquitto: LocalMosquitto, tmp_path: Path
) -> None:
    prefix, rules = settings["ENGRAM_KAFKA__TOPIC_PREFIX"], tmp_path / "rules.toml"
    bus.create_topics([TopicSpec(f"{prefix}anomaly-events", 2), TopicSpec(f"{prefix}dead-letters", 1)])

    def tell(message: AnomalyEvent) -> None:
        publisher = bus.publisher()
        publisher.publish(OutRecord(f"{prefix}anomaly-events", message.partitionkey, encode_message(message)))
        publisher.close(30)

    tell(event(1, 1, camera_id="gate"))
    rules.write_text(RULES.format(url=there.url, port=own_mosquitto.port, camera="gate"))
    notifier = Notifier(rules, settings, tmp_path / "notify.log")
    try:
        with house(own_mosquitto) as at_home:
            at_home.until(lambda newest: newest.get("engram/status") == "online")
            # Each target begins with what comes once its group is settled.
            sent = 0
            while not there.requests or "engram/gate/state" not in at_home.newest():
                sent += 1
                assert sent < DEADLINE_S
                tell(event(1000 + sent, 1000 + sent, camera_id="gate"))
                wait_until(lambda: bool(there.requests) and "engram/gate/state" in at_home.newest(), 1.0)
            assert all(json.loads(one.body)["data"]["frames"]["first"] > 1 for one in there.requests)
            tell(START)
            # Each group has a member, and all that was told is counted.
            assert wait_until(lambda: notifier.page("/readyz") == "ok\n", DEADLINE_S), notifier.page("/readyz")
            shown = f'engram_consumer_messages_total{{group="{prefix}engram-notify-guard",outcome="told"}} '
            assert wait_until(lambda: f"{shown}{len(there.requests)}.0" in notifier.page("/metrics"), DEADLINE_S)

            rules.write_text(RULES.format(url=there.url, port=own_mosquitto.port, camera="gate") + "[[rules]]\nx = 1\n")
            notifier.child.send_signal(signal.SIGHUP)
            notifier.until_said("the rules stay as they were, the file is broken")
            notifier.until_said("line 16: rules[2].x: no such key")
            rules.write_text(RULES.format(url=there.url, port=own_mosquitto.port, camera="yard"))
            notifier.child.send_signal(signal.SIGHUP)
            notifier.until_said("the rules were read again: 2 rules, targets guard, home")
            tell(event(9000, 9000, camera_id="gate"))
            tell(event(9001, 9001, camera_id="yard"))
            at_home.until(lambda newest: "engram/yard/state" in newest)
            assert wait_until(lambda: b'"yard:s1:9001"' in there.requests[-1].body, DEADLINE_S)
            assert not any(b'"gate:s1:9000"' in one.body for one in there.requests)
            assert any(START.id.encode() in one.body for one in there.requests)
            notifier.child.send_signal(signal.SIGTERM)
            assert notifier.child.wait(DEADLINE_S) == 0
            at_home.until(lambda newest: newest["engram/status"] == "offline")
    finally:
        if notifier.child.poll() is None:
            notifier.child.kill()
        notifier.child.wait(30)
