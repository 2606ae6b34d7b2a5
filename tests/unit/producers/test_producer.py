"""Several cameras in one process, and stopping in time."""

import threading

import pytest

from producers.feed import CameraFeed
from producers.pacing import PacingOptions
from producers.producer import Producer, ProducerOptions
from schemas.errors import FatalError, SettingsError
from tests.unit.producers.memory_publisher import MemoryPublisher
from tests.unit.producers.scripted_source import ScriptedSource, plain

BACKFILL = PacingOptions(mode="backfill")


def test_all_cameras_run_to_their_end() -> None:
    publisher = MemoryPublisher()
    feeds = [CameraFeed(f"cam{n}", ScriptedSource([plain()] * (n + 1)), pacing=BACKFILL) for n in range(3)]
    producer = Producer(feeds, publisher, ProducerOptions(topic="t.frames"))
    producer.run()
    for number in range(3):
        own = [header for header in publisher.headers if header.camera_id == f"cam{number}"]
        assert [header.frame_index for header in own] == list(range(number + 2))
        assert own[-1].kind == "end_of_session"
        assert producer.snapshot()[f"cam{number}"].counts.sent == number + 1
    assert {record.topic for record in publisher.records} == {"t.frames"}
    assert "cam2: 3 captured, 3 sent" in producer.summary()


def test_each_session_has_its_own_name() -> None:
    feeds = [CameraFeed(name, ScriptedSource([plain()]), pacing=BACKFILL) for name in ("a", "b")]
    snapshot = Producer(feeds, MemoryPublisher()).snapshot()
    assert snapshot["a"].session_id != snapshot["b"].session_id


def test_a_broken_camera_does_not_stop_the_others() -> None:
    publisher = MemoryPublisher()
    broken = CameraFeed("broken", ScriptedSource([plain()], error=FatalError("disk gone")), pacing=BACKFILL)
    whole = CameraFeed("whole", ScriptedSource([plain()] * 5), pacing=BACKFILL)
    producer = Producer([broken, whole], publisher)
    with pytest.raises(FatalError, match="broken: disk gone"):
        producer.run()
    assert producer.snapshot()["whole"].counts.sent == 5
    assert producer.snapshot()["broken"].error == "disk gone"


def test_stop_ends_live_cameras_and_their_sessions() -> None:
    publisher = MemoryPublisher()
    sources = [ScriptedSource([plain()] * 3, is_live=True, ends=False) for _ in range(2)]
    producer = Producer([CameraFeed(f"cam{n}", source) for n, source in enumerate(sources)], publisher)
    producer.start()
    assert all(source.exhausted.wait(10) for source in sources)
    assert producer.stop()
    assert [header.kind for header in publisher.headers].count("end_of_session") == 2
    assert all(one.counts.sent == 3 for one in producer.snapshot().values())


def test_run_returns_after_a_stop_from_elsewhere() -> None:
    source = ScriptedSource([plain()], is_live=True, ends=False)
    producer = Producer([CameraFeed("cam", source)], MemoryPublisher())
    thread = threading.Thread(target=producer.run)
    thread.start()
    assert source.exhausted.wait(10)
    producer.request_stop()
    thread.join(10)
    assert not thread.is_alive()


def test_a_file_that_plays_at_its_own_pace_stops_at_once() -> None:
    source = ScriptedSource([plain()] * 5, fps=0.01)
    publisher = MemoryPublisher()
    producer = Producer([CameraFeed("cam", source, pacing=PacingOptions(mode="live"))], publisher)
    producer.start()
    publisher.wait_until(lambda: len(publisher.records) >= 1)
    assert producer.stop()
    assert publisher.headers[-1].kind == "end_of_session"


def test_a_camera_that_hangs_is_left_behind_at_the_deadline(caplog) -> None:
    class Hanging(ScriptedSource):
        def close(self) -> None:
            return

    source = Hanging([plain()], is_live=True, ends=False)
    producer = Producer([CameraFeed("cam", source)], MemoryPublisher(), ProducerOptions(drain_timeout_s=0.2))
    producer.start()
    assert source.exhausted.wait(10)
    assert not producer.stop()
    assert "left behind: feed cam" in caplog.text
    source.closed.set()


def test_what_cannot_be_delivered_in_time_is_an_error() -> None:
    class Stuck(MemoryPublisher):
        def flush(self, timeout_s: float) -> bool:
            assert 0 <= timeout_s <= 0.5
            return False

    feed = CameraFeed("cam", ScriptedSource([plain()]), pacing=BACKFILL)
    producer = Producer([feed], Stuck(holds=True), ProducerOptions(drain_timeout_s=0.5))
    with pytest.raises(FatalError, match=r"within 0\.5 s .* 1 in flight"):
        producer.run()


def test_the_deadline_holds_while_there_is_no_room() -> None:
    publisher = MemoryPublisher(room=1, holds=True)
    feed = CameraFeed("cam", ScriptedSource([plain()] * 50), pacing=BACKFILL)
    producer = Producer([feed], publisher, ProducerOptions(drain_timeout_s=0.5))
    producer.start()
    publisher.wait_until(lambda: publisher.num_refused > 0)
    stopper = threading.Thread(target=producer.stop)
    stopper.start()
    stopper.join(20)
    assert not stopper.is_alive()
    counts = producer.snapshot()["cam"].counts
    assert counts.captured == counts.sent + counts.in_flight + counts.sampled_out + counts.num_dropped


def test_feeds_are_checked() -> None:
    with pytest.raises(SettingsError, match="one feed or more"):
        Producer([], MemoryPublisher())
    twice = [CameraFeed("cam", ScriptedSource([])), CameraFeed("cam", ScriptedSource([]))]
    with pytest.raises(SettingsError, match="each camera once"):
        Producer(twice, MemoryPublisher())
    with pytest.raises(SettingsError, match="fps must be set"):
        Producer([CameraFeed("cam", ScriptedSource([], fps=None))], MemoryPublisher())
