"""The AsyncAPI document describes the topics there are, and every reference in it leads somewhere."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from schemas.asyncapi import CHANNELS, CONTRACT, asyncapi_document
from schemas.codec import encode_message
from schemas.export import ID_PREFIX, MODELS, json_schema, version_of
from schemas.messages import FrameHeader, Message
from schemas.topics import TopicNames
from tests.unit.consumers.samples import event, score
from tests.unit.schemas.test_codec import HEADER

DOCUMENT = asyncapi_document()
PUBLISHED = Path(__file__).parents[3] / "docs" / "schemas"


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def within(pointer: str) -> Any:
    found: Any = DOCUMENT
    for step in pointer.removeprefix("#/").split("/"):
        found = found[step]
    return found


def test_every_reference_leads_somewhere() -> None:
    told = set(references(DOCUMENT))
    for reference in told:
        if reference.startswith("#/"):
            assert within(reference)
        else:
            assert (PUBLISHED / reference).is_file()
    assert "./anomaly-event.json" in told


def test_addresses_are_those_of_the_topics() -> None:
    topics = TopicNames.with_prefix("{prefix}")
    assert {channel["address"] for channel in DOCUMENT["channels"].values()} == {
        getattr(topics, name) for name in CHANNELS
    }
    assert {name for name in TopicNames.__slots__ if name not in CHANNELS} == {"camera_states", "dead_letters"}


@pytest.mark.parametrize("operation", DOCUMENT["operations"].values(), ids=DOCUMENT["operations"])
def test_an_operation_is_on_a_channel_with_a_message(operation: dict[str, Any]) -> None:
    assert operation["action"] in ("send", "receive")
    messages = within(operation["channel"]["$ref"])["messages"].values()
    assert messages
    for message in messages:
        assert within(message["$ref"])["contentType"]


def test_its_version_is_that_of_the_newest_message() -> None:
    newest = max(version_of(model) for model in MODELS.values() if issubclass(model, Message) and has_version(model))
    assert f"{newest}.0" == CONTRACT


def has_version(model: type[Message]) -> bool:
    return "schema_version" in model.model_fields or "data" in model.model_fields


@pytest.mark.parametrize(("name", "message"), [("anomaly-event", event(5, 9)), ("frame-score", score(7))])
def test_the_payload_of_a_channel_takes_what_is_written_there(name: str, message: Message) -> None:
    reference = DOCUMENT["components"]["messages"][name]["payload"]["$ref"]
    schema = json.loads((PUBLISHED / reference).read_text("utf-8"))
    Draft202012Validator(schema).validate(json.loads(encode_message(message)))


def test_a_frame_is_described_by_the_header_beside_it() -> None:
    headers = DOCUMENT["components"]["messages"]["frame-header"]["headers"]
    schema = headers["properties"]["engram"]["contentSchema"]
    known = Registry().with_resource("./frame-header.json", Resource.from_contents(json_schema("frame-header")))
    validator = Draft202012Validator(schema, registry=known)
    validator.validate(json.loads(encode_message(HEADER)))
    assert not validator.is_valid({"schema_version": 1})
    assert json_schema("frame-header")["$id"] == f"{ID_PREFIX}frame-header:{version_of(FrameHeader)}"
