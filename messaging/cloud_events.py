"""The two forms of a CloudEvent in a Kafka record, by the Kafka protocol binding of CloudEvents 1.0. Pure.

*structured*: the value is the whole event, JSON. *binary*: the value is its ``data``, every other attribute is a header
``ce_<name>``, and ``content-type`` is that of the data. Whoever publishes chooses the form; what is read is structured
whatever it came as, so that readers know of one form only. A record that is no event stays as it is.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

from messaging.ports import OutRecord, Record

EventMode = Literal["structured", "binary"]

CONTENT_TYPE = "content-type"
STRUCTURED = b"application/cloudevents+json"
JSON = "application/json"
PREFIX = "ce_"
VERSION = f"{PREFIX}specversion"

Form = Callable[[OutRecord], OutRecord]


def form_of(mode: EventMode) -> Form:
    """What makes of a structured record the one that is written."""
    return to_binary if mode == "binary" else lambda record: record


def to_binary(record: OutRecord) -> OutRecord:
    """A structured event in binary form; anything else as it is."""
    if (CONTENT_TYPE, STRUCTURED) not in record.headers or record.value is None:
        return record
    event = json.loads(record.value)
    data = event.pop("data", None)
    content_type = event.pop("datacontenttype", JSON)
    attributes = tuple((f"{PREFIX}{name}", str(value).encode()) for name, value in event.items() if value is not None)
    others = tuple(header for header in record.headers if header[0] != CONTENT_TYPE)
    value = None if data is None else json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    return replace(record, value=value, headers=((CONTENT_TYPE, content_type.encode()), *attributes, *others))


def to_structured(record: Record) -> Record:
    """A binary event with data in JSON in structured form; anything else as it is, whatever its bytes are.

    Attributes are text in this form, so one that is a number comes as text; those of Engram's events are text.
    """
    if record.header(VERSION) is None:
        return record
    try:
        named = {name: value.decode() for name, value in record.headers}
    except UnicodeDecodeError:
        return record
    content_type = named.get(CONTENT_TYPE, JSON)
    if content_type.partition(";")[0].strip().lower() != JSON:
        return record
    attributes = {name.removeprefix(PREFIX): value for name, value in named.items() if name.startswith(PREFIX)}
    others = tuple((name, value) for name, value in record.headers if not _is_of_event(name))
    value = _with_data(attributes | {"datacontenttype": content_type}, record.value)
    return replace(record, value=value, headers=((CONTENT_TYPE, STRUCTURED), *others))


def _with_data(attributes: Mapping[str, str], data: bytes | None) -> bytes:
    """The event as JSON. The data are not looked into: what is no JSON makes a whole that is none."""
    text = json.dumps(attributes, ensure_ascii=False).encode()
    return text if data is None else b'%b,"data":%b}' % (text[:-1], data)


def _is_of_event(header: str) -> bool:
    return header == CONTENT_TYPE or header.startswith(PREFIX)
