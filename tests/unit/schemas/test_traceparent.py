"""``traceparent``: what is passed on, and that nothing else is, whatever comes."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.codec import decode_message, encode_message
from schemas.messages import AnomalyEvent
from schemas.traceparent import PATTERN, STATE_PATTERN, is_sampled, traceparent_of, tracestate_of
from tests.unit.consumers.samples import event

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
LINE = f"00-{TRACE}-{SPAN}-01"
HEX = st.text("0123456789abcdef", min_size=1, max_size=40)


def with_(traceparent: object) -> bytes:
    return json.dumps(json.loads(encode_message(event(5, 9))) | {"traceparent": traceparent}).encode()


@pytest.mark.parametrize("flags", ["00", "01", "02", "03"])
def test_a_line_of_the_standard_is_passed_on_as_it_is(flags: str) -> None:
    line = f"00-{TRACE}-{SPAN}-{flags}"
    assert traceparent_of(line) == traceparent_of(line.encode()) == line
    assert is_sampled(line) == (flags in ("01", "03"))


@pytest.mark.parametrize("more", ["", "-", "-what-the-future-holds", "-" + "x" * 10_000])
def test_of_a_newer_version_the_part_is_taken_that_is_known(more: str) -> None:
    assert traceparent_of(f"cc-{TRACE}-{SPAN}-ff{more}") == f"00-{TRACE}-{SPAN}-03"


WRONG = [
    "",
    "00",
    f"ff-{TRACE}-{SPAN}-01",
    f"00-{'0' * 32}-{SPAN}-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"00-{TRACE.upper()}-{SPAN}-01",
    f"00-{TRACE}-{SPAN}-0",
    f"00-{TRACE}-{SPAN}-0g",
    f"00-{TRACE}-{SPAN}-011",
    f"00-{TRACE}-{SPAN}-01-",
    f"00-{TRACE}-{SPAN}-01\n",
    f"cc-{TRACE}-{SPAN}-01.x",
    f" {LINE}",
    f"00_{TRACE}-{SPAN}-01",
    f"00-{TRACE[:-1]}٣-{SPAN}-01",
    "x" * 1_000_000,
]


@pytest.mark.parametrize("line", WRONG, ids=lambda line: repr(line[:60]))
def test_anything_else_is_as_if_it_were_not_there(line: str) -> None:
    assert traceparent_of(line) is None
    assert traceparent_of(line.encode()) is None
    assert decode_message(AnomalyEvent, with_(line)) == event(5, 9)
    with pytest.raises(ValidationError, match="traceparent must be as W3C Trace Context has it"):
        AnomalyEvent.model_validate(event(5, 9).model_dump() | {"traceparent": line})


@pytest.mark.parametrize("value", [7, True, [LINE], {"of": LINE}])
def test_an_event_with_another_thing_under_the_name_is_read_without_it(value: object) -> None:
    assert decode_message(AnomalyEvent, with_(value)) == event(5, 9)


@given(
    st.binary(max_size=80)
    | st.text(max_size=80)
    | st.builds("-".join, st.lists(HEX, min_size=3, max_size=6))
    | st.builds(lambda at, by: (LINE[:at] + by + LINE[at + 1 :]).encode(), st.integers(0, 54), st.characters())
    | st.from_regex(PATTERN, fullmatch=True)
)
def test_whatever_comes_is_a_line_that_can_be_passed_on_or_nothing(value: str | bytes) -> None:
    found = traceparent_of(value)
    if found is None:
        return
    assert re.fullmatch(PATTERN, found)
    _, trace, span, _ = found.split("-")
    assert int(trace, 16) > 0 < int(span, 16)
    told = value.encode() if isinstance(value, str) else value
    assert trace.encode() in told
    assert span.encode() in told
    assert traceparent_of(found) == found
    assert decode_message(AnomalyEvent, with_(found)).traceparent == found


MEMBER = "rojo=00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (MEMBER, MEMBER),
        (f" {MEMBER} ,\t congo=t61 rcWkgMzE,", f"{MEMBER},congo=t61 rcWkgMzE"),
        ("tenant@system=!~-<>+", "tenant@system=!~-<>+"),
        ("0a=1", "0a=1"),
        (",".join(f"k{n}={'v' * 95}" for n in range(9)), ",".join(f"k{n}={'v' * 95}" for n in range(5))),
        (f"{MEMBER},{'k' * 256}={'v' * 256}", MEMBER),
        (None, None),
        ("", None),
        (" , ", None),
        ("rojo", None),
        ("=1", None),
        ("Rojo=1", None),
        ("rojo=1=2", None),
        ("rojo=", None),
        ("rojo=a\nb", None),
        ("rojo=\x7f", None),
        (f"{MEMBER},junk", None),
        (f"{'k' * 257}=1", None),
        (f"{'k' * 256}={'v' * 256}", None),
        ("rojo=é", None),
        (",".join([MEMBER] * 1000), None),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_state_is_passed_on_as_it_is_or_not_at_all(value: str | None, found: str | None) -> None:
    assert tracestate_of(value) == found
    assert tracestate_of(None if value is None else value.encode()) == found
    told = json.dumps(json.loads(with_(LINE)) | {"tracestate": value}).encode()
    assert decode_message(AnomalyEvent, told).tracestate == found
    assert decode_message(AnomalyEvent, told).traceparent == LINE
    if found is not None:
        assert tracestate_of(found) == found
        assert re.fullmatch(STATE_PATTERN, found)


def test_who_writes_a_state_that_is_none_is_told() -> None:
    with pytest.raises(ValidationError, match="tracestate must be as W3C Trace Context has it"):
        AnomalyEvent.model_validate(event(5, 9).model_dump() | {"tracestate": "junk"})


@given(st.binary(max_size=60) | st.text("ab=, \t-*/@1", max_size=40))
def test_whatever_comes_is_a_state_that_can_be_passed_on_or_nothing(value: str | bytes) -> None:
    found = tracestate_of(value)
    if found is not None:
        assert re.fullmatch(STATE_PATTERN, found)
        assert tracestate_of(found) == found
        told = json.dumps(json.loads(with_(LINE)) | {"tracestate": found}).encode()
        assert decode_message(AnomalyEvent, told).tracestate == found


def test_an_event_without_one_does_not_name_it() -> None:
    """So that it is, byte for byte, what it was before there were any."""
    assert b"traceparent" not in encode_message(event(5, 9))
    assert b"tracestate" not in encode_message(event(5, 9))
    assert json.loads(encode_message(decode_message(AnomalyEvent, with_(LINE))))["traceparent"] == LINE
