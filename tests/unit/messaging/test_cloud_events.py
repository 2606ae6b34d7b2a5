"""The two forms of a CloudEvent are the same event; what is none stays as it is."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.cloud_events import STRUCTURED, form_of, to_binary, to_structured
from messaging.ports import Headers, OutRecord, Record
from schemas.codec import EVENT_HEADERS, HEADER

SAMPLES = Path(__file__).parents[2] / "samples"
EVENTS = sorted(path for path in SAMPLES.rglob("*.json") if b'"specversion"' in path.read_bytes())
BARE: dict[str, Any] = {"specversion": "1.0", "id": "gate:s1:0", "source": "/engram/gate", "type": "dev.engram.x.v1"}


def out(value: bytes | None, headers: Headers = EVENT_HEADERS) -> OutRecord:
    return OutRecord("anomaly-events", "gate", value, headers)


def read(record: OutRecord) -> Record:
    """As a reader gets what was written."""
    return Record(record.topic, 0, 0, record.key.encode(), record.value, record.headers, 0)


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_sample_of_an_event_is_the_same_after_both_ways(path: Path) -> None:
    whole = json.loads(path.read_bytes())
    binary = to_binary(out(path.read_bytes()))
    assert json.loads(binary.value or b"") == whole["data"]
    back = to_structured(read(binary))
    assert json.loads(back.value or b"") == whole
    assert back.headers == EVENT_HEADERS


def test_there_are_samples() -> None:
    assert len(EVENTS) > 5


def test_binary_form_is_that_of_the_kafka_binding() -> None:
    event = {**BARE, "time": "2026-01-31T08:00:00Z", "datacontenttype": "application/json", "sequence": "0" * 20}
    record = to_binary(out(json.dumps({**event, "data": {"where": "Tür"}}).encode(), (*EVENT_HEADERS, (HEADER, b"x"))))
    assert record.value == '{"where":"Tür"}'.encode()
    assert dict(record.headers) == {
        "content-type": b"application/json",
        "ce_specversion": b"1.0",
        "ce_id": b"gate:s1:0",
        "ce_source": b"/engram/gate",
        "ce_type": b"dev.engram.x.v1",
        "ce_time": b"2026-01-31T08:00:00Z",
        "ce_sequence": b"0" * 20,
        HEADER: b"x",
    }
    assert (record.topic, record.key) == ("anomaly-events", "gate")


def test_an_event_without_data_has_no_value() -> None:
    binary = to_binary(out(json.dumps(BARE).encode()))
    assert binary.value is None
    assert json.loads(to_structured(read(binary)).value or b"") == {**BARE, "datacontenttype": "application/json"}


def test_structured_is_written_as_it_is() -> None:
    record = out(json.dumps(BARE).encode())
    assert form_of("structured")(record) is record
    assert form_of("binary")(record) == to_binary(record) != record


@pytest.mark.parametrize(
    "record",
    [out(None), out(b"a JPEG", ((HEADER, b"{}"),)), out(b"{}", (("content-type", b"application/json"),))],
    ids=["tombstone", "frame", "other JSON"],
)
def test_what_is_no_event_is_written_as_it_is(record: OutRecord) -> None:
    assert to_binary(record) is record


def test_data_in_another_format_stay_as_they_are() -> None:
    foreign = read(out(b"<x/>", (("ce_specversion", b"1.0"), ("content-type", b"application/xml"))))
    assert to_structured(foreign) is foreign


@given(st.lists(st.tuples(st.sampled_from(["ce_specversion", "ce_id", "content-type", "x"]), st.binary())), st.binary())
def test_whatever_the_bytes_are_there_is_a_record(headers: list[tuple[str, bytes]], value: bytes) -> None:
    given_record = read(out(value, tuple(headers)))
    found = to_structured(given_record)
    assert found == given_record or (found.headers[0] == ("content-type", STRUCTURED) and value in (found.value or b""))
