"""The archive: folding, exactly once, retention, questions, and files that are none."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from consumers.archive import VERSION, Archive, Query
from consumers.archiving import FORGET_INTERVAL_S, Archiver
from messaging.inprocess.bus import InProcessBus
from messaging.ports import OutRecord, TopicSpec
from schemas.codec import encode_message
from schemas.errors import DamagedError, FatalError, TransientError
from schemas.messages import AnomalyEvent
from tests.unit.consumers.samples import ORIGIN, at, event

TOPIC = "events"
START, UPDATE, END = event(5, 5), event(5, 15, "update", 1), event(5, 18, "end", 2)
OTHER = event(700, 800, "end", 1, "cam2")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


@pytest.fixture
def archive(path: Path) -> Iterator[Archive]:
    made = Archive(path, "write")
    yield made
    made.close()


@pytest.fixture
def bus() -> Iterator[InProcessBus]:
    made = InProcessBus()
    made.create_topics([TopicSpec(TOPIC, 2)])
    yield made
    made.close()


def put(archive: Archive, *messages: AnomalyEvent, positions: Sequence[int] = ()) -> None:
    places = {(TOPIC, number): offset for number, offset in enumerate(positions)}
    archive.add([(message, encode_message(message)) for message in messages], places)


def tell(bus: InProcessBus, *messages: AnomalyEvent | bytes) -> None:
    for message in messages:
        value = message if isinstance(message, bytes) else encode_message(message)
        key = "stray" if isinstance(message, bytes) else message.partitionkey
        bus.publisher().publish(OutRecord(TOPIC, key, value))


def archiver(bus: InProcessBus, archive: Archive) -> Archiver:
    return Archiver(bus.reader([TOPIC], from_beginning=True), archive, TOPIC, None, lambda: at(0))


def found(archive: Archive, query: Query | None = None) -> list[str]:
    return [entry.event_id for entry in archive.find(query or Query())]


@pytest.mark.parametrize("order", [(START, UPDATE, END), (END, START, UPDATE), (UPDATE, END, START, END, START)])
def test_an_event_is_folded_to_its_newest_state(archive: Archive, order: Sequence[AnomalyEvent]) -> None:
    for message in order:
        put(archive, message)
    entry = archive.get(START.data.event_id)
    assert entry is not None
    assert (entry.phase, entry.end_reason, entry.ended_at, entry.last_at) == ("end", "cleared", at(18), at(18))
    assert AnomalyEvent.model_validate_json(entry.body) == END
    assert [(one.phase, one.last_frame, one.time) for one in archive.phases(entry.event_id)] == [
        ("start", 5, at(5)),
        ("update", 15, at(15)),
        ("end", 18, at(18)),
    ]
    assert archive.count() == {"event": 1, "phase": 3}


def test_what_this_version_does_not_know_is_kept(archive: Archive) -> None:
    body = encode_message(END).replace(b'{"specversion"', b'{"later":{"a":1},"specversion"')
    archive.add([(END, body)], {})
    entry = archive.get(END.data.event_id)
    assert entry is not None
    assert json.loads(entry.body)["later"] == {"a": 1}


def test_events_and_positions_are_written_together_or_not_at_all(archive: Archive) -> None:
    put(archive, START, positions=[3, 1])

    def broken() -> Iterator[tuple[AnomalyEvent, bytes]]:
        yield OTHER, encode_message(OTHER)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        archive.add(broken(), {(TOPIC, 0): 9})
    assert found(archive) == [START.data.event_id]
    assert archive.positions(TOPIC) == {(TOPIC, 0): 3, (TOPIC, 1): 1}
    assert archive.positions("another") == {}


def test_a_full_disk_is_said_and_loses_nothing(bus: InProcessBus, archive: Archive, path: Path) -> None:
    put(archive, OTHER)
    long = [event(number, number, camera_id=f"cam{number}") for number in range(60)]
    tell(bus, *long)
    (num_pages,) = archive._connection.execute("PRAGMA page_count").fetchone()
    archive._connection.execute(f"PRAGMA max_page_count = {num_pages}")
    follower = archiver(bus, archive)
    for _ in range(2):
        with pytest.raises(TransientError, match="database or disk is full"):
            follower.step(0.0)
    assert found(archive) == [OTHER.data.event_id]
    assert archive.positions(TOPIC) == {}
    archive._connection.execute("PRAGMA max_page_count = 1000000")
    follower.to_end(1.0)
    assert set(found(archive)) == {OTHER.data.event_id, *(one.data.event_id for one in long)}
    assert sum(archive.positions(TOPIC).values()) == 60


def test_an_archiver_goes_on_where_the_file_says(bus: InProcessBus, archive: Archive, path: Path) -> None:
    tell(bus, START, b"no json", UPDATE)
    first = archiver(bus, archive)
    first.to_end(1.0)
    assert first.counts.bad == {"foreign": 1}
    tell(bus, END, OTHER)
    with closing(Archive(path, "write")) as again:
        second = archiver(bus, again)
        assert [record.value for record in second.step(1.0)] == [encode_message(END), encode_message(OTHER)]
    assert archive.count() == {"event": 2, "phase": 4}


@pytest.mark.parametrize("positions", [[], [0, 0, 7]], ids=["a new file", "of a topic that was made again"])
def test_another_writer_is_waited_for(bus: InProcessBus, archive: Archive, path: Path, positions: list[int]) -> None:
    put(archive, positions=positions)
    archive._connection.execute("PRAGMA busy_timeout = 10")
    tell(bus, START)
    follower = archiver(bus, archive)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TransientError, match="locked"):
            follower.step(0.0)
        other.execute("ROLLBACK")
    follower.step(0.0)
    assert found(archive) == [START.data.event_id]


def test_a_topic_that_was_made_again_is_read_from_its_start(
    bus: InProcessBus, archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    put(archive, positions=[500, 0])
    tell(bus, START, OTHER)
    archiver(bus, archive).to_end(1.0)
    assert "events does not reach so far as it was read (events/0), it was made again: from its start" in caplog.text
    assert len(found(archive)) == 2


def test_a_topic_made_again_with_fewer_partitions_is_read_from_its_start_and_said_so_once(
    bus: InProcessBus, archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    """What was known of the partitions that there still are is of another log, also where this one reaches so far."""
    put(archive, positions=[1, 1, 7, 1])
    for number in range(20):
        tell(bus, event(number, number, "end", 1, f"cam{number}"))
    farther = {(TOPIC, 0): 2, (TOPIC, 1): 2}
    assert bus.reader([TOPIC], from_beginning=True).seek(farther) == farther
    archiver(bus, archive).to_end(1.0)
    assert len(found(archive)) == 20
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "events does not reach so far as it was read (events/2, events/3), it was made again" in told
    caplog.clear()
    tell(bus, END)
    archiver(bus, archive).to_end(1.0)
    assert not caplog.records, "the next time it goes on as ever"
    assert len(found(archive)) == 21
    assert sum(archive.positions(TOPIC).values()) == 21


def test_old_events_are_deleted_with_their_phases(archive: Archive) -> None:
    put(archive, START, END, OTHER)
    assert archive.forget_before(at(18)) == 0
    assert archive.forget_before(at(19)) == 1
    assert found(archive) == [OTHER.data.event_id]
    assert archive.count() == {"event": 1, "phase": 1}


def test_the_file_gives_back_what_was_deleted(archive: Archive) -> None:
    put(archive, *(event(number, number) for number in range(500)))
    (before,) = archive._connection.execute("PRAGMA page_count").fetchone()
    while archive.forget_before(at(490), most=100):
        pass
    (after,) = archive._connection.execute("PRAGMA page_count").fetchone()
    assert after < before / 4


def test_retention_is_by_the_clock_and_once_a_minute(bus: InProcessBus, archive: Archive) -> None:
    now_s = [0.0]
    tell(bus, START)
    reader = bus.reader([TOPIC], from_beginning=True)
    now = [at(0)]
    follower = Archiver(reader, archive, TOPIC, timedelta(days=90), lambda: now[0], clock=lambda: now_s[0])
    follower.step(1.0)
    now[0] = at(0) + timedelta(days=91)
    follower.step(0.0)
    assert len(found(archive)) == 1
    now_s[0] = FORGET_INTERVAL_S
    follower.step(0.0)
    assert found(archive) == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query(), ["cam2:s1:700", "cam1:s1:5"]),
        (Query(newest=1), ["cam2:s1:700"]),
        (Query(cameras=["cam1"]), ["cam1:s1:5"]),
        (Query(cameras=["cam*"], newest=1), ["cam2:s1:700"]),
        (Query(cameras=["*1", "nowhere"]), ["cam1:s1:5"]),
        (Query(since=at(19)), ["cam2:s1:700"]),
        (Query(until=at(700)), ["cam1:s1:5"]),
        (Query(since=at(10), until=at(11)), ["cam1:s1:5"]),
        (Query(min_peak=0.98), []),
        (Query(cameras=["x' OR 1=1 --"]), []),
    ],
)
def test_events_are_found_by_camera_time_and_score(archive: Archive, query: Query, expected: list[str]) -> None:
    put(archive, START, END, OTHER)
    assert found(archive, query) == expected


def test_reading_needs_a_file_and_changes_none(path: Path, archive: Archive) -> None:
    with pytest.raises(FatalError, match="there is none; 'engram archive run' makes it"):
        Archive(path.with_name("other.db"), "read")
    assert not path.with_name("other.db").exists()
    put(archive, START)
    with closing(Archive(path, "read")) as reader:
        assert found(reader) == [START.data.event_id]
        with pytest.raises(TransientError, match="readonly"):
            put(reader, OTHER)


@pytest.mark.parametrize("mode", ["read", "write"])
@pytest.mark.parametrize(
    ("version", "message"), [(VERSION + 1, "a newer Engram wrote it; update this one"), (0, "an older Engram wrote it")]
)
def test_another_version_is_refused_as_such(
    path: Path, archive: Archive, mode: str, version: int, message: str
) -> None:
    put(archive, START)
    archive.close()
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA user_version = {version}")
    before = path.read_bytes()
    with pytest.raises(FatalError, match=message):
        Archive(path, mode)  # type: ignore[arg-type]
    assert path.read_bytes() == before


def test_another_database_and_what_is_none_are_left_alone(path: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE mine (a)")
    with pytest.raises(FatalError, match="it is another database; name another file"):
        Archive(path, "write")
    junk = tmp_path / "junk"
    junk.write_bytes(b"no database at all" * 100)
    with pytest.raises(DamagedError, match="file is not a database"):
        Archive(junk, "write")
    assert junk.read_bytes().startswith(b"no database")
    with pytest.raises(FatalError, match="in a folder that we may write"):
        Archive(tmp_path, "write")
    with pytest.raises(FatalError, match="in a folder that we may write"):
        Archive(junk / "events.db", "write")


def test_a_sequence_of_twenty_digits_is_one(archive: Archive) -> None:
    last = END.model_copy(update={"sequence": "9" * 20, "id": f"{END.data.event_id}:99"})
    put(archive, last, UPDATE)
    entry = archive.get(END.data.event_id)
    assert entry is not None
    assert entry.phase == "end"


def test_times_far_away_are_kept(archive: Archive) -> None:
    early = datetime(1970, 1, 1, tzinfo=ORIGIN.tzinfo)
    put(archive, START.model_copy(update={"data": START.data.model_copy(update={"started_at": early})}))
    assert next(archive.find(Query())).started_at == early
