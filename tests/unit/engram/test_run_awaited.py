"""A producer with a spool watches its cameras though the broker is not there yet."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.local.wait import wait_until
from engram.build.edge import open_spool, producer_options
from engram.run import producer
from engram.run.awaited import AwaitedPublisher
from engram.run.producer import run_producer
from messaging.inprocess.bus import InProcessBus, InProcessPublisher
from messaging.ports import OutRecord, TopicSpec
from producers.spool.segments import skim
from schemas.codec import HEADER, decode_message
from schemas.errors import FatalError, TransientError
from schemas.messages import FrameHeader
from schemas.settings import Loaded, ProducerSettings
from schemas.settings.connections import KafkaSection

DEADLINE_S = 60.0


def settings(folder: Path, **more: object) -> ProducerSettings:
    told = {"width": 32, "height": 24, "spool_dir": folder, "watch_view": False, **more}
    return ProducerSettings.model_validate({"producer": told})


def test_it_refuses_until_it_is_connected_and_then_passes_on() -> None:
    bus, is_there = InProcessBus(), threading.Event()
    bus.create_topics([TopicSpec("frames", 1)])

    def make() -> InProcessPublisher:
        if not is_there.is_set():
            raise TransientError("no broker")
        return bus.publisher()

    publisher = AwaitedPublisher(make, lambda error: pytest.fail(str(error)))
    record = OutRecord("frames", "gate", b"x")
    with pytest.raises(TransientError, match="could not be reached yet"):
        publisher.publish(record)
    assert publisher.flush(0.0)
    is_there.set()

    def is_taken() -> bool:
        try:
            publisher.publish(record)
        except TransientError:
            return False
        return True

    assert wait_until(is_taken, DEADLINE_S)
    publisher.close(1.0)
    with pytest.raises(FatalError, match="was closed"):
        publisher.publish(record)


def test_a_refusal_is_told_and_closing_ends_the_wait() -> None:
    told: list[FatalError] = []
    refused = FatalError("wrong password")

    def refuse() -> InProcessPublisher:
        raise refused

    AwaitedPublisher(refuse, told.append).close(DEADLINE_S)
    assert told == [refused]

    def away() -> InProcessPublisher:
        raise TransientError("no broker")

    waiting = AwaitedPublisher(away, lambda error: pytest.fail(str(error)))
    waiting.close(DEADLINE_S)
    assert not waiting._thread.is_alive()


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[InProcessBus]:
    made = InProcessBus()
    made.create_topics([TopicSpec("frames", 1), TopicSpec("camera-status", 1), TopicSpec("camera-events", 1)])

    @contextmanager
    def opened(kafka: KafkaSection, in_flight_bytes: int) -> Iterator[InProcessBus]:
        yield made

    monkeypatch.setattr(producer, "open_bus", opened)
    yield made
    made.close()


def test_what_is_captured_before_the_broker_is_there_arrives(
    bus: InProcessBus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    is_there, stop = threading.Event(), threading.Event()
    make = bus.publisher

    def late() -> InProcessPublisher:
        if not is_there.is_set():
            raise TransientError("no broker")
        return make()

    monkeypatch.setattr(bus, "publisher", late)
    made = Loaded(settings(tmp_path / "spool", fps=50), {})
    run = threading.Thread(target=run_producer, args=(made, ["synthetic://walkway?seed=1&seconds=0"], ["gate"], stop))
    run.start()

    def num_kept() -> int:
        return sum(1 for path in tmp_path.rglob("*.segment") for _ in skim(path, 0))

    assert wait_until(lambda: num_kept() >= 10, DEADLINE_S)
    is_there.set()
    reader = bus.reader(["frames"], from_beginning=True)
    headers: list[FrameHeader] = []

    def has_arrived() -> bool:
        records = reader.read_to_end(1.0)
        headers.extend(decode_message(FrameHeader, record.header(HEADER)) for record in records)
        return len(headers) >= 20

    assert wait_until(has_arrived, DEADLINE_S)
    stop.set()
    run.join(DEADLINE_S)
    assert not run.is_alive()
    has_arrived()
    frames = [one.frame_index for one in headers if one.kind == "frame"]
    assert frames == list(range(len(frames)))
    statuses = bus.reader(["camera-status"], from_beginning=True).read_to_end(1.0)
    assert b'"state":"offline"' in (statuses[-1].value or b"")


def test_a_producer_that_is_refused_for_good_ends_with_the_reason(
    bus: InProcessBus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse() -> InProcessPublisher:
        raise FatalError("wrong password")

    monkeypatch.setattr(bus, "publisher", refuse)
    source = "synthetic://walkway?seed=1&seconds=0"
    with pytest.raises(FatalError, match="wrong password"):
        run_producer(Loaded(settings(tmp_path / "spool"), {}), [source], ["gate"], threading.Event())


def test_settings_become_options(tmp_path: Path) -> None:
    options = producer_options(settings(tmp_path, fps=5, catch_up="newest-first", heartbeat_s=7))
    assert (options.catch_up.fps, options.catch_up.order) == (15.0, "newest-first")
    assert options.reports is not None
    assert (options.reports.status_topic, options.reports.heartbeat_s) == ("camera-status", 7)
    spool = open_spool(settings(tmp_path / "spool", spool_bytes=2**21, spool_age_s=60).producer)
    assert spool is not None
    assert (spool.options.max_bytes, spool.options.max_age_s) == (2**21, 60)
    spool.close()
    assert open_spool(ProducerSettings().producer) is None
