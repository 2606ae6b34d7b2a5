"""The AsyncAPI 3 document: which topics there are, and what is on them, for tools and readers in other languages.

Payloads are the JSON Schemas beside it (``export``). ``{prefix}`` is the setting ``kafka.topic_prefix``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from schemas.codec import EVENT_HEADERS, HEADER
from schemas.topics import TopicNames
from schemas.traceparent import PATTERN, STATE_PATTERN, TRACEPARENT, TRACESTATE

ASYNCAPI = "3.0.0"
CONTRACT = "1.5.0"
"""Of the document; raised with the minor of any message."""
KAFKA_BINDING = "0.5.0"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Channel:
    """One topic.

    Attributes:
        message: name of the schema of what is on it: of the value, or of the header ``engram`` where the value is none
            of JSON.
        key: what the record's key is.
        content_type: of the value.
        action: what Engram does with it, as seen by others.
        text: what it is.
        others: names of the schemas of what else is on it.
    """

    message: str
    key: str
    content_type: str
    action: str
    text: str
    others: tuple[str, ...] = ()

    @property
    def messages(self) -> tuple[str, ...]:
        """Names of the schemas of all that is on it."""
        return (self.message, *self.others)


CHANNELS: Mapping[str, Channel] = {
    "frames": Channel(
        "frame-header", "camera_id", "image/jpeg", "receive", "Frames of cameras; an empty value ends one."
    ),
    "frame_scores": Channel("frame-score", "camera_id", JSON, "send", "One score for each frame."),
    "anomaly_events": Channel(
        "anomaly-event",
        "camera_id",
        dict(EVENT_HEADERS)["content-type"].decode(),
        "send",
        "Start, updates and end of events, as CloudEvents 1.0; see docs/events.md for what may be relied on.",
    ),
    "memory_updates": Channel(
        "proposal-header", "bank_id", "application/octet-stream", "send", "What workers propose to remember."
    ),
    "memory_banks": Channel(
        "bank-header", "bank_id", "application/octet-stream", "send", "Accepted banks, the newest of each."
    ),
    "camera_status": Channel("camera-status", "camera_id", JSON, "send", "How each camera fares, the newest of each."),
    "camera_events": Channel(
        "camera-gap",
        "camera_id",
        dict(EVENT_HEADERS)["content-type"].decode(),
        "send",
        "What was lost of cameras, and what is wrong with their pictures, as CloudEvents 1.0.",
        ("camera-view",),
    ),
    "operator_verdicts": Channel(
        "operator-verdict", "bank_id", JSON, "receive", "What people say of events: normal here, real, undone."
    ),
    "memory_events": Channel(
        "verdict-outcome",
        "bank_id",
        dict(EVENT_HEADERS)["content-type"].decode(),
        "send",
        "What came of verdicts, as CloudEvents 1.0.",
    ),
    "event_media": Channel(
        "event-media",
        "camera_id",
        dict(EVENT_HEADERS)["content-type"].decode(),
        "send",
        "Where the pictures and clips of events are, as CloudEvents 1.0.",
    ),
}
"""By the field of ``TopicNames``. The states of cameras and the dead letters are no part of the contract."""


def asyncapi_document() -> dict[str, Any]:
    """The document, as JSON; refers to the schemas by their file names."""
    topics = TopicNames.with_prefix("{prefix}")
    named = {field.name: field.name.replace("_", "-") for field in fields(TopicNames)}
    return {
        "asyncapi": ASYNCAPI,
        "info": {
            "title": "Engram",
            "version": CONTRACT,
            "description": "Streaming video anomaly detection: frames in, scores and events out.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": JSON,
        "channels": {
            named[name]: _channel(getattr(topics, name), named[name], channel) for name, channel in CHANNELS.items()
        },
        "operations": {
            f"{channel.action}-{named[name]}": {
                "action": channel.action,
                "channel": {"$ref": f"#/channels/{named[name]}"},
                "summary": channel.text,
            }
            for name, channel in CHANNELS.items()
        },
        "components": {
            "messages": {name: _message(name, channel) for channel in CHANNELS.values() for name in channel.messages}
        },
    }


def _channel(address: str, name: str, channel: Channel) -> dict[str, Any]:
    return {
        "address": address,
        "title": name,
        "description": channel.text,
        "parameters": {"prefix": {"description": "kafka.topic_prefix, empty by default", "default": ""}},
        "messages": {message: {"$ref": f"#/components/messages/{message}"} for message in channel.messages},
        "bindings": {"kafka": {"bindingVersion": KAFKA_BINDING}},
    }


_TRACED = {
    CHANNELS["frames"].message: "passed on to events that the frame begins, and to proposals that it is part of",
    CHANNELS["memory_updates"].message: "of the newest of its frames that has one",
}
"""Messages whose records may be of a trace."""


def _message(name: str, channel: Channel) -> dict[str, Any]:
    schema = {"$ref": f"./{name}.json"}
    is_json = channel.content_type.endswith("json")
    header = {HEADER: {"type": "string", "contentMediaType": JSON, "contentSchema": schema}}
    text = _TRACED.get(name)
    if text is not None:
        header[TRACEPARENT] = {"type": "string", "pattern": PATTERN, "description": f"W3C Trace Context; {text}"}
        header[TRACESTATE] = {
            "type": "string",
            "pattern": STATE_PATTERN,
            "description": f"what goes with {TRACEPARENT}",
        }
    content_type = {"type": "string", "const": channel.content_type}
    headers = {"content-type": content_type} if channel.content_type != JSON else {}
    return {
        "name": name,
        "contentType": channel.content_type,
        "headers": {"type": "object", "properties": headers if is_json else header},
        "payload": schema if is_json else {"type": "string", "format": "binary"},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": channel.key},
                "bindingVersion": KAFKA_BINDING,
            }
        },
    }
