"""``engram produce`` from sources to a log in memory: what arrives, how it ends, what is said of the rest."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from engram.run import producer
from engram.run.producer import run_producer
from messaging.inprocess.bus import InProcessBus
from messaging.ports import OutRecord, TopicSpec
from producers.naming import default_camera_names
from schemas.codec import HEADER, decode_message
from schemas.errors import FatalError, SettingsError, TransientError
from schemas.messages import FrameHeader
from schemas.settings import Loaded, ProducerSettings
from schemas.settings.connections import KafkaSection

TOPIC = "site.frames"
SCENE = "synthetic://walkway?seed=1&seconds=1"
ENDLESS = "synthetic://walkway?seed=1&seconds=0"
SETTINGS = ProducerSettings.model_validate(
    {
        "kafka": {"topic_prefix": "site."},
        "producer": {"pace": "backfill", "width": 32, "height": 24, "buffer_bytes": 2**20},
    }
)
LOADED = Loaded(SETTINGS, {})


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[InProcessBus]:
    """In place of Kafka; its buffer must be bounded as the settings say."""
    made = InProcessBus()
    made.create_topics([TopicSpec(TOPIC, 4)])

    @contextmanager
    def opened(kafka: KafkaSection, in_flight_bytes: int) -> Iterator[InProcessBus]:
        assert (kafka, in_flight_bytes) == (SETTINGS.kafka, 2**20)
        yield made

    monkeypatch.setattr(producer, "open_bus", opened)
    yield made
    made.close()


def headers(bus: InProcessBus) -> list[FrameHeader]:
    records = bus.reader([TOPIC], from_beginning=True).read_to_end(1.0)
    return [decode_message(FrameHeader, dict(record.headers)[HEADER]) for record in records]


def test_every_frame_of_every_source_arrives_under_its_name(bus: InProcessBus) -> None:
    run_producer(LOADED, [SCENE, SCENE], ["a", "b"], threading.Event())
    for name in ("a", "b"):
        own = [header for header in headers(bus) if header.camera_id == name]
        assert [header.kind for header in own] == ["frame"] * 10 + ["end_of_session"]
        assert [header.frame_index for header in own[:10]] == list(range(10))
        assert {(header.width, header.height) for header in own[:10]} == {(32, 24)}


def test_unnamed_cameras_are_called_after_their_machine(bus: InProcessBus) -> None:
    """``cam1`` of one machine would be taken for ``cam1`` of another."""
    run_producer(LOADED, [SCENE, SCENE], (), threading.Event())
    assert {header.camera_id for header in headers(bus)} == set(default_camera_names(2))


def test_a_wrong_number_of_names_is_refused_before_anything_is_sent(bus: InProcessBus) -> None:
    with pytest.raises(SettingsError, match="got 1 for 2"):
        run_producer(LOADED, [SCENE, SCENE], ["a"], threading.Event())
    assert headers(bus) == []


def test_a_signal_ends_a_source_without_end_with_its_session(
    bus: InProcessBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()
    publisher = bus.publisher()
    publish = publisher.publish

    def count(*given: Any) -> None:
        publish(*given)
        if len(headers(bus)) == 5:
            stop.set()

    monkeypatch.setattr(publisher, "publish", count)
    monkeypatch.setattr(bus, "publisher", lambda: publisher)
    run_producer(LOADED, [ENDLESS], ["gate"], stop)
    kinds = [header.kind for header in headers(bus)]
    assert kinds.count("frame") >= 5
    assert kinds[-1] == "end_of_session"
    with pytest.raises(FatalError, match="was closed"):
        publish(OutRecord(TOPIC, "gate", b""))  # who made the publisher closes it


def test_a_signal_while_the_broker_is_away_ends_it_without_an_error(
    bus: InProcessBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()

    def away() -> None:
        stop.set()
        raise TransientError("away")

    monkeypatch.setattr(bus, "publisher", away)
    run_producer(LOADED, [ENDLESS], ["gate"], stop)
    assert headers(bus) == []


def in_flight(number: int) -> Any:
    counts = SimpleNamespace(in_flight=number)
    return SimpleNamespace(
        snapshot=lambda: {"a": SimpleNamespace(counts=counts), "b": SimpleNamespace(counts=counts)},
        summary=lambda: "so much of a and b",
    )


@pytest.mark.parametrize(("number", "told"), [(0, []), (2, ["given up with 4 frames undelivered: so much of a and b"])])
def test_frames_that_are_given_up_are_counted_over_all_cameras(
    number: int, told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    bus = InProcessBus()
    publisher = bus.publisher()
    producer._settle(publisher, in_flight(number))
    assert [record.getMessage() for record in caplog.records] == told
    with pytest.raises(FatalError, match="was closed"):
        publisher.publish(OutRecord(TOPIC, "gate", b""))
