"""Finding, filtering and saving dead letters."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers.letters import NO_REASON, Letter, Wanted, find_letters, letter_of, printable, save_letter
from messaging.dead_letters import KEY, MESSAGE, REASON, SOURCE, dead_letter, shortened
from messaging.inprocess.bus import InProcessBus
from messaging.ports import Record, TopicSpec
from schemas.errors import BadMessageError

TOPIC = "site.dead-letters"
ALL = Wanted()
JPEG = b"\xff\xd8\xff\xe0 and so on"


@pytest.fixture
def bus() -> Iterator[InProcessBus]:
    made = InProcessBus()
    made.create_topics([TopicSpec(TOPIC, 3)])
    yield made
    made.close()


def record(offset: int, key: str = "gate", topic: str = "site.frames", value: bytes | None = b"v") -> Record:
    return Record(topic, 1, offset, key.encode(), value, (("engram", b'{"a": 1}'),), 0)


def give_up(bus: InProcessBus, given: Record, reason: str = "bad_frame") -> None:
    bus.publisher().publish(dead_letter(given, BadMessageError(reason, f"{reason} it is"), TOPIC, "w1"))


def look(bus: InProcessBus, wanted: Wanted = ALL, newest: int = 10) -> list[Letter]:
    return list(find_letters(bus.reader([TOPIC], True), wanted, newest, True, 1.0).newest)


def test_the_newest_are_kept_and_all_are_counted(bus: InProcessBus) -> None:
    for offset in range(30):
        give_up(bus, record(offset, f"cam{offset % 3}"), "bad_frame" if offset % 2 else "wrong_key")
    found = find_letters(bus.reader([TOPIC], True), Wanted(), 4, False, 1.0)
    assert found.reasons == {"bad_frame": 15, "wrong_key": 15}
    assert found.topics == {"site.frames": 30}
    assert len(found.newest) == 4
    times = [letter.written_at for letter in found.newest if letter.written_at]
    assert times == sorted(times, reverse=True)
    assert all((letter.value, letter.num_bytes) == (b"", 1) for letter in found.newest)


@pytest.mark.parametrize(
    ("wanted", "keys"),
    [
        (Wanted(reason="wrong_key"), {"b"}),
        (Wanted(key="a"), {"a"}),
        (Wanted(topic="frames"), {"a", "b"}),
        (Wanted(topic="site.frames"), {"a", "b"}),
        (Wanted(topic="ames"), set()),
        (Wanted(topic="memory-updates"), {"shared"}),
        (Wanted(topic="frames", reason="bad_frame"), {"a"}),
    ],
)
def test_only_what_is_asked_for(bus: InProcessBus, wanted: Wanted, keys: set[str]) -> None:
    give_up(bus, record(1, "a"))
    give_up(bus, record(2, "b"), "wrong_key")
    give_up(bus, record(3, "shared", "site.memory-updates"))
    assert {letter.key for letter in look(bus, wanted)} == keys


def test_one_is_found_by_its_place(bus: InProcessBus) -> None:
    for offset in range(5):
        give_up(bus, record(offset))
    wanted = look(bus)[3]
    assert look(bus, Wanted(place=wanted.place), newest=1) == [wanted]
    assert look(bus, Wanted(place="9/9")) == []


def test_headers_of_the_record_are_told_and_those_of_the_letter_are_not(bus: InProcessBus) -> None:
    give_up(bus, record(7))
    letter = look(bus)[0]
    assert letter.headers == (("engram", '{"a": 1}'),)
    assert letter.source == "site.frames/1/7"


def test_what_was_left_out_is_said() -> None:
    letter = shortened(dead_letter(record(1, value=b"x" * 1000), BadMessageError("too_large", "no"), TOPIC, "w"))
    found = letter_of(Record(TOPIC, 0, 0, letter.key.encode(), letter.value, letter.headers, 0))
    assert (found.num_bytes, found.num_left_out) == (0, 1000)


def test_a_record_that_is_no_letter_is_shown_all_the_same() -> None:
    found = letter_of(Record(TOPIC, 0, 0, None, None, ((SOURCE, b"odd"), ("engram-bytes-left-out", b"-5")), -1))
    assert (found.reason, found.topic, found.written_at, found.num_left_out) == (NO_REASON, "", None, 0)


def test_no_letter_writes_to_the_terminal_what_it_likes() -> None:
    evil = b"\x1b[2Jgone\r\n\x07\xff"
    headers = ((REASON, evil), (MESSAGE, evil), (KEY, evil), (evil.decode("utf-8", "replace"), evil))
    found = letter_of(Record(TOPIC, 0, 0, evil, evil, headers, 0))
    for text in (found.reason, found.message, found.key, *found.headers[0]):
        assert text.isprintable()
        assert "gone" in text
    assert printable("Straße 1 - ok") == "Straße 1 - ok"


@pytest.mark.parametrize(("value", "ending"), [(JPEG, ".jpg"), (b"{}", ".bin"), (b"", ".bin")])
def test_saved_bytes_are_as_they_came_with_the_facts_beside_them(
    bus: InProcessBus, tmp_path: Path, value: bytes, ending: str
) -> None:
    give_up(bus, record(1, "../../etc/passwd", value=value))
    letter = look(bus)[0]
    path = save_letter(letter, tmp_path / "new" / "letters")
    assert path.parent == tmp_path / "new" / "letters"
    assert (path.suffix, path.read_bytes()) == (ending, value)
    assert json.loads(path.with_suffix(".json").read_text())["reason"] == "bad_frame"
    assert len(list(tmp_path.rglob("*.*"))) == 2
