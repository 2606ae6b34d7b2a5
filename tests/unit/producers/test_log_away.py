"""A log that is away is waited for like a camera; one that refuses a size is obeyed."""

import threading

import pytest

from producers.encoding import EncodingOptions
from producers.feed import CameraFeed, FeedRun
from producers.outlet import SILENT_AFTER_S, LogWatch, Outlet
from producers.pacing import PacingOptions
from producers.producer import Producer, ProducerOptions
from schemas.errors import BadMessageError, FatalError, TransientError
from tests.unit.producers.memory_publisher import MemoryPublisher, OnDone
from tests.unit.producers.scripted_source import START, ScriptedSource, noisy, plain
from tests.unit.producers.test_feed import balances

LIVE = PacingOptions(mode="live")
BACKFILL = PacingOptions(mode="backfill")
AWAY = TransientError("no broker at 127.0.0.1:9")


class Comes(ScriptedSource):
    """Calls ``before[n]`` before the n-th frame."""

    def __init__(self, images, before) -> None:
        super().__init__(images, is_live=True)
        self._before = before

    def __iter__(self):
        for number, frame in enumerate(super().__iter__()):
            self._before.get(number, lambda: None)()
            yield frame


def test_a_log_that_is_away_ends_no_session(caplog) -> None:
    publisher = MemoryPublisher()
    publisher.away = AWAY
    source = Comes([plain()] * 50, {40: lambda: setattr(publisher, "away", None)})
    run = FeedRun(CameraFeed("gate", source, pacing=LIVE), Outlet(publisher, "t", lambda: START))
    run.run()
    assert run.error is None
    assert run.counts().dropped == {"broker_away": 40}
    assert run.counts().sent == 10
    assert [header.frame_index for header in publisher.frames] == list(range(40, 50))
    assert publisher.headers[-1].kind == "end_of_session"
    assert balances(run.counts())
    assert caplog.text.count("the log takes no frames any more: no broker at 127.0.0.1:9") == 1
    assert caplog.text.count("the log takes frames again after 0 s, 40 were dropped") == 1
    assert "dropped as broker_away" not in caplog.text


def test_each_absence_is_told_once_each(caplog) -> None:
    publisher = MemoryPublisher()
    turns = {
        number: (lambda n=number: setattr(publisher, "away", AWAY if n % 20 == 0 else None))
        for number in (0, 10, 20, 30)
    }
    run = FeedRun(CameraFeed("gate", Comes([plain()] * 40, turns), pacing=LIVE), Outlet(publisher, "t", lambda: START))
    run.run()
    assert caplog.text.count("takes no frames any more") == 2
    assert caplog.text.count("takes frames again after 0 s, 10 were dropped") == 2


def test_backfill_waits_for_a_log_that_is_away() -> None:
    publisher = MemoryPublisher()
    publisher.away = AWAY
    outlet = Outlet(publisher, "t", lambda: START)
    run = FeedRun(CameraFeed("gate", ScriptedSource([plain()] * 4), pacing=BACKFILL), outlet)
    thread = threading.Thread(target=run.run)
    thread.start()
    while not outlet.log.is_away:
        assert thread.is_alive()
    publisher.away = None
    thread.join(20)
    assert run.counts().sent == 4
    assert run.counts().dropped == {}


def test_a_stop_ends_the_wait_for_a_log_that_is_away() -> None:
    publisher = MemoryPublisher()
    publisher.away = AWAY
    feed = CameraFeed("gate", ScriptedSource([plain()] * 4), pacing=BACKFILL)
    producer = Producer([feed], publisher, ProducerOptions(drain_timeout_s=0.2))
    producer.start()
    assert producer.stop()
    assert balances(producer.snapshot()["gate"].counts)


def test_a_camera_of_which_nothing_arrived_is_an_error() -> None:
    publisher = MemoryPublisher()
    publisher.away = AWAY
    lost, whole = (CameraFeed(name, ScriptedSource([plain()] * 3, is_live=True)) for name in ("lost", "whole"))
    producer = Producer([lost, whole], publisher, ProducerOptions(drain_timeout_s=0.2))
    timer = threading.Timer(0.3, producer.request_stop)  # the ends of the sessions wait for the log
    timer.start()
    with pytest.raises(FatalError, match=r"none of lost, whole did: .*3 dropped \(broker_away 3\)"):
        producer.run()
    timer.join()


def test_what_the_log_takes_in_and_refuses_ends_the_session() -> None:
    class Refusing(MemoryPublisher):
        def publish(self, record, on_done: OnDone | None = None) -> None:
            assert on_done is not None
            on_done(FatalError("no right to write"))

    run = FeedRun(CameraFeed("gate", ScriptedSource([plain()] * 9)), Outlet(Refusing(), "t", lambda: START))
    run.run()
    assert str(run.error) == "no right to write"
    assert run.counts().dropped == {"refused": 1}
    assert run.sent_nothing()


@pytest.mark.parametrize("late", [False, True], ids=["at once", "by the broker"])
def test_a_size_that_the_log_refuses_is_counted_and_not_sent_again(late: bool, caplog) -> None:
    class Small(MemoryPublisher):
        def publish(self, record, on_done: OnDone | None = None) -> None:
            if late and on_done is not None and len(record.value or b"") > 20_000:
                on_done(BadMessageError("too_large", "the topic takes 20000 bytes"))
                return
            super().publish(record, on_done)

    publisher = Small(max_value_bytes=20_000, refusal="too_large")
    run = FeedRun(
        CameraFeed("gate", ScriptedSource([noisy()] * 100), pacing=BACKFILL), Outlet(publisher, "t", lambda: START)
    )
    run.run()
    counts = run.counts()
    assert set(counts.dropped) == {"too_large"}
    assert counts.sent > 90
    assert balances(counts)
    assert "raise max.message.bytes of the topic" in caplog.text
    assert all(len(record.value or b"") <= 20_000 for record in publisher.records)


def test_silence_is_told_while_the_buffer_still_takes_frames(caplog) -> None:
    now = 0.0
    watch = LogWatch(lambda: now)
    watch.hand_over()
    now = SILENT_AFTER_S - 1
    watch.look()
    assert not watch.is_away
    now = SILENT_AFTER_S + 1
    for _ in range(5):
        watch.look()
    assert watch.is_away
    watch.drop()
    now = 60.0
    watch.answer(None)
    watch.look()
    assert not watch.is_away
    assert caplog.text.count("no answer for more than 10 s, 1 frames are held for it") == 1
    assert caplog.text.count("takes frames again after 49 s, 1 were dropped") == 1


def test_one_failure_among_answers_is_no_absence() -> None:
    now = 0.0
    watch = LogWatch(lambda: now)
    for second in range(20):
        now = float(second)
        watch.hand_over()
        watch.answer(None if second % 2 else AWAY)
        assert not watch.is_away


def test_no_silence_where_nothing_was_handed_over() -> None:
    now = 0.0
    watch = LogWatch(lambda: now)
    watch.hand_over()
    watch.take_back()
    now = 1000.0
    watch.look()
    watch.hand_over()
    watch.look()
    assert not watch.is_away


def test_counts_are_told_while_it_runs(caplog) -> None:
    caplog.set_level("INFO")
    source = ScriptedSource([plain()] * 3, is_live=True, ends=False)
    publisher = MemoryPublisher(holds=True)
    producer = Producer([CameraFeed("gate", source)], publisher, ProducerOptions(report_interval_s=0.01))
    producer.start()
    told = threading.Event()
    for _ in range(2000):
        if "so far to frames: gate (online): 3 captured, 0 sent, 3 in flight (" in caplog.text or told.wait(0.01):
            break
    assert producer.stop()
    assert "so far to frames: gate (online): 3 captured, 0 sent, 3 in flight (" in caplog.text
    assert producer.snapshot()["gate"].counts.open_bytes == 0


def test_a_camera_of_noise_sends_smaller_pictures_and_says_so(caplog) -> None:
    publisher = MemoryPublisher()
    encoding = EncodingOptions(max_bytes=4096)
    feed = CameraFeed("gate", ScriptedSource([noisy(seed=n) for n in range(20)]), encoding, BACKFILL)
    run = FeedRun(feed, Outlet(publisher, "t", lambda: START))
    run.run()
    assert run.counts().dropped == {"too_large": 2}
    assert run.counts().sent == 18
    sizes = {(header.width, header.height) for header in publisher.frames}
    assert len(sizes) == 1, "a size that changes breaks windows"
    assert caplog.text.count("frames do not fit into 4096 bytes at any quality") == 1
