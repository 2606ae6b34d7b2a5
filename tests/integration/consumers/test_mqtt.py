"""MQTT to a real mosquitto: discovery, retained states, availability, a broker that goes and comes back."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from consumers.notify import mqtt
from consumers.notify.mqtt import Mqtt
from consumers.notify.notification import NotTakenError, of_event, of_withheld
from consumers.notify.quiet import Withheld
from consumers.notify.rules import MqttTarget
from deploy.local.wait import wait_until
from tests.mosquitto import LocalMosquitto
from tests.unit.consumers.notify.facts import facts

DEADLINE_S = 60.0
CONFIG = "homeassistant/binary_sensor/engram/gate/config"


class House:
    """A subscriber to everything, as Home Assistant is one."""

    def __init__(self, port: int) -> None:
        self.messages: list[tuple[str, str, bool]] = []
        self.lock = threading.Lock()
        self.client = Client(CallbackAPIVersion.VERSION2)
        self.client.on_message = self._take
        self.client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self.client.reconnect_delay_set(1, 1)
        self.client.connect_async("127.0.0.1", port)
        self.client.loop_start()

    def _take(self, client: Client, data: Any, message: MQTTMessage) -> None:
        with self.lock:
            self.messages.append((message.topic, message.payload.decode(), message.retain))

    def of(self, topic: str) -> list[str]:
        with self.lock:
            return [payload for name, payload, _ in self.messages if name == topic]

    def newest(self) -> dict[str, str]:
        with self.lock:
            return {name: payload for name, payload, _ in self.messages}

    def until(self, condition: Callable[[dict[str, str]], bool]) -> dict[str, str]:
        assert wait_until(lambda: condition(self.newest()), DEADLINE_S), self.newest()
        return self.newest()


@contextmanager
def house(broker: LocalMosquitto) -> Iterator[House]:
    made = House(broker.port)
    try:
        assert wait_until(made.client.is_connected, DEADLINE_S)
        yield made
    finally:
        made.client.disconnect()
        made.client.loop_stop()


@pytest.fixture
def target(own_mosquitto: LocalMosquitto) -> Iterator[Mqtt]:
    made = Mqtt("home", MqttTarget(host="127.0.0.1", port=own_mosquitto.port))
    yield made
    made.close()


def test_a_camera_is_announced_and_its_state_is_kept_for_whoever_comes_later(
    own_mosquitto: LocalMosquitto, target: Mqtt
) -> None:
    target.tell(of_event(facts(), "event"))
    with house(own_mosquitto) as later:
        wanted = {"engram/gate/state", "engram/gate/attributes", "engram/status", CONFIG}
        seen = later.until(lambda newest: wanted <= newest.keys())
        assert (seen["engram/status"], seen["engram/gate/state"]) == ("online", "ON")
        announced = json.loads(seen[CONFIG])
        assert announced["state_topic"] == "engram/gate/state"
        assert announced["availability"][0]["topic"] == "engram/status"
        assert json.loads(seen["engram/gate/attributes"])["event_id"] == "gate:s1:5"
        assert "engram/gate/event" not in seen, "what happened is no state"
        assert all(retain for *_, retain in later.messages)
        target.tell(of_event(facts(5, 9, "end", 2), "event"))
        later.until(lambda newest: newest["engram/gate/state"] == "OFF" and "engram/gate/event" in newest)
        assert json.loads(later.of("engram/gate/event")[0])["id"] == "gate:s1:5:2"
        assert later.of(CONFIG) == [seen[CONFIG]], "it is announced once"


def test_a_state_is_shown_without_telling_of_the_event(own_mosquitto: LocalMosquitto, target: Mqtt) -> None:
    with house(own_mosquitto) as there:
        target.tell(of_event(facts(), "state"))
        there.until(lambda newest: newest.get("engram/gate/state") == "ON")
        withheld = Withheld()
        withheld.add(facts(), ("events", 0, 1))
        target.tell(of_withheld("all", withheld))
        seen = there.until(lambda newest: "engram/gate/summary" in newest)
        assert json.loads(seen["engram/gate/summary"])["data"]["num_events"] == 1
        assert there.of("engram/gate/event") == []


def test_a_broker_that_is_gone_is_waited_for_and_hears_all_states_again(
    own_mosquitto: LocalMosquitto, target: Mqtt, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.tell(of_event(facts(), "event"))
    monkeypatch.setattr(mqtt, "WAIT_S", 0.2)
    own_mosquitto.kill()
    assert wait_until(lambda: not target._connected.is_set(), DEADLINE_S)
    with pytest.raises(NotTakenError, match=r"the MQTT broker 127\.0\.0\.1:\d+ is away"):
        target.tell(of_event(facts(camera="yard"), "event"))
    monkeypatch.setattr(mqtt, "WAIT_S", DEADLINE_S)
    own_mosquitto.restart()
    with house(own_mosquitto) as there:
        target.tell(of_event(facts(camera="yard"), "event"))
        wanted = {"engram/gate/state", "engram/yard/state", "engram/status", CONFIG}
        seen = there.until(lambda newest: wanted <= newest.keys())
        assert CONFIG in seen, "the broker had lost it"
        assert seen["engram/status"] == "online"


def test_the_broker_says_when_we_are_gone(own_mosquitto: LocalMosquitto, target: Mqtt) -> None:
    with house(own_mosquitto) as there:
        there.until(lambda newest: newest.get("engram/status") == "online")
        own_socket = target._client.socket()
        assert own_socket is not None
        target._client.loop_stop()
        own_socket.close()  # as if the process were killed
        there.until(lambda newest: newest.get("engram/status") == "offline")


def test_who_leaves_says_so(own_mosquitto: LocalMosquitto) -> None:
    leaving = Mqtt("other", MqttTarget(host="127.0.0.1", port=own_mosquitto.port, base_topic="site/b"))
    with house(own_mosquitto) as there:
        there.until(lambda newest: newest.get("site/b/status") == "online")
        leaving.close()
        there.until(lambda newest: newest.get("site/b/status") == "offline")
        with pytest.raises(NotTakenError):
            leaving.tell(of_event(facts(), "event"))


def test_without_discovery_nothing_is_announced(own_mosquitto: LocalMosquitto) -> None:
    settings = MqttTarget(host="127.0.0.1", port=own_mosquitto.port, discovery_prefix=None)
    target = Mqtt("plain", settings)
    with house(own_mosquitto) as there:
        target.tell(of_event(facts(), "event"))
        seen = there.until(lambda newest: "engram/gate/event" in newest)
        assert CONFIG not in seen
    target.close()
