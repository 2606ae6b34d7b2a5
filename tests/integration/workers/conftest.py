"""A worker over the in-process bus, with a real network and a real store."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TypeVar

import pytest
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from bundles.bundle import Bundle
from inference.engine import engine_of
from memory_store.store import BankReader
from memory_store.stores.sqlite import SqliteStore
from memory_store.views import BankCache, InitialBank
from messaging.inprocess.bus import InProcessBus
from messaging.ports import Bus, OutRecord, Record, TopicSpec
from messaging.tracing import Tracer, traced
from schemas.codec import decode_message, encode_header
from schemas.errors import TransientError
from schemas.messages import AnomalyEvent, FrameHeader, FrameScore, utc_now
from schemas.topics import TopicNames
from tests.small_bundle import jpeg, small_bundle
from workers.options import EventOptions, WorkerOptions
from workers.worker import Worker

T = TypeVar("T")

START = datetime(2026, 1, 5, 10, 0, tzinfo=timezone.utc)
DEADLINE_S = 60.0
PARTITIONS = 4
FIXED_RULES = EventOptions(enter=0.5, exit=0.4, min_duration_s=0.2, merge_gap_s=0.5)


def header(camera: str, index: int, session: str) -> FrameHeader:
    """Header of a frame of 64 x 48 pixels, ten a second."""
    at = START + timedelta(seconds=index / 10)
    return FrameHeader(
        camera_id=camera,
        session_id=session,
        frame_index=index,
        captured_at=at,
        clock="media",
        width=64,
        height=48,
        fps=10,
    )


def frame_record(topic: str, camera: str, index: int, session: str = "s1", value: bytes | None = None) -> OutRecord:
    told = encode_header(header(camera, index, session))
    return OutRecord(topic, camera, jpeg(camera, index) if value is None else value, told)


def end_record(topic: str, camera: str, index: int, session: str = "s1") -> OutRecord:
    end = header(camera, index, session).model_copy(update={"kind": "end_of_session", "width": 0, "height": 0})
    return OutRecord(topic, camera, b"", encode_header(end))


Numbers = dict[tuple[str, str, int], tuple[float | None, ...]]


def numbers(scores: list[FrameScore]) -> Numbers:
    found: Numbers = {}
    for score in scores:
        key = (score.camera_id, score.session_id, score.frame_index)
        assert key not in found, f"frame {key} was scored twice"
        found[key] = (
            score.psnr_db,
            score.feature_distance,
            score.regular_score,
            score.patch_error,
            score.anomaly_score,
        )
    return found


def largest_difference(first: Numbers, second: Numbers) -> float:
    assert first.keys() == second.keys()
    pairs = [(a, b) for key in first for a, b in zip(first[key], second[key], strict=True)]
    assert all((a is None) == (b is None) for a, b in pairs)
    return max(abs(a - b) for a, b in pairs if a is not None and b is not None)


class Site:
    """Topics of one prefix on one bus, with a store: what workers work on and what they leave behind."""

    def __init__(self, bus: Bus, store: BankReader, bundle: Bundle, topics: TopicNames) -> None:
        self.bus, self.store, self.bundle, self.topics = bus, store, bundle, topics
        self.tracer: Tracer | None = None
        self.options = WorkerOptions("w1", topics=topics, group=f"{topics.frames}-workers", events=FIXED_RULES)
        compacted = {topics.camera_states, topics.memory_banks}
        per_camera = {topics.frames, topics.camera_states}
        specs = [TopicSpec(name, PARTITIONS if name in per_camera else 2, name in compacted) for name in topics.all()]
        bus.create_topics(specs)
        self._publisher = bus.publisher()

    def publish(self, *records: OutRecord) -> None:
        for record in records:
            self._publisher.publish(record)
        assert self._publisher.flush(DEADLINE_S)

    def frames(self, cameras: str, indices: range, session: str = "s1") -> None:
        """Publish frames of one-letter cameras, interleaved as they would arrive."""
        self.publish(*(frame_record(self.topics.frames, each, index, session) for index in indices for each in cameras))

    def ends(self, cameras: str, index: int, session: str = "s1") -> None:
        self.publish(*(end_record(self.topics.frames, each, index, session) for each in cameras))

    def worker(self, **changes: object) -> Worker:
        options = replace(self.options, **changes)  # type: ignore[arg-type]
        initial = InitialBank(self.bundle.digest, self.bundle.items_MC)
        engine = engine_of(self.bundle, device="cpu", threads=1)
        bus, banks = traced(self.bus, self.tracer, self.topics.frames), BankCache(self.store, initial, refresh_s=0.05)
        return Worker(bus, engine, banks, options, utc_now, tracer=self.tracer)

    @retry(
        retry=retry_if_exception_type(TransientError),
        stop=stop_after_delay(DEADLINE_S),
        wait=wait_fixed(0.2),
        reraise=True,
    )
    def records(self, topic: str) -> list[Record]:
        """All committed records; patient, because the test may just have killed the broker."""
        reader = self.bus.reader([topic], from_beginning=True)
        try:
            return list(reader.read_to_end(DEADLINE_S))
        finally:
            reader.close()

    def scores(self) -> list[FrameScore]:
        return [decode_message(FrameScore, record.value) for record in self.records(self.topics.frame_scores)]

    def events(self) -> list[AnomalyEvent]:
        return [decode_message(AnomalyEvent, record.value) for record in self.records(self.topics.anomaly_events)]

    def wait_for_scores(self, count: int) -> list[FrameScore]:
        return wait_for(self.scores, lambda scores: len(scores) >= count)


def wait_for(look: Callable[[], list[T]], is_enough: Callable[[list[T]], bool]) -> list[T]:
    """Look until it is enough, with a deadline."""
    pause, end = threading.Event(), datetime.now(timezone.utc) + timedelta(seconds=DEADLINE_S)
    while not is_enough(found := look()):
        assert datetime.now(timezone.utc) < end, f"not enough after {DEADLINE_S} s: {len(found)}"
        pause.wait(0.05)
    return found


def event_ids(site: Site) -> list[str]:
    ids = [event.id for event in site.events()]
    assert len(ids) == len(set(ids)), "no message id may come twice"
    return sorted(ids)


@contextmanager
def at_work(*workers: Worker) -> Iterator[None]:
    """Workers in threads, drained at the end; what one of them raised is raised here."""
    stop, errors = threading.Event(), []

    def run(worker: Worker) -> None:
        try:
            worker.run(stop)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(DEADLINE_S)
            assert not thread.is_alive(), "a worker must drain within the deadline"
    if errors:
        raise errors[0]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "banks.db")
    yield made
    made.close()


@pytest.fixture
def site(store: SqliteStore) -> Iterator[Site]:
    bus = InProcessBus()
    yield Site(bus, store, small_bundle(), TopicNames.with_prefix(""))
    bus.close()
