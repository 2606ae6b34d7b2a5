"""Nothing within the caps is lost, and order holds, whatever the log does and whenever the process dies."""

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.gaps import GapBook
from producers.lanes import WINDOW_FRAMES
from producers.spooled_lane import CatchUpOptions, CatchUpOrder
from schemas.errors import BadMessageError, FatalError, TransientError
from tests.unit.producers.memory_publisher import MemoryPublisher
from tests.unit.producers.spools import Bench, header, jpeg

AWAY = TransientError("no broker")
MakeBench = Callable[..., Bench]
NAMES = ("gate", "gate.late")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeBench]:
    yield lambda publisher=None, **fields: Bench(tmp_path / "spool", publisher or MemoryPublisher(), **fields)


def segments(bench: Bench) -> list[Path]:
    return sorted(bench.folder.rglob("*.segment"))


def test_while_all_is_well_nothing_is_written_to_disk(make: MakeBench) -> None:
    bench = make()
    bench.capture(50)
    assert bench.sent == list(range(50))
    assert (bench.counts.sent, bench.counts.late, bench.counts.open_bytes) == (50, 0, 0)
    assert segments(bench) == []
    assert bench.lane.is_empty()


def test_what_a_log_that_is_away_does_not_take_is_sent_in_order_when_it_is_back(make: MakeBench, caplog) -> None:
    caplog.set_level("INFO")
    bench = make()
    bench.capture(10)
    bench.publisher.away = AWAY
    bench.capture(100)
    assert (bench.counts.sent, bench.counts.spooled, bench.counts.in_flight) == (10, 100, 0)
    bench.publisher.away = None
    bench.capture(10)
    bench.turn(200)
    assert bench.sent == list(range(120))
    assert bench.lane.is_empty()
    assert bench.counts.late >= 100
    assert segments(bench) == []
    assert caplog.text.count("the log takes no frames any more: no broker; until it is back, frames are kept in ") == 1
    assert len(re.findall(r"0 were dropped, 10\d were kept and are sent late", caplog.text)) == 1
    assert caplog.text.count("camera gate: has caught up, ") == 1
    bench.capture(5)
    assert bench.sent == list(range(125))
    assert segments(bench) == [], "what comes after is live again"


def test_frames_without_an_answer_for_a_second_are_on_disk_and_sent_once(make: MakeBench) -> None:
    bench = make(MemoryPublisher(holds=True))
    bench.capture(5)
    assert bench.counts.spooled == 0
    bench.turn(10)
    assert (bench.counts.spooled, bench.counts.in_flight) == (5, 0)
    bench.capture(3)
    bench.publisher.finish()
    bench.turn(50)
    bench.publisher.finish()
    bench.turn(50)
    assert bench.sent == list(range(8))
    assert bench.lane.is_empty()


def test_a_window_of_frames_is_at_the_publisher_and_no_more(make: MakeBench) -> None:
    bench = make(MemoryPublisher(holds=True))
    bench.capture(WINDOW_FRAMES + 50)
    assert len(bench.sent) == WINDOW_FRAMES
    assert bench.counts.spooled + bench.counts.in_flight == WINDOW_FRAMES + 50


def test_what_was_handed_over_and_not_delivered_comes_first_again(make: MakeBench) -> None:
    bench = make(MemoryPublisher(holds=True))
    bench.capture(6)
    bench.publisher.finish(None, num=2)
    bench.publisher.finish(AWAY)
    bench.capture(2)
    bench.turn(20)
    while not bench.lane.is_empty():
        bench.publisher.finish()
        bench.turn(20)
    assert bench.sent == [*range(6), *range(2, 8)]
    assert (bench.counts.sent, bench.counts.num_dropped) == (8, 0)


def test_catching_up_stays_under_its_rate_and_is_faster_than_the_camera(make: MakeBench) -> None:
    bench = make(catch_up=CatchUpOptions(fps=30.0))
    bench.publisher.away = AWAY
    bench.capture(100)
    bench.publisher.away = None
    bench.turn(10)
    before = len(bench.sent)
    bench.capture(20)  # two seconds
    assert len(bench.sent) - before <= 2 * 30 + 1
    assert len(bench.sent) - before > 20
    bench.turn(100)
    assert bench.sent == list(range(120))


def test_an_earlier_run_that_was_killed_is_sent_first_and_its_session_is_ended(make: MakeBench, caplog) -> None:
    first = make()
    first.capture(5)
    first.publisher.away = AWAY
    first.capture(20)
    first.die()
    second = make(first.publisher)
    assert (second.counts.recovered, second.counts.spooled) == (20, 20)
    assert "20 frames that an earlier run could not send are in" in caplog.text
    second.capture(10, "s2")
    second.publisher.away = None
    second.turn(100)
    told = [(one.session_id, one.kind, one.frame_index) for one in second.publisher.headers]
    wanted = [("s1", "frame", index) for index in range(25)] + [("s1", "end_of_session", 25)]
    assert told == wanted + [("s2", "frame", index) for index in range(10)]
    assert second.counts.sent == 30
    assert segments(second) == []


def test_killed_while_catching_up_sends_again_at_most_what_was_on_its_way(make: MakeBench) -> None:
    first = make(MemoryPublisher())
    first.publisher.away = AWAY
    first.capture(100)
    first.publisher.away = None
    first.publisher._holds = True
    first.turn(6)
    first.publisher.finish(num=10)
    first.turn()
    first.die()
    sent_before = list(first.sent)
    second = make(MemoryPublisher())
    second.turn(100)
    assert second.sent == list(range(10, 100)), "from the first without an answer on"
    assert len(set(second.sent) & set(sent_before)) <= WINDOW_FRAMES


def test_two_sessions_are_never_on_their_way_at_once(make: MakeBench) -> None:
    """Else workers would see the older one's repeats after SIGKILL, behind the newer one."""
    bench = make(MemoryPublisher())
    bench.publisher.away = AWAY
    bench.capture(3)
    bench.capture(3, "s2")
    bench.publisher.away = None
    bench.publisher._holds = True
    bench.turn(30)
    assert bench.sent == [0, 1, 2]
    bench.publisher.finish()
    bench.turn(30)
    assert bench.sent == [0, 1, 2, 3, 4, 5]


def test_newest_first_a_live_frame_without_an_answer_holds_no_earlier_session_up(make: MakeBench) -> None:
    """They go by two names; a lane that waited for the one with the other would wait with the lock in its hand."""
    newest_first = CatchUpOptions("newest-first", fps=100.0)
    first = make(catch_up=newest_first)
    first.publisher.away = AWAY
    first.capture(20)
    first.die()
    second = make(MemoryPublisher(holds=True), catch_up=newest_first)
    second.next_index = 20
    capturing = threading.Thread(target=second.capture, args=(3, "s2"), daemon=True)
    capturing.start()
    capturing.join(30.0)
    assert not capturing.is_alive(), "a lane must come to an end of its turn"
    by_name = {name: [one.frame_index for one in second.publisher.frames if one.camera_id == name] for name in NAMES}
    assert by_name["gate"] == [20, 21, 22]
    assert by_name["gate.late"] == list(range(len(by_name["gate.late"])))
    assert by_name["gate.late"]


def test_newest_first_what_had_no_answer_is_late_in_order_too(make: MakeBench) -> None:
    """A camera so quick that its window is full before the first of it is written to disk."""
    bench = make(catch_up=CatchUpOptions("newest-first", fps=100.0))
    bench.publisher.away = AWAY
    bench.capture(20)
    bench.publisher.away, bench.publisher._holds = None, True
    for index in range(20, 30 + WINDOW_FRAMES):
        bench.account.ledger.take_in()
        bench.account.ledger.hand_over(100)
        bench.lane.put(header(index), jpeg(index))
        while bench.lane.pump() == 0:
            pass
    bench.publisher.records.clear()  # they did not come in
    bench.publisher._holds = False
    bench.publisher.finish(AWAY)
    bench.turn(100)
    late = [one.frame_index for one in bench.publisher.frames]
    assert late == sorted(late)
    assert set(late) >= set(range(20, 30 + WINDOW_FRAMES))


def test_newest_first_no_late_frame_overtakes_a_live_one_that_may_be_late_itself(make: MakeBench) -> None:
    bench = make(MemoryPublisher(holds=True), catch_up=CatchUpOptions("newest-first", fps=100.0))
    bench.capture(WINDOW_FRAMES + 10)
    assert {one.camera_id for one in bench.publisher.frames} == {"gate"}
    bench.publisher.records.clear()  # they did not come in
    bench.publisher._holds = False
    bench.publisher.finish(AWAY)
    bench.turn(100)
    assert bench.sent == list(range(WINDOW_FRAMES + 10))
    assert bench.lane.is_empty()


def test_newest_first_sends_live_frames_at_once_and_late_ones_under_a_name_of_their_own(make: MakeBench) -> None:
    bench = make(catch_up=CatchUpOptions("newest-first", fps=20.0))
    bench.publisher.away = AWAY
    bench.capture(100)
    assert bench.counts.spooled >= 95
    bench.publisher.away = None
    bench.turn(10)
    bench.capture(20)
    bench.turn(100)
    by_camera: dict[str, list[int]] = {"gate": [], "gate.late": []}
    for one in bench.publisher.frames:
        by_camera[one.camera_id].append(one.frame_index)
    assert by_camera["gate"][-20:] == list(range(100, 120))
    assert by_camera["gate.late"] == sorted(by_camera["gate.late"])
    assert sorted(by_camera["gate"] + by_camera["gate.late"]) == list(range(120))
    assert {record.key for record in bench.publisher.records} == {"gate", "gate.late"}
    last_live = max(n for n, one in enumerate(bench.publisher.frames) if one.camera_id == "gate")
    assert any(one.camera_id == "gate.late" for one in bench.publisher.frames[last_live:]), "live ones did not wait"
    assert bench.lane.is_empty()


def test_the_caps_take_the_oldest_and_count_them(make: MakeBench) -> None:
    bench = make(max_bytes=64_000)
    bench.publisher.away = AWAY
    bench.capture(200, num_bytes=1000)
    lost = bench.counts.dropped["spool_full"]
    assert 100 < lost < 170
    assert sum(path.stat().st_size for path in segments(bench)) <= 64_000
    bench.publisher.away = None
    bench.turn(100)
    assert bench.sent == list(range(lost, 200))
    assert bench.lane.is_empty()


def test_what_the_caps_took_is_named_though_the_producer_is_killed(make: MakeBench) -> None:
    bench = make(max_bytes=64_000)
    bench.publisher.away = AWAY
    bench.capture(200, num_bytes=1000)
    bench.die()
    (gap,) = GapBook(bench.folder / "gaps.json").take(is_last=True)
    assert (gap.cause, gap.first_frame, gap.num_frames) == ("spool_full", 0, bench.counts.dropped["spool_full"])


def test_what_is_on_its_way_is_on_disk_whatever_the_caps_take(make: MakeBench) -> None:
    """Else SIGKILL would lose what no gap names."""
    bench = make(MemoryPublisher(holds=True), max_bytes=128_000)
    bench.capture(10)
    bench.turn(20)  # no answer comes: they are written to disk
    bench.capture(400, num_bytes=1000)
    num_open = len(bench.sent)
    assert num_open == WINDOW_FRAMES
    bench.die()
    (gap,) = GapBook(bench.folder / "gaps.json").take(is_last=True)
    assert gap.first_frame >= num_open
    assert gap.num_frames == gap.last_frame - gap.first_frame + 1 == bench.counts.dropped["spool_full"]
    after = make(max_bytes=128_000)
    after.turn(200)
    lost = set(range(gap.first_frame, gap.last_frame + 1))
    assert after.sent == [index for index in range(410) if index not in lost]


def test_frames_older_than_the_age_are_dropped_even_while_the_log_is_away(make: MakeBench) -> None:
    bench = make(max_age_s=60.0, max_bytes=64_000)
    bench.publisher.away = AWAY
    bench.capture(40, num_bytes=500)
    bench.now_s += 58
    bench.capture(10, num_bytes=500)
    bench.now_s += 5
    bench.spool.drop_old()
    assert 30 < bench.counts.dropped["spool_old"] <= 40
    bench.publisher.away = None
    bench.turn(100)
    assert bench.sent == list(range(40, 50))
    assert bench.counts.dropped == {"spool_old": 40}


def test_a_frame_that_the_log_never_takes_is_counted_and_the_next_ones_go_on(make: MakeBench) -> None:
    bench = make(MemoryPublisher(max_value_bytes=500, refusal="too_large"))
    bench.publisher.away = AWAY
    bench.capture(3)
    bench.capture(1, num_bytes=1000)
    bench.capture(3)
    bench.publisher.away = None
    bench.turn(50)
    assert bench.sent == [0, 1, 2, 4, 5, 6]
    assert bench.counts.dropped == {"too_large": 1}
    assert bench.lane.is_empty()


def test_rights_that_are_taken_away_for_a_while_cost_nothing(make: MakeBench) -> None:
    bench = make(MemoryPublisher(holds=True))
    bench.capture(2)
    bench.publisher.finish()
    bench.capture(3)
    bench.publisher.finish(FatalError("not authorized"))
    assert bench.account.refusal is None
    assert bench.outlet.log.is_away
    for _ in range(5):
        bench.turn(10)
        bench.publisher.finish()
    assert list(dict.fromkeys(bench.sent)) == [0, 1, 2, 3, 4]
    assert bench.counts.sent == 5


def test_what_is_in_memory_at_the_end_is_kept(make: MakeBench) -> None:
    bench = make(MemoryPublisher(holds=True))
    bench.capture(5)
    bench.lane.put(header(5).model_copy(update={"kind": "end_of_session", "width": 0, "height": 0}), b"")
    bench.lane.close()
    bench.publisher.finish(TransientError("closed"))
    assert (bench.counts.spooled, bench.counts.in_flight) == (5, 0)
    bench.spool.close()
    second = make()
    second.turn(10)
    kinds = [one.kind for one in second.publisher.headers]
    assert kinds == ["frame"] * 5 + ["end_of_session"], "one end, not two"


def test_a_disk_that_fails_is_told_once_and_costs_frames_not_the_session(
    make: MakeBench, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    bench = make()
    bench.capture(1)
    bench.publisher.away = AWAY

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.writev", full)
        bench.capture(20)
    num_lost = bench.counts.dropped["spool_failed"]
    assert num_lost >= 15, "but for the few in memory"
    bench.capture(5)
    assert caplog.text.count("cannot be written, frames are lost: No space left on device") == 1
    assert caplog.text.count("can be written again") == 1
    bench.publisher.away = None
    bench.turn(50)
    assert bench.sent == [0, *range(1 + num_lost, 26)]
    assert bench.counts.in_flight == 0


class History:
    """A lane through runs that end as they may, over one publisher."""

    def __init__(self, folder: Path, order: CatchUpOrder) -> None:
        self.publisher = MemoryPublisher()
        self.at_risk: set[int] = set()
        self._folder = folder
        self._catch_up = CatchUpOptions(order, fps=100.0)
        self.bench = Bench(folder, self.publisher, catch_up=self._catch_up)

    def step(self, step: str) -> None:
        """One more thing that happens."""
        if step == "capture":
            self.bench.capture(3)
        elif step in ("away", "back"):
            self.publisher.away = AWAY if step == "away" else None
        elif step == "hold":
            self.publisher._holds = True
        elif step in ("answer", "fail"):
            self.publisher.finish(AWAY if step == "fail" else None)
        elif step == "turn":
            self.bench.turn(12)
        else:
            self._restart(step)

    def settle(self) -> None:
        """All is well in the end."""
        self.publisher._holds, self.publisher.away = False, None
        self.publisher.finish()
        self.bench.turn(400)

    def arrived(self) -> dict[str, list[int]]:
        """Indices in the order in which the log first got them, by key."""
        got: dict[str, dict[int, None]] = {}
        for one in self.publisher.frames:
            got.setdefault(one.camera_id, {})[one.frame_index] = None
        return {key: list(indices) for key, indices in got.items()}

    def _restart(self, how: str) -> None:
        lane, next_index = self.bench.lane, self.bench.next_index
        if how == "stop":
            lane.close()
            self.publisher.finish(TransientError("closed"))
        else:  # what was in memory alone, for less than a second, is what SIGKILL may cost
            self.at_risk |= {one.header.frame_index for one in (*lane._fresh, *lane._open)}
        self.bench.die()
        self.publisher._open.clear()
        self.publisher._holds, self.publisher.away = False, None
        now_s = self.bench.now_s
        self.bench = Bench(self._folder, self.publisher, catch_up=self._catch_up, now_s=now_s)
        self.bench.next_index = next_index


STEPS = st.sampled_from(["capture", "away", "back", "hold", "answer", "fail", "turn", "kill", "stop"])


@settings(deadline=None, max_examples=60)
@given(steps=st.lists(STEPS, max_size=40), order=st.sampled_from(get_args(CatchUpOrder)))
def test_any_history_balances_keeps_order_and_loses_nothing(steps: list[str], order, tmp_path_factory) -> None:
    history = History(tmp_path_factory.mktemp("history") / "spool", order)
    for step in steps:
        history.step(step)
        assert history.bench.counts, "looks whether they balance"
    history.settle()
    counts = history.bench.counts
    assert history.bench.lane.is_empty()
    assert counts.in_flight == counts.spooled == counts.open_bytes == 0
    arrived = history.arrived()
    assert (
        set(range(history.bench.next_index)) - {index for one in arrived.values() for index in one} <= history.at_risk
    )
    assert all(indices == sorted(indices) for indices in arrived.values())
    history.bench.close()


def test_bad_messages_are_named_by_their_reason(make: MakeBench) -> None:
    bench = make(MemoryPublisher(holds=True))
    bench.capture(2)
    bench.publisher.finish(BadMessageError("too_large", "the topic takes less"), num=1)
    bench.publisher.finish()
    assert bench.counts.dropped == {"too_large": 1}
    assert bench.counts.sent == 1
