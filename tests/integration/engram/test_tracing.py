"""One trace from a camera to an event, over a real Kafka: the real producer and worker, and a collector they tell."""

import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaConsumer

from consumers.reader import EventReader
from deploy.local.wait import wait_until
from engram.build.adapters import open_bus
from engram.build.topics import topic_specs
from engram.observe import spans
from engram.run.fleet import run_worker
from engram.run.process import Crew
from engram.run.producer import run_producer
from schemas.messages import AnomalyEvent
from schemas.settings import AllSettings, ProducerSettings, WorkerSettings, load_settings, load_with_origins
from schemas.topics import TopicNames
from tests.collector import Collector, TakenSpan, collector
from tests.small_bundle import jpeg

PATIENCE_S = 120.0
NUM_FRAMES = 130


@pytest.fixture
def overrides(
    kafka_bootstrap: str, bundle: Path, tmp_path: Path, fresh_name: Callable[[str], str]
) -> dict[str, object]:
    return {
        "kafka.bootstrap_servers": kafka_bootstrap,
        "kafka.topic_prefix": f"{fresh_name('t')}.",
        "kafka.frames_partitions": 2,
        "kafka.event_mode": "binary",
        "store.url": f"sqlite:///{tmp_path / 'banks.db'}",
        "worker.bundle": bundle,
        "worker.threads": 1,
        "worker.worker_id": "w1",
        "producer.source_fps": 10.0,
        "producer.fps": 10.0,
        "producer.pace": "backfill",
        "tracing.enabled": True,
        "tracing.sample": 1.0,
    }


def events_of(overrides: dict[str, object], folder: Path) -> Sequence[AnomalyEvent]:
    """Of a recording that a producer sends and a worker scores, both of which end."""
    settings = load_settings(AllSettings, None, overrides)
    topics = TopicNames.with_prefix(settings.kafka.topic_prefix)
    for index in range(NUM_FRAMES):
        (folder / f"{index:04}.jpg").write_bytes(jpeg("calm", index))
    crew, stop, found = Crew(), threading.Event(), list[AnomalyEvent]()
    with open_bus(settings.kafka) as bus:
        bus.create_topics(topic_specs(settings.kafka, settings.worker.max_frame_bytes))
        crew.start("worker", lambda: run_worker(load_settings(WorkerSettings, None, overrides), stop))
        try:
            loaded = load_with_origins(ProducerSettings, None, overrides, {})
            run_producer(loaded, [str(folder)], ["calm"], threading.Event())
            with closing(bus.reader([topics.anomaly_events], from_beginning=True)) as reader:
                events = EventReader(reader)

                def is_over() -> bool:
                    found.extend(events.read(0.5))
                    return any(event.data.phase == "end" for event in found) or not crew.is_running("worker")

                assert wait_until(is_over, PATIENCE_S)
        finally:
            stop.set()
            assert not crew.join(PATIENCE_S)
    crew.raise_error()
    return found


def header_of_an_event(overrides: dict[str, object]) -> bytes:
    """As any other consumer finds it, in binary form."""
    topics = TopicNames.with_prefix(str(overrides["kafka.topic_prefix"]))
    consumer = KafkaConsumer(
        topics.anomaly_events,
        bootstrap_servers=overrides["kafka.bootstrap_servers"],
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        consumer_timeout_ms=int(PATIENCE_S * 1000),
    )
    with closing(consumer):
        return dict(next(consumer).headers)["ce_traceparent"]


def only(taken: Sequence[TakenSpan], name: str, **ids: str) -> TakenSpan:
    (found,) = [one for one in taken if one.name == name and all(getattr(one, key) == ids[key] for key in ids)]
    return found


def test_a_trace_leads_from_the_camera_to_the_event(
    overrides: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans, "END_S", PATIENCE_S)
    (folder := tmp_path / "footage").mkdir()
    with collector() as there:
        events = events_of({**overrides, "tracing.endpoint": there.url}, folder)
        check(events, there)
    (traceparent,) = {event.traceparent for event in events if event.data.event_id == events[0].data.event_id}
    assert header_of_an_event(overrides).decode() == traceparent


def check(events: Sequence[AnomalyEvent], there: Collector) -> None:
    taken = there.spans()
    assert len([one for one in taken if one.name == "send frame"]) == NUM_FRAMES
    assert {event.data.phase for event in events} >= {"start", "end"}
    for event in events:
        assert event.traceparent is not None
        _, trace_id, span_id, _ = event.traceparent.split("-")
        process = only(taken, "process frame", trace_id=trace_id)
        send = only(taken, "send frame", trace_id=trace_id)
        assert (process.span_id, process.parent_id, send.parent_id) == (span_id, send.span_id, "")
        assert send.resource["service.name"] == "engram-produce"
        assert send.attributes["engram.frame"] == event.data.frames.first
        assert process.resource["service.name"] == "engram-work"
        assert process.resource["service.instance.id"] == "w1"
        for stage in ("decode", "infer", "assess", "commit"):
            assert only(taken, stage, trace_id=trace_id).parent_id == span_id
