"""What of a record fits into its dead letter."""

from collections.abc import Sequence
from typing import Any

import pytest
from kafka import TopicPartition

from messaging.dead_letters import (
    AUTHOR,
    KEY,
    LEFT_OUT,
    MAX_KEPT_HEADERS,
    MAX_KEY_BYTES,
    MAX_MESSAGE_BYTES,
    MESSAGE,
    REASON,
    SOURCE,
    dead_letter,
    shortened,
)
from messaging.ports import OutRecord, Record
from schemas.codec import MAX_HEADER_BYTES
from schemas.errors import BadMessageError

ZERO, ONE = TopicPartition("t", 0), TopicPartition("t", 1)


def record(key: bytes | None = b"cam1", value: bytes | None = b"v", headers: Sequence[Any] = ()) -> Record:
    return Record("frames", 2, 41, key, value, tuple(headers), 0)


@pytest.mark.parametrize(
    ("key", "kept", "told"),
    [
        (b"k" * MAX_KEY_BYTES, "k" * MAX_KEY_BYTES, None),
        (b"k" * (MAX_KEY_BYTES + 1), "unknown", b"k" * MAX_KEY_BYTES),
        (b"\xff" * 3, "unknown", b"\xff" * 3),
        (b"", "unknown", None),
        (None, "unknown", None),
    ],
)
def test_a_key_is_kept_where_it_can_be_and_else_told(key: bytes | None, kept: str, told: bytes | None) -> None:
    letter = dead_letter(record(key), BadMessageError("foreign", "x"), "letters", "w")
    assert (letter.key, dict(letter.headers).get(KEY)) == (kept, told)
    assert dict(shortened(letter).headers).get(KEY) == told


def test_a_message_and_the_headers_are_cut_at_their_bounds() -> None:
    many = [(f"h{number}", b"") for number in range(MAX_KEPT_HEADERS + 3)]
    letter = dead_letter(record(headers=many), BadMessageError("foreign", "m" * 2000), "letters", "w")
    told = dict(letter.headers)
    assert told[MESSAGE] == b"m" * MAX_MESSAGE_BYTES
    assert [name for name, _ in letter.headers if name.startswith("h")] == [f"h{n}" for n in range(MAX_KEPT_HEADERS)]


@pytest.mark.parametrize(("size", "is_kept"), [(MAX_HEADER_BYTES - 4, True), (MAX_HEADER_BYTES - 3, False)])
def test_headers_are_kept_to_the_last_byte_of_their_bound(size: int, is_kept: bool) -> None:
    """The name counts as it travels: four bytes."""
    letter = dead_letter(record(headers=[("ии", b"x" * size)]), BadMessageError("foreign", "x"), "letters", "w")
    assert ("ии" in dict(letter.headers)) == is_kept


def test_a_record_without_value_is_a_letter_with_an_empty_one() -> None:
    letter = dead_letter(record(value=None), BadMessageError("foreign", "x"), "letters", "w")
    assert letter.value == b""
    assert dict(shortened(OutRecord("letters", "k", None, letter.headers)).headers)[LEFT_OUT] == b"0"


def test_a_shortened_letter_has_everything_but_the_records_own() -> None:
    letter = dead_letter(record(b"\xff", headers=[("own", b"x")]), BadMessageError("foreign", "x"), "letters", "w")
    short = shortened(letter)
    assert (short.topic, short.key) == (letter.topic, letter.key)
    assert [name for name, _ in short.headers] == [REASON, MESSAGE, SOURCE, AUTHOR, KEY, LEFT_OUT]


def test_the_first_header_of_a_name_is_the_one() -> None:
    found = record(headers=[("a", b"1"), ("b", b""), ("a", b"2")])
    assert (found.header("a"), found.header("b"), found.header("c")) == (b"1", b"", None)
