"""The newest word on each camera, and whether anybody still speaks for it."""

from datetime import timedelta

from consumers.cameras import newest_statuses
from messaging.ports import Record
from schemas.cameras import CameraStatus
from schemas.codec import encode_message
from tests.unit.producers.scripted_source import START
from tests.unit.producers.test_rivals import status_of


def record(status: CameraStatus | None, key: str = "gate", value: bytes | None = None) -> Record:
    told = encode_message(status) if status is not None else value
    return Record("camera-status", 0, 0, key.encode(), told, (), 0)


def test_the_newest_of_each_by_name_and_silence_as_such() -> None:
    records = [
        record(status_of("s1", 0)),
        record(status_of("s1", 0, "stale")),
        record(status_of("s9", 0, camera_id="yard", reported_at=START - timedelta(minutes=5)), "yard"),
        record(status_of("s8", 0, "offline", camera_id="attic", reported_at=START - timedelta(days=1)), "attic"),
        record(None, "gate", b"{junk"),
    ]
    lines, num_bad = newest_statuses(records, START + timedelta(seconds=20))
    assert [(line.status.camera_id, line.state) for line in lines] == [
        ("attic", "offline"),
        ("gate", "stale"),
        ("yard", "silent"),
    ]
    assert num_bad == 1


def test_a_tombstone_forgets_a_camera_and_one_that_waits_hides_nobody() -> None:
    waiting = status_of("newer", 9, "waiting", rival="s1")
    lines, _ = newest_statuses([record(status_of("s1", 0)), record(waiting)], START)
    assert [(line.state, line.status.session_id) for line in lines] == [("online", "s1")]
    lines, _ = newest_statuses([record(status_of("s1", 0)), record(None)], START)
    assert lines == []
