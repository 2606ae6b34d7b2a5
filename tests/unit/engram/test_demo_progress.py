"""Waiting for scores, with a deadline, a stop and a look at the children."""

import threading
from collections.abc import Iterator

import pytest

from engram.demo.progress import Progress, wait_for_ends
from messaging.inprocess.bus import InProcessBus
from messaging.ports import OutRecord, TopicSpec
from schemas.codec import encode_message
from schemas.errors import EngramError
from schemas.messages import EventPhase
from tests.unit.consumers.samples import event

TOPIC = "frame-scores"


@pytest.fixture
def bus() -> Iterator[InProcessBus]:
    made = InProcessBus()
    made.create_topics([TopicSpec(TOPIC, 2)])
    yield made
    made.close()


def publish(bus: InProcessBus, num: int) -> None:
    publisher = bus.publisher()
    for number in range(num):
        publisher.publish(OutRecord(TOPIC, f"cam{number % 3}", b"{}"))


def test_it_counts_from_the_beginning_and_goes_on(bus: InProcessBus) -> None:
    publish(bus, 4)
    progress = Progress(bus, TOPIC, deadline_s=10, stop=threading.Event())
    progress.wait_scored(4, lambda: None)
    assert progress.num_scored == 4
    publish(bus, 3)
    progress.wait_scored(7, lambda: None)
    assert progress.num_scored == 7


def test_what_is_enough_already_is_not_waited_for(bus: InProcessBus) -> None:
    progress = Progress(bus, TOPIC, deadline_s=10, stop=threading.Event())
    progress.wait_scored(0, lambda: pytest.fail("there was nothing to look at"))


def test_a_deadline_tells_how_far_it_came(bus: InProcessBus) -> None:
    publish(bus, 2)
    progress = Progress(bus, TOPIC, deadline_s=0.0, stop=threading.Event())
    with pytest.raises(EngramError, match=r"5 frames must be scored in 0 s, [02] are"):
        progress.wait_scored(5, lambda: None)


def test_a_stop_and_a_failing_child_end_the_wait(bus: InProcessBus) -> None:
    stop = threading.Event()
    progress = Progress(bus, TOPIC, deadline_s=60, stop=stop)

    def look() -> None:
        raise EngramError("worker-1 must run, it has ended with 2")

    with pytest.raises(EngramError, match="worker-1"):
        progress.wait_scored(1, look)
    stop.set()
    with pytest.raises(EngramError, match="stopped with 0 of 1"):
        progress.wait_scored(1, lambda: None)


def tell(bus: InProcessBus, first: int, phase: EventPhase) -> None:
    bus.publisher().publish(OutRecord(TOPIC, "cam1", encode_message(event(first, first + 9, phase, 0))))


def test_events_are_waited_for_until_each_has_ended(bus: InProcessBus) -> None:
    for first in (10, 50):
        tell(bus, first, "start")
    tell(bus, 10, "end")
    waiting = threading.Thread(target=wait_for_ends, args=(bus, TOPIC, 60.0, threading.Event()))
    waiting.start()
    waiting.join(0.7)
    assert waiting.is_alive()
    tell(bus, 50, "end")
    waiting.join(30)
    assert not waiting.is_alive()


def test_no_end_is_waited_for_beyond_the_deadline_or_a_stop(bus: InProcessBus) -> None:
    tell(bus, 10, "start")
    stop = threading.Event()
    wait_for_ends(bus, TOPIC, 0.0, stop)
    stop.set()
    wait_for_ends(bus, TOPIC, 1e6, stop)
