"""What Home Assistant is told over MQTT: topics, the discovery of one binary sensor a camera, states. Pure.

Keys are those of https://www.home-assistant.io/integrations/binary_sensor.mqtt and …/integrations/mqtt#mqtt-discovery.

| topic under the base | retained | holds |
|---|---|---|
| ``status`` | yes | ``online``, ``offline``; the broker says ``offline`` for us when we are gone |
| ``CAMERA/state`` | yes | ``ON`` while an event is open, else ``OFF`` |
| ``CAMERA/attributes`` | yes | main facts of the newest message, JSON |
| ``CAMERA/event`` | no | the message whole, as the rules tell it, JSON |
| ``CAMERA/summary`` | no | what a quiet time withheld, JSON |
"""

import hashlib
import json
import re
from dataclasses import dataclass

from consumers.notify.facts import EventFacts
from schemas.version import software_version

ONLINE, OFFLINE, ON, OFF = "online", "offline", "ON", "OFF"


@dataclass(frozen=True, slots=True)
class Retained:
    """A message that the broker keeps for whoever comes later."""

    topic: str
    payload: str


def status_topic(base: str) -> str:
    """Where it is said whether we are there."""
    return f"{base}/status"


def camera_topic(base: str, camera_id: str, what: str) -> str:
    """One of a camera's topics; ids have no letter that means something in a topic."""
    return f"{base}/{camera_id}/{what}"


def discovery(prefix: str, base: str, camera_id: str) -> Retained:
    """The announcement of a camera's sensor."""
    node, name = entity_id(base), entity_id(camera_id)
    payload = {
        "name": "Anomaly",
        "unique_id": f"{node}_{name}_anomaly",
        "device_class": "problem",
        "state_topic": camera_topic(base, camera_id, "state"),
        "payload_on": ON,
        "payload_off": OFF,
        "json_attributes_topic": camera_topic(base, camera_id, "attributes"),
        "availability": [
            {"topic": status_topic(base), "payload_available": ONLINE, "payload_not_available": OFFLINE},
        ],
        "qos": 1,
        "device": {
            "identifiers": [f"{node}_{name}"],
            "name": camera_id,
            "manufacturer": "Engram",
            "model": "Camera",
            "sw_version": software_version(),
        },
        "origin": {"name": "engram", "sw_version": software_version()},
    }
    return Retained(f"{prefix}/binary_sensor/{node}/{name}/config", json.dumps(payload, separators=(",", ":")))


def entity_id(text: str) -> str:
    """``text`` with the letters that discovery topics may have; two texts never become one."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", text)
    return plain if plain == text else f"{plain}_{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def states(base: str, facts: EventFacts) -> tuple[Retained, Retained]:
    """State and attributes after a message of an event."""
    attributes = {
        "event_id": facts.event_id,
        "phase": facts.phase,
        "started_at": facts.started_at.isoformat(),
        "last_at": facts.last_at.isoformat(),
        "end_reason": facts.end_reason,
        "peak_score": facts.peak,
        "severity": facts.severity,
        "zones": list(facts.zones),
        "rarity": facts.rarity or None,
    }
    state = OFF if facts.phase == "end" else ON
    return (
        Retained(camera_topic(base, facts.camera_id, "attributes"), json.dumps(attributes, separators=(",", ":"))),
        Retained(camera_topic(base, facts.camera_id, "state"), state),
    )
