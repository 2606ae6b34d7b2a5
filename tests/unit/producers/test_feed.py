"""One camera's session: indices, policies when the log is slow, and the end of the session."""

import logging
import threading
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.counters import FrameCounts
from producers.encoding import EncodingOptions
from producers.feed import CameraFeed, FeedRun, new_session_id
from producers.outlet import Outlet
from producers.pacing import PacingOptions
from schemas.errors import FatalError, SettingsError, TransientError
from schemas.messages import LATEST
from tests.unit.producers.memory_publisher import MemoryPublisher
from tests.unit.producers.scripted_source import START, ScriptedSource, noisy, plain

BACKFILL = PacingOptions(mode="backfill")


def feed_of(source: ScriptedSource, pacing: PacingOptions = BACKFILL, **fields: Any) -> CameraFeed:
    return CameraFeed("gate-1", source, pacing=pacing, session_id="s1", **fields)


def run_feed(feed: CameraFeed, publisher: MemoryPublisher) -> FeedRun:
    run = FeedRun(feed, Outlet(publisher, "frames", lambda: START))
    run.run()
    return run


def balances(counts: FrameCounts) -> bool:
    return counts.captured == counts.sent + counts.in_flight + counts.sampled_out + counts.num_dropped


def test_frames_in_order_then_the_end() -> None:
    publisher = MemoryPublisher()
    source = ScriptedSource([plain(50), plain(100), plain(150)])
    run = run_feed(feed_of(source), publisher)
    assert [header.frame_index for header in publisher.frames] == [0, 1, 2]
    assert {record.key for record in publisher.records} == {"gate-1"}
    assert {record.topic for record in publisher.records} == {"frames"}
    assert all(record.value and record.value.startswith(b"\xff\xd8") for record in publisher.records[:3])
    first, end = publisher.headers[0], publisher.headers[-1]
    assert (first.session_id, first.width, first.height, first.fps, first.clock) == ("s1", 64, 48, 10.0, "media")
    assert (end.kind, end.frame_index, end.width) == ("end_of_session", 3, 0)
    assert end.captured_at == publisher.frames[-1].captured_at
    assert publisher.records[-1].value == b""
    assert run.counts().sent == run.counts().captured == 3
    assert run.counts().sent_bytes == sum(len(record.value or b"") for record in publisher.records)
    assert source.closed.is_set()


def test_a_time_that_no_frame_can_have_ends_the_session_as_any_fault_does() -> None:
    publisher = MemoryPublisher()
    run = run_feed(feed_of(ScriptedSource([plain()] * 9, start=LATEST - timedelta(seconds=0.25))), publisher)
    assert [header.frame_index for header in publisher.frames] == [0, 1, 2]
    assert "must be captured from 1970 to 2200, got 2200-01-01T00:00:00Z; check producer.start" in str(run.error)
    assert publisher.headers[-1].kind == "end_of_session"
    assert publisher.headers[-1].captured_at == publisher.frames[-1].captured_at
    assert (run.counts().sent, run.counts().dropped["broken"]) == (3, 1)
    assert balances(run.counts())


def test_sampled_out_frames_take_no_index() -> None:
    publisher = MemoryPublisher()
    source = ScriptedSource([plain()] * 30, fps=30.0)
    run = run_feed(feed_of(source, PacingOptions(fps=10, mode="backfill")), publisher)
    assert [header.frame_index for header in publisher.frames] == list(range(10))
    assert {header.fps for header in publisher.headers} == {10.0}
    assert run.counts().sampled_out == 20


def test_a_frame_that_is_too_large_leaves_a_gap(caplog) -> None:
    publisher = MemoryPublisher()
    source = ScriptedSource([plain(), noisy(), plain()])
    run = run_feed(feed_of(source, encoding=EncodingOptions(max_bytes=2048)), publisher)
    assert [header.frame_index for header in publisher.frames] == [0, 2]
    assert run.counts().dropped == {"too_large": 1}
    assert "1 frames dropped as too_large" in caplog.text


def test_a_record_the_log_refuses_leaves_a_gap() -> None:
    publisher = MemoryPublisher(max_value_bytes=2048)
    run = run_feed(feed_of(ScriptedSource([plain(), noisy(), plain()])), publisher)
    assert [header.frame_index for header in publisher.frames] == [0, 2]
    assert run.counts().dropped == {"record_too_large": 1}


def test_live_drops_the_newest_when_the_buffer_is_full() -> None:
    publisher = MemoryPublisher(room=2, holds=True)
    source = ScriptedSource([plain()] * 5, is_live=True, ends=False)
    run = FeedRun(feed_of(source, PacingOptions(mode="live")), Outlet(publisher, "frames", lambda: START))
    thread = threading.Thread(target=run.run)
    thread.start()
    assert source.exhausted.wait(10)
    assert run.counts().dropped == {"buffer_full": 3}
    assert run.counts().in_flight == 2
    publisher.finish()
    source.close()
    thread.join(10)
    assert not thread.is_alive()
    assert [header.frame_index for header in publisher.headers] == [0, 1, 5]
    assert balances(run.counts())


def test_backfill_waits_for_room_and_loses_nothing() -> None:
    publisher = MemoryPublisher(room=2, holds=True)
    run = FeedRun(feed_of(ScriptedSource([plain()] * 6)), Outlet(publisher, "frames", lambda: START))
    thread = threading.Thread(target=run.run)
    thread.start()
    for num_taken in range(2, 7):

        def is_full(taken: int = num_taken) -> bool:
            return publisher.num_refused > 0 and len(publisher.records) >= taken

        publisher.wait_until(is_full)
        assert run.counts().dropped == {}
        publisher.finish(num=1)
    publisher.wait_until(lambda: len(publisher.records) == 7)
    thread.join(10)
    publisher.finish()
    assert [header.frame_index for header in publisher.frames] == list(range(6))
    assert publisher.headers[-1].kind == "end_of_session"
    assert run.counts().sent == 6


def test_stopping_ends_the_wait_for_room() -> None:
    publisher = MemoryPublisher(room=1, holds=True)
    outlet = Outlet(publisher, "frames", lambda: START)
    run = FeedRun(feed_of(ScriptedSource([plain()] * 3)), outlet)
    thread = threading.Thread(target=run.run)
    thread.start()
    publisher.wait_until(lambda: publisher.num_refused > 0)
    outlet.request_stop(timeout_s=0.3)
    thread.join(10)
    assert not thread.is_alive()
    assert run.counts().dropped == {"stopped": 2}
    assert balances(run.counts())


def test_a_frame_that_was_not_delivered_is_counted(caplog) -> None:
    publisher = MemoryPublisher(holds=True)
    run = run_feed(feed_of(ScriptedSource([plain()] * 4)), publisher)
    publisher.finish(TransientError("broker away"), num=3)
    publisher.finish()
    assert run.counts().dropped == {"publish_failed": 3}
    assert run.counts().sent == 1
    # The first and the second are logged, the third is not: a broker that is away must not flood the log.
    assert caplog.text.count("publish_failed: broker away") == 2


def test_the_lost_end_of_a_session_is_told(caplog) -> None:
    publisher = MemoryPublisher(holds=True)
    run_feed(feed_of(ScriptedSource([plain()])), publisher)
    publisher.finish(num=1)
    publisher.finish(TransientError("broker away"))
    assert "the end of session s1 was not delivered: broker away" in caplog.text


def test_a_source_that_breaks_ends_its_session(caplog) -> None:
    publisher = MemoryPublisher()
    run = run_feed(feed_of(ScriptedSource([plain()] * 2, error=FatalError("disk gone"))), publisher)
    assert str(run.error) == "disk gone"
    assert [header.kind for header in publisher.headers] == ["frame", "frame", "end_of_session"]
    assert "session s1 broke" in caplog.text
    assert balances(run.counts())


def test_a_publisher_that_breaks_ends_the_session() -> None:
    class Broken(MemoryPublisher):
        def publish(self, record, on_done=None) -> None:
            raise FatalError("closed")

    run = run_feed(feed_of(ScriptedSource([plain()] * 2)), Broken())
    assert str(run.error) == "closed"
    assert run.counts().dropped == {"broken": 1}
    assert run.counts().captured == 1


def test_an_empty_session_has_an_end_too() -> None:
    publisher = MemoryPublisher()
    run_feed(feed_of(ScriptedSource([])), publisher)
    assert [(header.kind, header.frame_index) for header in publisher.headers] == [("end_of_session", 0)]


def test_ends_after_so_many_frames() -> None:
    publisher = MemoryPublisher()
    run_feed(feed_of(ScriptedSource([plain()] * 9), PacingOptions(mode="backfill", num_frames=4)), publisher)
    assert len(publisher.frames) == 4
    assert publisher.headers[-1].frame_index == 4


def test_the_picture_may_change_its_size() -> None:
    publisher = MemoryPublisher()
    run_feed(feed_of(ScriptedSource([plain(width=64), plain(width=128)])), publisher)
    assert [header.width for header in publisher.frames] == [64, 128]
    resized = MemoryPublisher()
    encoding = EncodingOptions(size=(32, 32))
    run_feed(feed_of(ScriptedSource([plain(width=64), plain(width=128)]), encoding=encoding), resized)
    assert [header.width for header in resized.frames] == [32, 32]


@settings(deadline=None, max_examples=40)
@given(
    kinds=st.lists(st.sampled_from(["plain", "noisy"]), max_size=12),
    fps=st.sampled_from([None, 3.0, 10.0]),
    fails=st.booleans(),
    room=st.integers(1, 4),
)
def test_counts_balance_at_any_time(kinds: list[str], fps: float | None, fails: bool, room: int) -> None:
    publisher = MemoryPublisher(room=room, holds=True)
    images = [plain() if kind == "plain" else noisy() for kind in kinds]
    source = ScriptedSource(images, is_live=True)
    encoding = EncodingOptions(max_bytes=2048)
    feed = feed_of(source, PacingOptions(fps=fps), encoding=encoding)
    outlet = Outlet(publisher, "frames", lambda: START)
    outlet_deadline_passed_already = 0.0
    run = FeedRun(feed, outlet)
    thread = threading.Thread(target=run.run)
    thread.start()
    assert source.exhausted.wait(10)
    assert balances(run.counts())
    publisher.finish(TransientError("away") if fails else None)
    assert balances(run.counts())
    outlet.request_stop(outlet_deadline_passed_already)
    thread.join(10)
    publisher.finish()
    counts = run.counts()
    assert balances(counts)
    assert counts.in_flight == 0
    assert counts.captured == len(kinds)


@pytest.mark.parametrize("name", ["", "a b", "-x", "a:b", "x" * 65, "gate/1"])
def test_names_are_checked_at_once(name: str) -> None:
    with pytest.raises(SettingsError, match="camera_id must be"):
        CameraFeed(name, ScriptedSource([]))
    with pytest.raises(SettingsError, match="session_id must be"):
        CameraFeed("ok", ScriptedSource([]), session_id=name)


def test_session_names_are_in_order_of_time_and_new_each_time() -> None:
    names = {new_session_id(START) for _ in range(50)}
    assert len(names) == 50
    assert all(name.startswith("20260131T080000Z-") for name in names)
    CameraFeed("ok", ScriptedSource([]), session_id=names.pop())


def test_the_end_is_logged_with_its_sum(caplog) -> None:
    with caplog.at_level(logging.INFO):
        run_feed(feed_of(ScriptedSource([plain()])), MemoryPublisher())
    assert "camera gate-1: session s1 has ended: 1 captured, 1 sent" in caplog.text
