"""A dead letter keeps what can be kept of any record at all, and can itself be published."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.dead_letters import (
    LEFT_OUT,
    MAX_KEPT_HEADERS,
    MAX_KEY_BYTES,
    MAX_MESSAGE_BYTES,
    dead_letter,
    is_letter,
    shortened,
)
from messaging.ports import OutRecord, Record
from schemas.codec import MAX_HEADER_BYTES
from schemas.errors import BadMessageError

ERROR = BadMessageError("foreign", "not ours")


def record(key: bytes | None = b"cam1", headers: tuple[tuple[str, bytes], ...] = ()) -> Record:
    return Record("frames", 2, 41, key, b"bytes as they came", headers, 0)


def test_it_keeps_the_bytes_and_says_why_where_and_who() -> None:
    letter = dead_letter(record(headers=(("other", b"kept"),)), ERROR, "letters", "w1")
    headers = dict(letter.headers)
    assert (letter.topic, letter.key, letter.value) == ("letters", "cam1", b"bytes as they came")
    assert headers == {
        "engram-reason": b"foreign",
        "engram-message": b"not ours",
        "engram-source": b"frames/2/41",
        "engram-author": b"w1",
        "other": b"kept",
    }


@pytest.mark.parametrize("key", [None, b"", b"\xff\xfe", b"k" * 150_000, "кам".encode()])
def test_any_key_can_be_buried_and_an_unfit_one_is_told_in_part(key: bytes | None) -> None:
    letter = dead_letter(record(key), ERROR, "letters", "w1")
    told = dict(letter.headers).get("engram-key", b"")
    assert 0 < len(letter.key.encode()) <= MAX_KEY_BYTES
    assert letter.key == "кам" if key == "кам".encode() else letter.key == "unknown"
    assert (key or b"").startswith(told)


def test_headers_are_kept_up_to_a_bound_together() -> None:
    many = tuple((f"h{number}", b"x" * (MAX_HEADER_BYTES // 4)) for number in range(20))
    kept = [name for name, _ in dead_letter(record(headers=many), ERROR, "letters", "w1").headers if name[0] == "h"]
    assert kept == ["h0", "h1", "h2"]


def test_an_error_about_unpaired_surrogates_can_be_told() -> None:
    letter = dead_letter(record(), BadMessageError("foreign", "got '\ud800'"), "letters", "w1")
    assert dict(letter.headers)["engram-message"] == b"got '?'"


def test_shortened_says_how_much_is_missing_and_where_it_is() -> None:
    letter = shortened(dead_letter(record(headers=(("other", b"x"),)), ERROR, "letters", "w1"))
    headers = dict(letter.headers)
    assert (letter.value, headers[LEFT_OUT]) == (b"", b"18")
    assert headers["engram-source"] == b"frames/2/41"
    assert "other" not in headers


def test_other_records_are_no_letters() -> None:
    assert is_letter(dead_letter(record(), ERROR, "letters", "w1"))
    assert not is_letter(OutRecord("scores", "cam1", b"{}"))


@given(
    key=st.none() | st.binary(max_size=600),
    headers=st.lists(st.tuples(st.text(max_size=40), st.binary(max_size=9000)), max_size=30),
    message=st.text(max_size=3000),
)
def test_whatever_came_the_letter_is_bounded(key: bytes | None, headers: list[tuple[str, bytes]], message: str) -> None:
    letter = dead_letter(record(key, tuple(headers)), BadMessageError("foreign", message), "letters", "w1")
    size = len(letter.key.encode()) + sum(len(name.encode()) + len(value) for name, value in letter.headers)
    assert size <= MAX_HEADER_BYTES + MAX_MESSAGE_BYTES + 3 * MAX_KEY_BYTES
    assert len(letter.headers) <= MAX_KEPT_HEADERS + 5
