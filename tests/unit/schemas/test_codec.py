"""Decoding is total: whatever the bytes are, the outcome is a message or a BadMessageError with a reason."""

import json
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.codec import MAX_HEADER_BYTES, decode_header, decode_message, encode_message
from schemas.errors import BadMessageError
from schemas.messages import AnomalyEvent, BankHeader, FrameHeader, FrameScore, Message, ProposalHeader

KINDS: list[type[Message]] = [FrameHeader, FrameScore, AnomalyEvent, ProposalHeader, BankHeader]
HEADER = FrameHeader(
    camera_id="cam1",
    session_id="s1",
    frame_index=0,
    captured_at=datetime(2026, 1, 1, tzinfo=timezone.utc),
    clock="ntp",
    width=64,
    height=48,
    fps=10.0,
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


def reason(kind: type[Message], payload: bytes | None) -> str:
    with pytest.raises(BadMessageError) as refused:
        decode_message(kind, payload)
    str(refused.value).encode(errors="replace")
    return refused.value.reason


def changed(**fields: Any) -> bytes:
    return json.dumps(json.loads(encode_message(HEADER)) | fields).encode()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "payload",
    [
        b"[" * 1100 + b"]" * 1100,
        b"{" * 5000,
        b'{"a":' * 1100 + b"1" + b"}" * 1100,
        b'{"schema_version": ' + b"[" * 1100 + b"]" * 1100 + b"}",
        b"1" * 5000,
        b"\xff\xfe",
        b"null",
        b"",
        b'"\\ud800"',
    ],
    ids=lambda payload: repr(payload[:12]),
)
def test_what_is_not_ours_is_foreign(kind: type[Message], payload: bytes) -> None:
    assert reason(kind, payload) == "foreign"


def test_an_envelope_without_our_data_is_foreign_whatever_it_has_on_top() -> None:
    assert reason(AnomalyEvent, b'{"schema_version": 1}') == "foreign"
    assert reason(AnomalyEvent, b'{"schema_version": 7, "data": 3}') == "foreign"


def test_an_event_from_the_future_is_told_by_the_version_of_its_data() -> None:
    assert reason(AnomalyEvent, b'{"data": {"schema_version": 2, "brightness": 9}}') == "future_version"
    assert reason(AnomalyEvent, b'{"data": {"schema_version": 1}}') == "invalid_message"


@pytest.mark.parametrize(
    "fields",
    [
        {"captured_at": "0001-01-01T00:00:00+14:00"},
        {"captured_at": "9999-12-31T23:59:59-14:00"},
        {"captured_at": "1969-12-31T23:59:59Z"},
        {"captured_at": "2200-01-01T00:00:00Z"},
        {"captured_at": "2026-01-01T00:00:00"},
        {"captured_at": 1e300},
        {"frame_index": 2**53 + 1},
        {"frame_index": -1},
        {"fps": 0},
        {"camera_id": "../x"},
        {"camera_id": "a" * 65},
    ],
    ids=str,
)
def test_values_that_later_sums_could_not_take_are_invalid(fields: dict[str, Any]) -> None:
    assert reason(FrameHeader, changed(**fields)) == "invalid_message"


def test_a_number_of_thousands_of_digits_is_refused_not_printed() -> None:
    payload = encode_message(HEADER).replace(b'"frame_index":0', b'"frame_index":' + b"9" * 4200)
    assert reason(FrameHeader, payload) in ("invalid_message", "foreign")


@given(st.sampled_from(KINDS), st.binary(max_size=200) | JSON_VALUES.map(lambda value: json.dumps(value).encode()))
@example(AnomalyEvent, b'{"data": []}')
def test_any_bytes_give_a_message_or_a_reason(kind: type[Message], payload: bytes) -> None:
    try:
        decode_message(kind, payload)
    except BadMessageError as error:
        assert error.reason in ("foreign", "future_version", "invalid_message")


@given(st.sampled_from(sorted(FrameHeader.model_fields)), JSON_VALUES)
def test_any_value_of_any_field_gives_a_message_or_a_reason(field: str, value: Any) -> None:
    try:
        decode_message(FrameHeader, changed(**{field: value}))
    except BadMessageError as error:
        assert error.reason in ("foreign", "future_version", "invalid_message")


def test_a_header_needs_the_key_that_it_names() -> None:
    payload = encode_message(HEADER)
    assert decode_header(FrameHeader, payload, b"cam1", "camera_id") == HEADER
    for key in (b"cam2", None, b"\xff"):
        with pytest.raises(BadMessageError) as refused:
            decode_header(FrameHeader, payload, key, "camera_id")
        assert refused.value.reason == "wrong_key"
    with pytest.raises(BadMessageError) as refused:
        decode_header(FrameHeader, b"x" * (MAX_HEADER_BYTES + 1), b"cam1", "camera_id")
    assert refused.value.reason == "oversized_header"
