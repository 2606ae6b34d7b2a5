"""What is seen of a producer while its log comes and goes."""

import threading
import time

from engram.observe.observed import STUCK_S
from engram.observe.producer import SeenProducer
from producers.feed import CameraFeed
from producers.pacing import PacingOptions
from producers.producer import Producer, ProducerOptions
from schemas.errors import TransientError
from tests.unit.producers.memory_publisher import MemoryPublisher
from tests.unit.producers.scripted_source import ScriptedSource, plain

DEADLINE_S = 60.0
LIVE = PacingOptions(mode="live")


def producer(publisher: MemoryPublisher, *cameras: str, drain_timeout_s: float = 10.0) -> Producer:
    feeds = [CameraFeed(name, ScriptedSource([plain()] * 5, is_live=True), pacing=LIVE) for name in cameras]
    return Producer(feeds, publisher, ProducerOptions(drain_timeout_s=drain_timeout_s))


def samples(view: SeenProducer) -> dict[tuple[str, ...], float]:
    return {
        (sample.name.removeprefix("engram_producer_"), *sample.labels.values()): sample.value
        for metric in view.metrics()
        for sample in metric.samples
    }


def test_a_log_that_takes_nothing_makes_it_not_ready_and_the_losses_are_told_by_cause() -> None:
    publisher = MemoryPublisher()
    publisher.away = TransientError("no broker")
    made = producer(publisher, "gate", drain_timeout_s=0.1)
    view = SeenProducer(made)
    assert view.unready() == ()
    made.start()
    pause, deadline_s = threading.Event(), time.monotonic() + DEADLINE_S
    while not view.unready():
        assert time.monotonic() < deadline_s
        pause.wait(0.01)
    made.stop()
    assert view.unready() == ("the log takes no frames",)
    found = samples(view)
    causes = {key[2]: value for key, value in found.items() if key[0] == "frames_dropped_total"}
    assert {cause for cause, number in causes.items() if number} <= {"broker_away", "stopped"}
    assert causes["buffer_full"] == 0, "before its first loss, so that the first is seen to grow"
    assert found["frames_captured_total", "gate"] == found["frames_in_flight", "gate"] + sum(causes.values())
    assert found["log_up",] == 0


def test_cameras_are_told_apart() -> None:
    publisher = MemoryPublisher()
    made = producer(publisher, "gate", "yard")
    made.run()
    view = SeenProducer(made)
    found, told = samples(view), view.status()["cameras"]
    assert {name: found["frames_sent_total", name] for name in ("gate", "yard")} == {"gate": 5, "yard": 5}
    assert isinstance(told, dict)
    assert {name: (one["sent"], one["dropped"]) for name, one in told.items()} == {"gate": (5, {}), "yard": (5, {})}
    assert view.totals()["gate.sent"] == 5


def test_a_watch_that_ended_is_stuck() -> None:
    now_s = [0.0]
    made = producer(MemoryPublisher(), "gate")
    view = SeenProducer(made, lambda: now_s[0])
    made.turned_at_s = 0.0
    assert view.stuck() == ()
    now_s[0] = STUCK_S + 1
    assert "the producer's watch over its log" in view.stuck()[0]
