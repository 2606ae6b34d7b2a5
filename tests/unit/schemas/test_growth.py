"""Messages grow: a reader takes what a newer minor version adds, refuses a newer major, and forgets no older one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from schemas.codec import EVENT_HEADERS, decode_message, encode_message
from schemas.errors import BadMessageError
from schemas.export import MODELS, json_schema, version_of
from schemas.messages import AnomalyEvent, FrameHeader, FrameSpan, Message
from tests.unit.consumers.samples import event
from tests.unit.schemas.test_codec import HEADER, JSON_VALUES

SAMPLES = Path(__file__).parents[2] / "samples"
"""``<message>/<major>.<minor>[-<what>].json``, as they were written at that version: added to, never changed."""
KINDS = {name: model for name, model in MODELS.items() if issubclass(model, Message)}
PATHS = sorted(path.relative_to(SAMPLES) for path in SAMPLES.glob("*/*.json"))


def version_in(path: Path) -> str:
    return path.stem.split("-")[0]


def sample(path: Path) -> bytes:
    return (SAMPLES / path).read_bytes()


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_a_message_of_any_version_so_far_is_read_and_keeps_what_it_says(path: Path) -> None:
    told = json.loads(sample(path))
    read = json.loads(encode_message(decode_message(KINDS[path.parent.name], sample(path))))
    assert set(missing(told, read)) == set()


def missing(told: Any, read: Any, where: str = "") -> Iterator[str]:
    """Where ``read`` does not say what ``told`` says; it may say more."""
    if isinstance(told, dict) and isinstance(read, dict):
        for key, value in told.items():
            yield from missing(value, read.get(key), f"{where}.{key}")
    elif isinstance(told, list) and isinstance(read, list) and len(told) == len(read):
        for index, (one, other) in enumerate(zip(told, read, strict=True)):
            yield from missing(one, other, f"{where}.{index}")
    elif told != read:
        yield where


@pytest.mark.parametrize("name", KINDS)
def test_every_minor_version_has_samples_and_the_newest_has_every_field(name: str) -> None:
    """Whoever adds a field raises ``minor`` and keeps a sample: else nothing would notice that it is taken away."""
    major, minor = map(int, version_of(KINDS[name]).split("."))
    paths = [path for path in PATHS if path.parent.name == name]
    assert {version_in(path) for path in paths} == {f"{major}.{number}" for number in range(minor + 1)}
    newest = [path for path in paths if version_in(path) == f"{major}.{minor}"]
    for path in newest:
        Draft202012Validator(json_schema(name)).validate(json.loads(sample(path)))


def test_the_folder_of_samples_is_of_messages_there_are() -> None:
    assert {path.parent.name for path in PATHS} == set(KINDS)


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_a_field_more_passes_wherever_it_stands(path: Path) -> None:
    kind, told = KINDS[path.parent.name], json.loads(sample(path))
    for part in parts(told):
        part["brightness"] = {"of": ["all"]}
    assert decode_message(kind, json.dumps(told).encode()) == decode_message(kind, sample(path))


def parts(told: Any) -> Iterator[dict[str, Any]]:
    """Every object within, the whole too, but an audit entry, which may hold anything."""
    if isinstance(told, dict):
        yield from (part for key, value in list(told.items()) if key != "audit" for part in parts(value))
        yield told
    elif isinstance(told, list):
        yield from (part for value in told for part in parts(value))


def test_extension_attributes_of_cloudevents_pass() -> None:
    told = json.loads(encode_message(event(5, 9)))
    more = {
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "recordedtime": "2026-03-01T08:00Z",
    }
    assert decode_message(AnomalyEvent, json.dumps(told | more).encode()).data == event(5, 9).data


def test_who_writes_is_held_to_the_fields_there_are() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        FrameSpan(first=0, last=1, scored=2, dropped=1)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="Extra inputs"):
        FrameHeader.model_validate(HEADER.model_dump() | {"brightness": 1})


@pytest.mark.parametrize("word", ["gps", "x", "ptp_v2", "a" * 32])
def test_a_new_word_of_a_growing_list_is_read_and_not_written(word: str) -> None:
    told = json.loads(encode_message(HEADER)) | {"clock": word}
    assert decode_message(FrameHeader, json.dumps(told).encode()).clock == word
    with pytest.raises(ValidationError, match="clock"):
        FrameHeader.model_validate(told)


@pytest.mark.parametrize("word", ["", "GPS", "a b", "a" * 33, "9", "gps\n", 7, None, ["gps"]])
def test_what_is_no_word_is_read_nowhere(word: Any) -> None:
    told = json.loads(encode_message(HEADER)) | {"clock": word}
    with pytest.raises(BadMessageError, match="clock") as refused:
        decode_message(FrameHeader, json.dumps(told).encode())
    assert refused.value.reason == "invalid_message"


@pytest.mark.parametrize(
    "change",
    [
        {"type": "dev.engram.anomaly.start.v2"},
        {"type": "dev.engram.anomaly.start.v2", "data": {}},
        {"type": "dev.engram.anomaly.merged.v12", "data": {"what": "ever"}},
        {"data": {"schema_version": 2}},
    ],
    ids=str,
)
def test_an_event_of_a_newer_major_version_is_told_as_such(change: dict[str, Any]) -> None:
    told = json.loads(encode_message(event(5, 9))) | change
    with pytest.raises(BadMessageError, match=r"has schema_version \d+, this reader knows 1; update Engram") as refused:
        decode_message(AnomalyEvent, json.dumps(told).encode())
    assert refused.value.reason == "future_version"


@given(st.dictionaries(st.text(max_size=10), JSON_VALUES, max_size=3), st.sampled_from(sorted(KINDS)))
@settings(max_examples=60, deadline=None)
def test_whatever_is_added_the_rest_is_read_and_can_be_written_again(more: dict[str, Any], name: str) -> None:
    path = next(path for path in PATHS if path.parent.name == name)
    kind, told = KINDS[name], json.loads(sample(path))
    try:
        read = decode_message(kind, json.dumps(more | told).encode())
    except BadMessageError as error:
        assert error.reason in ("foreign", "invalid_message")
        return
    assert decode_message(kind, encode_message(read)) == read


@pytest.mark.parametrize("path", [path for path in PATHS if path.parent.name == "anomaly-event"], ids=str)
def test_the_sdk_of_cloudevents_takes_our_events_as_its_own(path: Path) -> None:
    """Names of attributes, time and content type, as others check them: not only our own schema says so."""
    told = json.loads(sample(path))
    taken = from_structured_event(HTTPMessage({n: v.decode() for n, v in EVENT_HEADERS}, sample(path)))
    assert (taken.get_id(), taken.get_source(), taken.get_type()) == (told["id"], told["source"], told["type"])
    assert taken.get_data() == told["data"]
    for extension in ("partitionkey", "sequence"):
        assert taken.get_extension(extension) == told[extension]
