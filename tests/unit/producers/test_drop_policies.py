"""Which frame is lost when there is no room, by the name of the policy; the counts balance while it runs."""

import threading
from pathlib import Path

import pytest

from producers.account import CameraAccount
from producers.feed import CameraFeed
from producers.lanes import RETRY_S, WINDOW_FRAMES, DropPolicy, MemoryLane
from producers.outlet import LogWatch, Outlet
from producers.pacing import PacingOptions
from producers.producer import Producer, ProducerOptions
from producers.spool.spool import Spool, SpoolOptions
from schemas.errors import FatalError, TransientError
from tests.unit.producers.memory_publisher import MemoryPublisher
from tests.unit.producers.scripted_source import START, ScriptedSource, plain
from tests.unit.producers.spools import balances, header, jpeg

AWAY = TransientError("no broker")


class Held:
    """A lane of ten frames in memory, and its clock."""

    def __init__(self, publisher: MemoryPublisher, max_staleness_s: float | None = None) -> None:
        self.now_s = 0.0
        self.publisher = publisher
        outlet = Outlet(publisher, "frames", lambda: START, LogWatch(lambda: self.now_s))
        self.account = CameraAccount("gate", outlet, lambda _bytes, _reason: None)
        self.lane = MemoryLane(outlet, self.account, 1000, max_staleness_s, lambda: self.now_s)
        self._next = 0

    def capture(self, num_frames: int) -> None:
        for _ in range(num_frames):
            self.account.ledger.take_in()
            self.account.ledger.hand_over(100)
            self.lane.put(header(self._next), jpeg(self._next))
            self._next += 1
            self.turn()
            self.now_s += 0.1

    def turn(self) -> None:
        while self.lane.pump() == 0:
            assert balances(self.account.ledger.snapshot())

    @property
    def sent(self) -> list[int]:
        return [one.frame_index for one in self.publisher.frames]

    @property
    def dropped(self) -> dict[str, int]:
        counts = self.account.ledger.snapshot()
        assert balances(counts)
        return dict(counts.dropped)


def test_oldest_keeps_the_newest_frames_for_a_log_that_comes_back() -> None:
    held = Held(MemoryPublisher())
    held.publisher.away = AWAY
    held.capture(50)
    assert held.dropped == {"buffer_full": 40}
    held.publisher.away = None
    held.now_s += RETRY_S
    held.turn()
    assert held.sent == list(range(40, 50))
    assert held.lane.is_empty()
    assert held.account.ledger.snapshot().open_bytes == 0


def test_oldest_leaves_a_window_alone_that_the_publisher_has() -> None:
    held = Held(MemoryPublisher(holds=True))
    held.capture(WINDOW_FRAMES + 30)
    assert held.sent == list(range(WINDOW_FRAMES))
    assert held.dropped == {"buffer_full": 20}
    held.publisher.finish()
    held.turn()
    assert held.sent[WINDOW_FRAMES:] == list(range(WINDOW_FRAMES + 20, WINDOW_FRAMES + 30))


def test_max_staleness_drops_what_has_waited_for_too_long_and_sends_the_rest() -> None:
    held = Held(MemoryPublisher(), max_staleness_s=0.55)
    held.publisher.away = AWAY
    held.capture(9)
    held.publisher.away = None
    for _ in range(10):
        held.now_s += 0.05
        held.turn()
    assert 0 < len(held.sent) < 9
    assert held.sent == list(range(9 - len(held.sent), 9))
    assert held.dropped == {"stale": 9 - len(held.sent)}


def test_a_stop_drops_what_waits_under_its_own_name() -> None:
    held = Held(MemoryPublisher())
    held.publisher.away = AWAY
    held.capture(4)
    held.lane.close()
    assert held.dropped == {"stopped": 4}
    assert held.lane.is_empty()


def producer_of(
    source: ScriptedSource, publisher: MemoryPublisher, when_full: DropPolicy | None, spool: Spool | None = None
) -> Producer:
    feed = CameraFeed("gate", source, pacing=PacingOptions(mode="live"), session_id="s1", when_full=when_full)
    return Producer([feed], publisher, ProducerOptions(drain_timeout_s=5.0), spool=spool)


@pytest.mark.parametrize(
    ("when_full", "arrived"),
    [(None, [0, 1]), ("newest", [0, 1]), ("block", list(range(50))), ("oldest", list(range(50)))],
)
def test_a_policy_is_chosen_by_its_name(when_full: DropPolicy | None, arrived: list[int]) -> None:
    """Room for two at the publisher: the newest are lost, or none as there is room in memory, or the source waits."""
    publisher = MemoryPublisher(room=2, holds=True)
    source = ScriptedSource([plain()] * 50, is_live=True)
    producer = producer_of(source, publisher, when_full)
    done = threading.Event()
    producer.start()

    def answer() -> None:
        while not done.wait(0.001):
            if when_full in ("block", "oldest") or source.exhausted.is_set():
                publisher.finish(num=1)

    answering = threading.Thread(target=answer)
    answering.start()
    producer._join()
    drained = producer._drain()
    done.set()
    answering.join()
    counts = producer.snapshot()["gate"].counts
    assert drained
    assert balances(counts)
    sent = [one.frame_index for one in publisher.frames]
    assert sent[: len(arrived)] == arrived
    assert counts.sent == len(sent)


def test_a_producer_with_a_spool_stops_while_the_log_is_away_and_the_next_one_sends_all(tmp_path: Path, caplog) -> None:
    publisher = MemoryPublisher()
    publisher.away = AWAY
    source = ScriptedSource([plain()] * 30, is_live=True, ends=False)
    spool = Spool(SpoolOptions(tmp_path / "spool"))
    producer = producer_of(source, publisher, None, spool)
    thread = threading.Thread(target=producer.run)
    thread.start()
    assert source.exhausted.wait(30)
    producer.request_stop()
    thread.join(30)
    assert not thread.is_alive()
    counts = producer.snapshot()["gate"].counts
    assert (counts.spooled, counts.in_flight, counts.num_dropped) == (30, 0, 0)
    assert "30 frames are kept in" in caplog.text
    spool.close()
    publisher.away = None
    with_another = Spool(SpoolOptions(tmp_path / "spool"))
    feed = CameraFeed("yard", ScriptedSource([plain()] * 3, is_live=True), session_id="s2")
    Producer([feed], publisher, spool=with_another).run()
    with_another.close()
    by_camera = {name: [one for one in publisher.headers if one.camera_id == name] for name in ("gate", "yard")}
    assert [one.frame_index for one in by_camera["gate"]] == list(range(31))
    assert [one.kind for one in by_camera["gate"]] == ["frame"] * 30 + ["end_of_session"]
    assert len(by_camera["yard"]) == 4
    assert not list(tmp_path.rglob("*.segment"))


def test_a_producer_that_is_refused_at_once_says_so_and_keeps_what_it_has(tmp_path: Path) -> None:
    refused = threading.Event()

    class Refusing(MemoryPublisher):
        def publish(self, record, on_done=None) -> None:
            refused.set()
            raise FatalError("no right to write")

    class Patient(ScriptedSource):
        def __iter__(self):
            for number, frame in enumerate(super().__iter__()):
                if number == 10:
                    assert refused.wait(30)
                yield frame

    spool = Spool(SpoolOptions(tmp_path / "spool"))
    feed = CameraFeed("gate", Patient([plain()] * 20000, is_live=True), session_id="s1")
    producer = Producer([feed], Refusing(), ProducerOptions(drain_timeout_s=1.0), spool=spool)
    with pytest.raises(FatalError, match="did not: gate: no right to write"):
        producer.run()
    assert producer.snapshot()["gate"].counts.spooled > 0
    spool.close()
