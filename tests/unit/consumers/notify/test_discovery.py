"""What Home Assistant is told, held against its documentation of the MQTT binary sensor (2026-11)."""

import json
import re

import pytest

from consumers.notify.discovery import discovery, entity_id, states
from tests.unit.consumers.notify.facts import facts

SENSOR_KEYS = {
    "availability", "availability_mode", "availability_template", "availability_topic", "device", "device_class",
    "default_entity_id", "enabled_by_default", "encoding", "entity_category", "entity_picture", "expire_after",
    "force_update", "icon", "json_attributes_template", "json_attributes_topic", "name", "off_delay", "origin",
    "payload_available", "payload_not_available", "payload_off", "payload_on", "qos", "state_topic", "unique_id",
    "value_template",
}  # fmt: skip
DEVICE_KEYS = {
    "configuration_url", "connections", "hw_version", "identifiers", "manufacturer", "model", "model_id", "name",
    "serial_number", "suggested_area", "sw_version", "via_device",
}  # fmt: skip
AVAILABILITY_KEYS = {"payload_available", "payload_not_available", "topic", "value_template"}
ORIGIN_KEYS = {"name", "sw_version", "support_url"}
DEVICE_CLASSES = {
    "battery", "battery_charging", "carbon_monoxide", "cold", "connectivity", "door", "garage_door", "gas", "heat",
    "light", "lock", "moisture", "motion", "moving", "occupancy", "opening", "plug", "power", "presence", "problem",
    "running", "safety", "smoke", "sound", "tamper", "update", "vibration", "window",
}  # fmt: skip
TOPIC = re.compile(r"homeassistant/binary_sensor/[a-zA-Z0-9_-]+/[a-zA-Z0-9_-]+/config")


@pytest.mark.parametrize("camera", ["gate", "gate.1", "0-a_b", "A" * 64])
def test_a_sensor_is_announced_with_the_documented_keys_alone(camera: str) -> None:
    announced = discovery("homeassistant", "engram", camera)
    payload = json.loads(announced.payload)
    assert TOPIC.fullmatch(announced.topic)
    assert payload.keys() <= SENSOR_KEYS
    assert payload["device"].keys() <= DEVICE_KEYS
    assert payload["origin"].keys() <= ORIGIN_KEYS
    assert all(one.keys() <= AVAILABILITY_KEYS for one in payload["availability"])
    assert {"state_topic", "unique_id", "device", "origin"} <= payload.keys()
    assert payload["device"]["identifiers"], "a device needs identifiers or connections"
    assert payload["device_class"] in DEVICE_CLASSES
    assert (payload["payload_on"], payload["payload_off"], payload["qos"]) == ("ON", "OFF", 1)


def test_no_two_cameras_become_one() -> None:
    cameras = ["gate.1", "gate_1", "gate-1", "gate_1_ab12cd", "gate..1"]
    payloads = [json.loads(discovery("homeassistant", "engram", camera).payload) for camera in cameras]
    assert len({one["unique_id"] for one in payloads}) == len(cameras)
    assert len({one["device"]["identifiers"][0] for one in payloads}) == len(cameras)
    assert entity_id("engram/site-a") != entity_id("engram_site-a")


def test_the_state_is_on_until_the_end() -> None:
    assert [states("engram", one)[1].payload for one in (facts(), facts(5, 9, "update", 1), facts(5, 9, "end", 2))] == [
        "ON", "ON", "OFF",
    ]  # fmt: skip
    attributes, state = states("engram", facts(5, 9, "end", 2))
    assert (attributes.topic, state.topic) == ("engram/gate/attributes", "engram/gate/state")
    assert json.loads(attributes.payload) == {
        "event_id": "gate:s1:5",
        "phase": "end",
        "started_at": "2026-03-01T08:00:00.500000+00:00",
        "last_at": "2026-03-01T08:00:00.900000+00:00",
        "end_reason": "cleared",
        "peak_score": 0.97,
        "severity": None,
        "zones": [],
        "rarity": None,
    }
