"""Every frame comes to exactly one end, counted under its cause, whatever the log and the source do."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messaging.ports import OutRecord
from producers.counters import FrameCounts, FrameLedger
from producers.feed import CameraFeed, FeedRun
from producers.outlet import Outlet
from producers.pacing import PacingOptions
from producers.sources import CapturedFrame
from schemas.codec import HEADER, decode_message
from schemas.errors import BadMessageError, BufferFullError, FatalError, TransientError
from schemas.messages import FrameHeader
from tests.unit.producers.memory_publisher import MemoryPublisher
from tests.unit.producers.scripted_source import START, ScriptedSource, plain

OnDone = Callable[[Exception | None], None]

AT_ONCE: dict[str, Exception] = {
    "buffer_full": BufferFullError("no room"),
    "broker_away": TransientError("away"),
    "record_too_large": BadMessageError("record_too_large", "no"),
}
LATE: dict[str, Exception | None] = {
    "sent": None,
    "publish_failed": TransientError("not in time"),
    "too_large": BadMessageError("too_large", "no"),
}
"""What may become of a frame: refused as it is handed over, or answered for later. ``open`` is not answered for."""


class FatefulPublisher:
    """Gives each frame its fate, in order; answers wait until the test asks for them. The end always gets through."""

    def __init__(self, fates: list[str]) -> None:
        self.fates = list(fates)
        self.waiting: list[tuple[OnDone, Exception | None]] = []
        self.open: list[OnDone] = []
        self.indices: list[int] = []

    def publish(self, record: OutRecord, on_done: OnDone | None = None) -> None:
        """See ``ports.Publisher``."""
        header = decode_message(FrameHeader, dict(record.headers)[HEADER])
        assert on_done is not None
        if header.kind != "frame":
            on_done(None)
            return
        self.indices.append(header.frame_index)
        fate = self.fates.pop(0)
        if fate in AT_ONCE:
            raise AT_ONCE[fate]
        if fate == "open":
            self.open.append(on_done)
        else:
            self.waiting.append((on_done, LATE[fate]))

    def answer(self) -> None:
        for on_done, error in self.waiting:
            on_done(error)
        self.waiting.clear()

    def flush(self, timeout_s: float) -> bool:
        """See ``ports.Publisher``."""
        return not self.open

    def close(self, timeout_s: float) -> None:
        """See ``ports.Publisher``."""


def balances(counts: FrameCounts) -> bool:
    return counts.captured == counts.sent + counts.in_flight + counts.sampled_out + sum(counts.dropped.values())


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.sampled_from([*AT_ONCE, *LATE, "open"]), max_size=25),
    st.integers(0, 4),
    st.integers(0, 4),
)
def test_each_fate_is_counted_under_its_own_name(fates: list[str], num_overrun: int, num_unreadable: int) -> None:
    publisher = FatefulPublisher(fates)
    source = ScriptedSource([plain(width=16, height=16)] * len(fates), is_live=True)
    source.num_overrun, source.num_unreadable = num_overrun, num_unreadable
    run = FeedRun(CameraFeed("gate", source, session_id="s1"), Outlet(publisher, "frames", lambda: START))
    run.run()
    before = run.counts()
    assert balances(before)
    assert before.in_flight == sum(fate in LATE or fate == "open" for fate in fates)
    assert (before.open_bytes > 0) == (before.in_flight > 0)
    publisher.answer()
    counts, expected = run.counts(), Counter(fates)
    assert balances(counts)
    assert counts.captured == len(fates) + num_overrun + num_unreadable
    assert (counts.sent, counts.in_flight) == (expected.pop("sent", 0), expected.pop("open", 0))
    source_causes = Counter(too_slow=num_overrun, unreadable=num_unreadable)
    assert Counter(counts.dropped) == +(expected + source_causes)
    assert publisher.indices == list(range(len(fates))), "a frame that is lost leaves a gap, whatever its fate"
    assert run.error is None
    num_bytes = counts.open_bytes
    for on_done in publisher.open:
        on_done(None)
    assert run.counts().sent_bytes == counts.sent_bytes + num_bytes
    assert (run.counts().open_bytes, run.counts().in_flight) == (0, 0)


@pytest.mark.parametrize(
    ("fates", "nothing"),
    [
        ([], False),
        (["sent"], False),
        (["broker_away", "sent"], False),
        (["broker_away"], True),
        (["publish_failed", "buffer_full"], True),
        (["open"], True),
        (["open", "sent"], False),
    ],
)
def test_a_session_of_which_nothing_arrived_is_known(fates: list[str], nothing: bool) -> None:
    publisher = FatefulPublisher(fates)
    source = ScriptedSource([plain(width=16, height=16)] * len(fates), is_live=True)
    source.num_overrun = 3  # a reader that was slow has lost nothing on its way to the log
    run = FeedRun(CameraFeed("gate", source, session_id="s1"), Outlet(publisher, "frames", lambda: START))
    run.run()
    publisher.answer()
    assert run.sent_nothing() == nothing


@pytest.mark.parametrize("refused", [1, 2], ids=["at first", "later"])
def test_a_log_that_will_not_have_us_at_first_ends_the_session_and_later_is_waited_for(refused: int) -> None:
    """Rights that an operator takes away for a while must not cost a camera; those never given are a mistake."""

    class Refusing(MemoryPublisher):
        def publish(self, record: OutRecord, on_done: OnDone | None = None) -> None:
            super().publish(record, None)
            assert on_done is not None
            on_done(FatalError("not authorized") if len(self.records) == refused else None)

    publisher, source = Refusing(), ScriptedSource([plain()] * 5, is_live=True)
    run = FeedRun(CameraFeed("gate", source, session_id="s1"), Outlet(publisher, "frames", lambda: START))
    run.run()
    ends = refused == 1
    assert str(run.error) == ("not authorized" if ends else "None")
    num_captured = 1 if ends else 5
    assert run.counts().captured == num_captured
    assert (run.counts().sent, run.counts().dropped) == (num_captured - 1, {"refused": 1})
    assert publisher.headers[-1].kind == "end_of_session"
    assert publisher.headers[-1].frame_index == num_captured


def test_after_a_stop_what_is_not_taken_was_stopped_not_lost() -> None:
    publisher = MemoryPublisher()
    outlet = Outlet(publisher, "frames", lambda: START)
    source = ScriptedSource([plain()] * 3, is_live=True)
    run = FeedRun(CameraFeed("gate", source, session_id="s1"), outlet)
    outlet.request_stop(5.0)
    run.run()
    assert run.counts().dropped == {"stopped": 1}, "one had been taken in; the others were never asked for"
    assert run.counts().captured == 1
    assert not run.sent_nothing()
    assert [(header.kind, header.frame_index) for header in publisher.headers] == [("end_of_session", 0)]


@dataclass
class Gappy:
    """A recording in which frames between could not be decoded: ``holes`` of so many before each frame."""

    holes: list[int]
    fps: float = 30.0
    is_live = False
    num_overrun = 0
    status = ScriptedSource.status

    @property
    def num_unreadable(self) -> int:
        return sum(self.holes)

    def __iter__(self) -> Iterator[CapturedFrame]:
        number = 0
        for hole in self.holes:
            missed = tuple(START + timedelta(seconds=(number + n) / self.fps) for n in range(hole))
            number += hole
            yield CapturedFrame(plain(width=16), START + timedelta(seconds=number / self.fps), "media", missed)
            number += 1

    def describe(self) -> str:
        return "gappy"

    def close(self) -> None:
        """Nothing to close."""


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=20), st.sampled_from([None, 10.0, 15.0]))
def test_indices_are_those_of_the_film_without_its_holes(holes: list[int], fps: float | None) -> None:
    """What cannot be decoded takes the index that it would have had; so a worker sees the hole, at any rate."""
    whole = MemoryPublisher()
    pacing = PacingOptions(fps=fps, mode="backfill")
    num_frames = len(holes) + sum(holes)
    everything = ScriptedSource([plain(width=16)] * num_frames, fps=30.0)
    FeedRun(CameraFeed("gate", everything, pacing=pacing), Outlet(whole, "t", lambda: START)).run()
    index_at = {header.captured_at: header.frame_index for header in whole.frames}

    holed = MemoryPublisher()
    run = FeedRun(CameraFeed("gate", Gappy(holes), pacing=pacing), Outlet(holed, "t", lambda: START))
    run.run()
    assert {header.captured_at: header.frame_index for header in holed.frames}.items() <= index_at.items()
    assert holed.headers[-1].frame_index == whole.headers[-1].frame_index
    counts = run.counts()
    assert balances(counts)
    assert counts.captured == num_frames
    assert counts.dropped == ({"unreadable": sum(holes)} if sum(holes) else {})


@pytest.mark.parametrize(("num_frames", "holes", "sent"), [(3, [0] * 9, 3), (3, [0, 1, 0, 0], 2), (1, [0, 0], 1)])
def test_a_session_of_so_many_frames_counts_those_that_are_lost(num_frames: int, holes: list[int], sent: int) -> None:
    publisher = MemoryPublisher()
    pacing = PacingOptions(mode="backfill", num_frames=num_frames)
    FeedRun(CameraFeed("gate", Gappy(holes), pacing=pacing), Outlet(publisher, "t", lambda: START)).run()
    assert len(publisher.frames) == sent
    assert publisher.headers[-1].frame_index == num_frames


def test_bytes_at_the_publisher_are_those_handed_over_and_not_answered_for() -> None:
    ledger = FrameLedger()
    for num_bytes in (100, 20, 3):
        ledger.take_in()
        ledger.hand_over(num_bytes)
    assert ledger.snapshot().open_bytes == 123
    ledger.send(100)
    ledger.drop("publish_failed", 20)
    counts = ledger.snapshot()
    assert (counts.open_bytes, counts.sent_bytes, counts.in_flight) == (3, 100, 1)
    assert "1 in flight (3 bytes)" in str(counts)
    assert "(0 bytes)" not in str(replace(counts, open_bytes=0))


def test_what_the_source_lost_joins_what_was_dropped_for_the_same_cause() -> None:
    ledger = FrameLedger()
    ledger.take_in()
    ledger.drop("unreadable")
    counts = ledger.snapshot(num_overrun=2, num_unreadable=4)
    assert counts.dropped == {"unreadable": 5, "too_slow": 2}
    assert (counts.captured, counts.num_dropped) == (7, 7)
    assert ledger.snapshot().dropped == {"unreadable": 1}
