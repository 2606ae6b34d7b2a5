"""Every message goes through the codec unchanged, and every field refuses what lies just outside its bounds."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.codec import (
    EVENT_HEADERS,
    HEADER,
    MAX_HEADER_BYTES,
    decode_header,
    decode_message,
    encode_header,
    encode_message,
)
from schemas.errors import BadMessageError
from schemas.export import json_schema
from schemas.messages import (
    EARLIEST,
    LATEST,
    BankHeader,
    EventData,
    FrameHeader,
    FrameScore,
    HeatMap,
    Message,
    ProposalHeader,
    Region,
    utc_now,
)
from tests.unit.consumers.samples import event, score
from tests.unit.schemas.test_codec import HEADER as FRAME
from tests.unit.schemas.test_wire_arrays import ITEMS_MC, bank_header, proposal_header

MESSAGES: Mapping[str, Message] = {
    "frame": FRAME,
    "end of session": FRAME.model_copy(update={"kind": "end_of_session", "width": 0, "height": 0}),
    "score": score(7),
    "warming": score(3, None),
    "event starts": event(5, 9).model_copy(update={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}),
    "event ends": event(5, 9, "end", 4),
    "proposal": proposal_header(10, 512),
    "bank": bank_header(ITEMS_MC, previous_digest="c" * 64, audit={"by": "me", "frames": [1, 2]}),
}
MOST = 2**53
IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
TIMES = st.datetimes(datetime(1970, 1, 2), datetime(2199, 12, 30), timezones=st.just(timezone.utc))
UNITS = st.floats(0, 1)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_comes_back_as_it_went(name: str) -> None:
    message = MESSAGES[name]
    found = decode_message(type(message), encode_message(message))
    assert found == message
    assert encode_message(found) == encode_message(message)
    unset = {key for key, field in type(message).model_fields.items() if field.exclude_if and not getattr(message, key)}
    assert json.loads(encode_message(message)).keys() == type(message).model_fields.keys() - unset


@given(IDS, IDS, st.integers(0, MOST), TIMES, st.integers(0, 65535), st.floats(0.001, 1000))
@settings(max_examples=30, deadline=None)
def test_any_frame_header_comes_back(
    camera: str, session: str, index: int, captured_at: datetime, side: int, fps: float
) -> None:
    header = FrameHeader(
        camera_id=camera,
        session_id=session,
        frame_index=index,
        captured_at=captured_at,
        clock="camera",
        width=side,
        height=65535 - side,
        fps=fps,
    )
    ((name, payload),) = encode_header(header)
    assert name == HEADER
    assert len(payload) < MAX_HEADER_BYTES
    assert decode_header(FrameHeader, payload, camera.encode(), "camera_id") == header


@given(st.integers(0, MOST), UNITS, st.lists(NUMBERS, min_size=4, max_size=4), TIMES, st.booleans())
@settings(max_examples=30, deadline=None)
def test_any_score_comes_back_to_the_last_digit(
    version: int, anomaly_score: float, numbers: list[float], captured_at: datetime, proposed: bool
) -> None:
    measures: dict[str, Any] = dict(
        zip(("psnr_db", "feature_distance", "regular_score", "patch_error"), numbers, strict=True)
    )
    found = score(7, anomaly_score, bank_version=version, captured_at=captured_at, proposed=proposed, **measures)
    assert decode_message(FrameScore, encode_message(found)) == found


def test_events_say_that_they_are_cloudevents() -> None:
    assert dict(EVENT_HEADERS) == {"content-type": b"application/cloudevents+json"}
    told = json.loads(encode_message(event(5, 9)))
    assert (told["specversion"], told["datacontenttype"]) == ("1.0", "application/json")
    assert told["dataschema"] == json_schema("anomaly-event-data")["$id"]


OUTSIDE: dict[str, list[tuple[str, Any]]] = {
    "frame": [
        *[("frame_index", wrong) for wrong in (-1, MOST + 1, 1.5, None)],
        *[(side, wrong) for side in ("width", "height") for wrong in (-1, 65536)],
        *[("fps", wrong) for wrong in (0, -1, 1000.1, "NaN", "Infinity")],
        *[("camera_id", wrong) for wrong in ("", ".x", "-x", "_x", "a b", "a/b", "a:b", "a\n", "ä", "a" * 65)],
        *[("session_id", wrong) for wrong in ("", "a:b", "a" * 65)],
        ("kind", "still"),
        ("clock", "sun dial"),
        ("schema_version", 0),
    ],
    "score": [
        *[("anomaly_score", wrong) for wrong in (-0.001, 1.001)],
        *[("bank_version", wrong) for wrong in (-1, MOST + 1)],
        *[(key, wrong) for key in ("bank_digest", "bundle_digest") for wrong in ("0" * 63, "0" * 65, "A" * 64)],
        *[(key, "a:b") for key in ("camera_id", "session_id", "bank_id", "worker_id")],
        ("status", "cold"),
        ("memory_state", "Warm"),
        ("scored_at", "yesterday"),
        ("proposed", "perhaps"),
    ],
    "event starts": [
        *[("sequence", wrong) for wrong in ("1", "1" * 19, "1" * 21, "-" + "1" * 19, "1" * 19 + "x")],
        *[("id", wrong) for wrong in ("", ":a", "a" * 257, "a b")],
        *[("type", wrong) for wrong in ("dev.engram.anomaly.start.v0", "dev.engram.anomaly.pause.v1", "start", 7)],
        ("specversion", "1.1"),
        ("datacontenttype", "text/plain"),
        ("partitionkey", "a:b"),
    ],
    "proposal": [
        *[(key, wrong) for key in ("num_items", "item_dim") for wrong in (-1, 65537)],
        *[("num_frames", wrong) for wrong in (0, -1)],
        *[(key, -1) for key in ("base_version", "first_frame", "last_frame")],
        *[(key, "x" * 64) for key in ("base_digest", "bundle_digest")],
        ("proposal_id", "a/b"),
    ],
    "bank": [
        *[(key, wrong) for key in ("num_items", "item_dim") for wrong in (-1, 65537)],
        *[(key, "a b") for key in ("bank_id", "epoch")],
        *[(key, "x" * 64) for key in ("digest", "bundle_digest", "previous_digest")],
        ("version", -1),
        ("audit", []),
        ("committed_at", "2026-01-01T00:00:00"),
    ],
}


@pytest.mark.parametrize(
    ("name", "field", "wrong"), [(name, field, wrong) for name in OUTSIDE for field, wrong in OUTSIDE[name]]
)
def test_a_value_outside_its_bounds_is_refused_by_the_name_of_its_field(name: str, field: str, wrong: Any) -> None:
    kind = type(MESSAGES[name])
    payload = json.dumps(json.loads(encode_message(MESSAGES[name])) | {field: wrong}).encode()
    with pytest.raises(BadMessageError, match=rf"^{kind.__name__}\.{field}: ") as refused:
        decode_message(kind, payload)
    assert refused.value.reason == "invalid_message"


@pytest.mark.parametrize(
    ("name", "field", "right"),
    [
        *[("frame", "frame_index", right) for right in (0, MOST)],
        *[("frame", side, right) for side in ("width", "height") for right in (0, 65535)],
        *[("frame", "fps", right) for right in (0.0001, 1000)],
        *[("frame", "camera_id", right) for right in ("0", "a.b_c-D", "a" * 64)],
        *[("score", "anomaly_score", right) for right in (0, 1, None)],
        *[("score", "memory_state", right) for right in ("live", "frozen", "stale", "initial", "none")],
        *[("frame", "clock", right) for right in ("ntp", "camera", "arrival", "media")],
        *[("event starts", "id", right) for right in ("a", "a:b:1", "a" * 256)],
        *[("event starts", "sequence", right) for right in ("0" * 20, "9" * 20)],
        *[("proposal", key, right) for key in ("num_items", "item_dim") for right in (0, 65536)],
        ("proposal", "num_frames", 1),
        *[("bank", key, right) for key in ("num_items", "item_dim") for right in (0, 65536)],
        ("bank", "version", MOST),
    ],
)
def test_a_value_at_its_bound_is_taken(name: str, field: str, right: Any) -> None:
    kind = type(MESSAGES[name])
    payload = json.dumps(json.loads(encode_message(MESSAGES[name])) | {field: right}).encode()
    assert getattr(decode_message(kind, payload), field) == right


@pytest.mark.parametrize("name", MESSAGES)
def test_every_field_that_has_no_default_must_be_there(name: str) -> None:
    kind, told = type(MESSAGES[name]), json.loads(encode_message(MESSAGES[name]))
    for field, about in kind.model_fields.items():
        payload = json.dumps({key: value for key, value in told.items() if key != field}).encode()
        if field == "data":  # where the version is
            with pytest.raises(BadMessageError, match="schema_version"):
                decode_message(kind, payload)
        elif about.is_required():
            with pytest.raises(BadMessageError, match=rf"{kind.__name__}\.{field}: Field required"):
                decode_message(kind, payload)


@pytest.mark.parametrize("values", [(0, 0, 0, 256), (0, 0, -1, 0)])
def test_the_cells_of_a_heat_map_are_bytes(values: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match="values"):
        HeatMap(rows=2, columns=2, values=values)


@pytest.mark.parametrize("box", [(0, 0, 1), (0, 0, 1, 1.01), (-0.01, 0, 1, 1), (0, 0, 1, 1, 1)])
def test_a_region_lies_within_the_image(box: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError, match="box"):
        Region(box=box, score=0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_a_message_cannot_be_changed(message: Message) -> None:
    field = next(iter(type(message).model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(message, field, getattr(message, field))


@pytest.mark.parametrize(
    ("told", "utc"),
    [
        ("2026-01-01T02:00:00+02:00", datetime(2026, 1, 1, tzinfo=timezone.utc)),
        ("1970-01-01T00:00:00Z", EARLIEST),
        ("1969-12-31T23:00:00-01:00", EARLIEST),
        ("2199-12-31T23:59:59.999999Z", LATEST - timedelta(microseconds=1)),
        ("2200-01-01T00:30:00+01:00", LATEST - timedelta(minutes=30)),
    ],
)
def test_a_time_of_any_zone_is_kept_in_utc(told: str, utc: datetime) -> None:
    payload = json.dumps(json.loads(encode_message(FRAME)) | {"captured_at": told}).encode()
    found = decode_message(FrameHeader, payload).captured_at
    assert (found, found.utcoffset()) == (utc, timedelta(0))


@pytest.mark.parametrize(
    "told", ["1969-12-31T23:59:59.999999Z", "2200-01-01T00:00:00Z", "1970-01-01T00:30:00+01:00", "2026-01-01T00:00:00"]
)
def test_a_time_out_of_reach_or_without_a_zone_is_refused(told: str) -> None:
    payload = json.dumps(json.loads(encode_message(FRAME)) | {"captured_at": told}).encode()
    with pytest.raises(BadMessageError, match=r"FrameHeader\.captured_at: "):
        decode_message(FrameHeader, payload)


def test_the_wall_clock_has_a_zone_and_is_a_time_of_messages() -> None:
    assert utc_now().utcoffset() == timedelta(0)
    assert EARLIEST < utc_now() < LATEST


@pytest.mark.parametrize("version", [2, 99, 10**30])
@pytest.mark.parametrize("kind", [FrameHeader, FrameScore, ProposalHeader, BankHeader])
def test_a_newer_version_asks_for_an_update_whatever_else_it_holds(kind: type[Message], version: int) -> None:
    payload = json.dumps({"schema_version": version, "brightness": 9}).encode()
    with pytest.raises(BadMessageError, match=f"schema_version {version}, this reader knows 1; update Engram") as newer:
        decode_message(kind, payload)
    assert newer.value.reason == "future_version"


@pytest.mark.parametrize("version", [0, 1, -1, "2", 2.5, True, [], {}])
def test_a_version_that_is_none_or_is_ours_makes_the_rest_invalid(version: Any) -> None:
    with pytest.raises(BadMessageError) as refused:
        decode_message(FrameHeader, json.dumps({"schema_version": version}).encode())
    assert refused.value.reason == "invalid_message"


def test_a_header_that_is_not_there_is_told_by_the_name_it_should_have() -> None:
    with pytest.raises(BadMessageError, match="a FrameHeader must be in header 'engram', there is none") as refused:
        decode_header(FrameHeader, None, b"cam1", "camera_id")
    assert refused.value.reason == "missing_header"


def test_a_header_may_be_as_long_as_its_bound_and_no_longer() -> None:
    padding = {"audit": {"why": ""}}
    short = encode_message(bank_header(ITEMS_MC, **padding))
    longest = MAX_HEADER_BYTES - len(short)
    for more, is_taken in ((longest, True), (longest + 1, False)):
        header = bank_header(ITEMS_MC, audit={"why": "x" * more})
        if is_taken:
            assert decode_header(BankHeader, encode_message(header), b"lobby", "bank_id") == header
        else:
            with pytest.raises(BadMessageError, match=f"at most {MAX_HEADER_BYTES} bytes: {MAX_HEADER_BYTES + 1}"):
                decode_header(BankHeader, encode_message(header), b"lobby", "bank_id")


@pytest.mark.parametrize("named", ["camera_id", "session_id"])
def test_the_key_is_held_against_the_field_that_is_named_and_both_are_told(named: str) -> None:
    wanted = getattr(FRAME, named)
    assert decode_header(FrameHeader, encode_message(FRAME), wanted.encode(), named) == FRAME
    with pytest.raises(BadMessageError, match=f"the key must be the {named} '{wanted}', got b'else'"):
        decode_header(FrameHeader, encode_message(FRAME), b"else", named)


def test_long_and_odd_things_are_told_in_part() -> None:
    """A dead letter's header and the log take what is said here, so it is bounded whatever came."""
    told = json.loads(encode_message(FRAME))
    for wrong in ({"fps": "y" * 5000}, {"clock": "c" * 5000}, {"camera_id": ["z"] * 5000}):
        with pytest.raises(BadMessageError) as refused:
            decode_message(FrameHeader, json.dumps(told | wrong).encode())
        assert len(str(refused.value)) < 600
    with pytest.raises(BadMessageError) as refused:
        decode_message(FrameHeader, b"no json at all " * 500)
    assert len(str(refused.value)) < 150
    assert "must be JSON, got b'no json at all" in str(refused.value)


def test_the_state_of_an_event_can_be_read_without_its_envelope() -> None:
    whole = event(5, 9, "update", 2)
    assert decode_message(EventData, encode_message(whole.data)) == whole.data
