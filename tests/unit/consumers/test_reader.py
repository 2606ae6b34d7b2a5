"""The readers against a real in-process log."""

import json
import threading
from collections.abc import Collection, Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.letters import Wanted, find_letters, letter_of
from consumers.reader import EventReader, ScoreReader, followed
from consumers.sieve import TELL_S
from messaging.dead_letters import dead_letter
from messaging.inprocess.bus import InProcessBus
from messaging.ports import OutRecord, Places, Record, TopicSpec
from schemas.codec import encode_message
from schemas.errors import BadMessageError, TransientError
from schemas.messages import AnomalyEvent, FrameScore
from tests.unit.consumers.samples import event, score

TOPIC = "messages"


@pytest.fixture
def bus() -> Iterator[InProcessBus]:
    made = InProcessBus()
    made.create_topics([TopicSpec(TOPIC, 2)])
    yield made
    made.close()


def publish(bus: InProcessBus, *messages: AnomalyEvent | FrameScore | bytes) -> None:
    publisher = bus.publisher()
    for message in messages:
        value = message if isinstance(message, bytes) else encode_message(message)
        key = "cam1" if isinstance(message, bytes | FrameScore) else message.partitionkey
        publisher.publish(OutRecord(TOPIC, key, value))


def test_events_come_once_and_in_order(bus: InProcessBus) -> None:
    start, update, end = event(5, 5), event(5, 15, "update", 1), event(5, 18, "end", 2)
    publish(bus, start, update, start, end, update)
    reader = EventReader(bus.reader([TOPIC], from_beginning=True))
    assert reader.read_to_end(1.0) == [start, update, end]
    assert (reader.counts.received, reader.counts.taken, reader.counts.repeated) == (5, 3, 2)


def test_a_repeat_is_known_by_its_source_too(bus: InProcessBus) -> None:
    one = event(5, 5)
    other = one.model_copy(update={"source": "/engram/elsewhere"})
    publish(bus, one, other)
    assert EventReader(bus.reader([TOPIC], from_beginning=True)).read_to_end(1.0) == [one, other]


def test_bad_messages_are_counted_by_reason_and_skipped(bus: InProcessBus) -> None:
    good = event(5, 5)
    publish(bus, b"no json", good, b'{"a": 1}', b'{"schema_version": 1}', b"[" * 2000, b"")
    reader = EventReader(bus.reader([TOPIC], from_beginning=True))
    assert reader.read_to_end(1.0) == [good]
    assert reader.counts.bad.total() == 5
    assert reader.counts.received == reader.counts.taken + reader.counts.bad.total()


def test_a_future_event_is_told_as_such_with_what_to_do(bus: InProcessBus, caplog: pytest.LogCaptureFixture) -> None:
    publish(bus, encode_message(event(5, 5)).replace(b'"schema_version":1', b'"schema_version":2'))
    reader = EventReader(bus.reader([TOPIC], from_beginning=True))
    assert reader.read_to_end(1.0) == []
    assert reader.counts.bad == {"future_version": 1}
    assert "update Engram here" in caplog.text


def test_tombstones_are_skipped(bus: InProcessBus) -> None:
    bus.publisher().publish(OutRecord(TOPIC, "cam1", None))
    reader = EventReader(bus.reader([TOPIC], from_beginning=True))
    assert reader.read_to_end(1.0) == []
    assert reader.counts.bad.total() == 1


def test_of_many_bad_messages_one_a_minute_and_reason_is_told(
    bus: InProcessBus, caplog: pytest.LogCaptureFixture
) -> None:
    now_s = [0.0]
    reader = EventReader(bus.reader([TOPIC], from_beginning=True), clock=lambda: now_s[0])
    publish(bus, *[b"no json"] * 50, b'{"a": 1}', *[b'{"data": {"schema_version": 9}}'] * 50)
    reader.read_to_end(1.0)
    told = [record.message for record in caplog.records]
    assert len(told) == len(reader.counts.bad) == 2
    now_s[0] = TELL_S
    publish(bus, b"no json")
    reader.read_to_end(1.0)
    assert "so far: 52 foreign, 50 future_version" in caplog.records[-1].message
    assert reader.counts.told_bad() == "52 foreign, 50 future_version"


def test_a_warning_moves_no_cursor(bus: InProcessBus, caplog: pytest.LogCaptureFixture) -> None:
    publish(bus, json.dumps({"data": {"schema_version": "\x1b[2J"}}).encode(), b"\x1b[2J")
    EventReader(bus.reader([TOPIC], from_beginning=True)).read_to_end(1.0)
    assert "\x1b" not in caplog.text


def test_a_follower_waits_for_a_broker_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    answers: list[list[int] | None] = [[1], None, None, [2]]
    stop = Impatient()

    def read(wait_s: float) -> list[int]:
        answer = answers.pop(0)
        if not answers:
            stop.set()
        if answer is None:
            raise TransientError("the broker is away")
        return answer

    assert list(followed(read, stop)) == [[1], [2]]
    assert caplog.text.count("the broker is away") == 2


class Impatient(threading.Event):
    """Waits for nothing."""

    def wait(self, timeout: float | None = None) -> bool:
        """See ``threading.Event``."""
        return self.is_set()


NAMES = st.text(max_size=20) | st.just("engram") | st.just("bad\udcff")
PIECES = st.one_of(
    st.none(),
    st.binary(max_size=300),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=16), inner, max_size=4),
    ).map(lambda value: json.dumps(value).encode()),
    st.sampled_from([b"[" * 5000, b"9" * 5000, b'{"a":' * 2000, b"\xff\xfe", b"NaN", b"1e999"]),
    st.builds(
        lambda path, value: changed(encode_message(event(5, 5)), path, value),
        st.sampled_from(["data", "time", "sequence", "id", "data.captured_at", "data.frames", "data.schema_version"]),
        st.sampled_from([None, -1, 10**30, 1e308, "", "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z", [], {}]),
    ),
)
RECORDS = st.builds(
    Record,
    topic=st.just(TOPIC),
    partition=st.integers(0, 9),
    offset=st.integers(0, 2**63 - 1),
    key=st.none() | st.binary(max_size=50),
    value=PIECES,
    headers=st.lists(
        st.tuples(
            st.text(max_size=20) | st.just("engram") | st.just("bad\udcff"), PIECES.map(lambda piece: piece or b"")
        ),
        max_size=4,
    ).map(tuple),
    timestamp_ms=st.sampled_from([-(2**63), -1, 0, 1_700_000_000_000, 2**63 - 1]),
)


def changed(value: bytes, path: str, content: object) -> bytes:
    """The JSON ``value`` with something else at ``path``."""
    document = json.loads(value)
    *parents, last = path.split(".")
    inner = document
    for parent in parents:
        inner = inner[parent]
    inner[last] = content
    return json.dumps(document).encode()


class Given:
    """A reader of these records."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records

    def read(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        """All of them."""
        return self._records

    def read_to_end(self, timeout_s: float) -> Sequence[Record]:
        """All of them."""
        return self._records

    def batches_to_end(self, timeout_s: float) -> Iterator[Sequence[Record]]:
        """All of them at once."""
        yield self._records

    def lag(self) -> int:
        """They stay where they are."""
        return len(self._records)

    def partitions(self) -> Collection[tuple[str, int]]:
        """Those of the records."""
        return {(record.topic, record.partition) for record in self._records}

    def seek(self, places: Places) -> Places:
        """Nowhere else."""
        return places

    def seek_time(self, timestamp_ms: int) -> None:
        """Nowhere else."""

    def close(self) -> None:
        """Nothing."""


@pytest.mark.parametrize("kind", [EventReader, ScoreReader])
@given(records=st.lists(RECORDS, max_size=5))
def test_whatever_lies_on_a_topic_is_a_message_or_skipped_with_its_reason(
    kind: type[EventReader] | type[ScoreReader], records: list[Record]
) -> None:
    reader = kind(Given(records))
    messages = reader.read_to_end(0.0)
    counts = reader.counts
    assert counts.received == len(records)
    assert counts.received == counts.taken + counts.repeated + counts.bad.total()
    assert counts.taken == len(messages)
    for message in messages:
        assert isinstance(message, AnomalyEvent | FrameScore)


@given(st.lists(RECORDS, max_size=5))
def test_whatever_lies_among_the_dead_letters_is_a_letter(records: list[Record]) -> None:
    found = find_letters(Given(records), Wanted(), 3, True, 0.0)
    assert found.reasons.total() == len(records)
    assert len(found.newest) == min(3, len(records))
    for letter in found.newest:
        text = json.dumps(letter.facts())
        assert text.encode()
        assert all(sign.isprintable() for sign in letter.reason + letter.message + letter.key + letter.source)


@given(st.lists(RECORDS.filter(lambda record: record.value), max_size=5))
def test_a_record_that_was_given_up_is_found_with_what_was_known_of_it(records: list[Record]) -> None:
    for record in records:
        sent = dead_letter(record, BadMessageError("bad_frame", "no"), "dead-letters", "w1")
        letter = letter_of(Record("dead-letters", 0, 7, sent.key.encode(), sent.value, sent.headers, 0))
        assert (letter.reason, letter.message, letter.author) == ("bad_frame", "no", "w1")
        assert letter.source == f"{TOPIC}/{record.partition}/{record.offset}"
        assert letter.topic == TOPIC
        assert letter.value == record.value


def test_only_the_cameras_asked_for(bus: InProcessBus) -> None:
    mine, other = event(5, 5), event(5, 5, camera_id="cam2")
    publish(bus, other, mine)
    reader = EventReader(bus.reader([TOPIC], from_beginning=True), camera_ids=["cam1"])
    assert reader.read_to_end(1.0) == [mine]
    assert reader.counts.filtered == 1


def test_the_memory_of_repeats_is_bounded(bus: InProcessBus) -> None:
    first, second, third = (event(number, number) for number in range(3))
    publish(bus, first, second, second, third, first)
    reader = EventReader(bus.reader([TOPIC], from_beginning=True), memory=2)
    assert reader.read_to_end(1.0) == [first, second, third, first]


def test_scores_come_once_a_frame(bus: InProcessBus) -> None:
    rows = [score(1), score(2, None), score(1, camera_id="cam2")]
    publish(bus, *rows, score(1, 0.5))
    reader = ScoreReader(bus.reader([TOPIC], from_beginning=True))
    assert sorted(reader.read_to_end(1.0), key=str) == sorted(rows, key=str)
    assert reader.counts.repeated == 1


def test_scores_of_a_newer_version_are_named_as_such(bus: InProcessBus) -> None:
    publish(bus, encode_message(score(1)).replace(b'"schema_version":1', b'"schema_version":2'))
    reader = ScoreReader(bus.reader([TOPIC], from_beginning=True))
    assert reader.read_to_end(1.0) == []
    assert reader.counts.bad == {"future_version": 1}


def test_following_starts_now_and_ends_at_the_deadline(bus: InProcessBus) -> None:
    publish(bus, score(1))
    reader = ScoreReader(bus.reader([TOPIC], from_beginning=False))
    assert reader.read(0.0) == []
    publish(bus, score(2))
    assert reader.read(1.0) == [score(2)]
    reader.close()
