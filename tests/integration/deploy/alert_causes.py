"""What brings each alert about, done to real parts: workers, producers, coordinators, a log and a store.

A cause is a generator. It stops three times to be looked at: at the beginning, after a minute in which all was well,
and after the minute of the cause.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np

from engram.observe.coordinator import SeenCoordinator
from engram.observe.desk import Desk
from engram.observe.observed import Observed
from engram.observe.producer import SeenProducer
from engram.observe.server import Request
from engram.observe.worker import SeenWorker
from inference.engine import engine_of
from memory_store.bank import Bank
from memory_store.coordinator.coordinator import Coordinator, leadership
from memory_store.coordinator.guards import distance_to_anchor
from memory_store.coordinator.options import ChangeLimits, RoundRules
from memory_store.stores.sqlite import SqliteStore
from memory_store.views import BankCache, InitialBank
from messaging.inprocess.bus import InProcessBus
from messaging.ports import OutRecord
from producers.feed import CameraFeed
from producers.pacing import PacingOptions
from producers.producer import Producer, ProducerOptions
from producers.sources import CapturedFrame, LiveOptions, SourceOptions, open_source
from schemas.errors import TransientError
from schemas.topics import TopicNames
from tests.integration.memory_store.bench import BANK_ID, INITIAL, Bench, initial_bank, options, proposal
from tests.integration.producers.camera_servers import mjpeg_camera
from tests.integration.workers.conftest import FIXED_RULES, PARTITIONS, START, Site, frame_record
from tests.integration.workers.test_worker_seen import MovingStore
from tests.integration.workers.test_worker_shell import MANY_TURNS, FakeClock, received, turn_until
from tests.small_bundle import small_bundle
from tests.unit.memory_store.proposals import FREEZE
from tests.unit.producers.memory_publisher import MemoryPublisher
from tests.unit.producers.scripted_source import ScriptedSource, plain
from workers.worker import Worker

DEADLINE_S = 60.0
AT_ONCE = RoundRules(round_s=0)
LIVE = PacingOptions(mode="live")


@dataclass
class Scene:
    """The processes of one cause, each with the page that Prometheus would read.

    Attributes:
        folder: for files.
        desks: by the name of the process; one that is taken out is gone.
    """

    folder: Path
    desks: dict[str, Desk] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.coordinated = coordinated(self)  # every site has one, and misses it

    def shows(self, process: str, part: Observed) -> None:
        """A process that runs ``part``."""
        self.desks[process] = desk = Desk(process, partial(next, count(0.0, 60.0)))
        desk.show(part)

    def pages(self) -> dict[str, str]:
        """What each process shows now."""
        return {name: desk.answer(Request("/metrics")).body.decode() for name, desk in self.desks.items()}

    def worker(self, **changes: object) -> "AWorker":
        """A worker of its own site."""
        made = AWorker(self.folder, **changes)
        self.shows("worker", made.view)
        return made


class AWorker:
    """A worker turned by hand, with clocks of the test, on a log in memory and a store that can go away."""

    def __init__(self, folder: Path, **changes: object) -> None:
        self.wall = START
        self.log_is_slow_by_s = 0.0
        self.clock = FakeClock()
        self.store = MovingStore(folder / "banks.db")
        bus = InProcessBus(clock=lambda: self.wall.timestamp() - self.log_is_slow_by_s)
        self.site = Site(bus, self.store, small_bundle(), TopicNames.with_prefix(""))
        initial = InitialBank(self.site.bundle.digest, self.site.bundle.items_MC)
        engine = engine_of(self.site.bundle, device="cpu", threads=1)
        banks = BankCache(self.store, initial, refresh_s=0.0, clock=self.clock)
        options = replace(self.site.options, commit_interval_s=0.0, **changes)  # type: ignore[arg-type]
        self.worker = Worker(bus, engine, banks, options, self._now, self.clock)
        self.view = SeenWorker(self.worker, engine, banks, "w1", self._now, self.clock)
        turn_until(self.worker, lambda: self.worker.snapshot().partitions > 0)

    def handles(self, *records: OutRecord) -> None:
        """Publish these, and turn until they are done with."""
        before = self.worker.snapshot().tally.received
        self.site.publish(*records)
        turn_until(self.worker, received(self.worker, before + len(records)))

    def scores(self, indices: range) -> None:
        """Take frames of camera ``a``, in order."""
        before = self.worker.snapshot().tally.received
        self.site.frames("a", indices)
        turn_until(self.worker, received(self.worker, before + len(indices)))

    def _now(self) -> datetime:
        return self.wall


class Tap(ScriptedSource):
    """A live source whose frames flow when the test says so."""

    def __init__(self, count: int) -> None:
        super().__init__([plain()] * count, is_live=True, ends=False)
        self.flows = threading.Event()

    def __iter__(self) -> Iterator[CapturedFrame]:
        assert self.flows.wait(DEADLINE_S)
        yield from super().__iter__()


def until(condition: Callable[[], object]) -> None:
    """Wait, with a deadline."""
    pause, deadline_s = threading.Event(), time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s
        pause.wait(0.01)


def coordinated(scene: Scene, limit: float | None = 0.05) -> tuple[Bench, Coordinator]:
    """A coordinator that leads, each proposal a round of its own."""
    bench = Bench(SqliteStore(scene.folder / f"banks-{limit}.sqlite"))
    limits = ChangeLimits(None, limit, None)
    coordinator = bench.coordinator(rules=AT_ONCE, limits=limits)
    coordinator.step()
    scene.shows("coordinator", SeenCoordinator(coordinator, INITIAL, limits, bench.clock.wall, bench.clock))
    return bench, coordinator


def a_process_that_dies(scene: Scene) -> Iterator[None]:
    scene.worker()
    yield
    yield
    del scene.desks["worker"]
    yield


def more_workers_than_partitions(scene: Scene) -> Iterator[None]:
    first = scene.worker()
    yield
    yield
    workers = [first.worker, *(first.site.worker(worker_id=f"w{number}") for number in range(2, PARTITIONS + 2))]
    for _ in range(MANY_TURNS):
        for each in workers:
            each._turn()
        if sum(each.snapshot().partitions > 0 for each in workers) == PARTITIONS:
            break
    for number, each in enumerate(workers[1:], start=2):
        scene.shows(f"worker-{number}", SeenWorker(each, each._engine, each._banks, f"w{number}"))
    yield


def a_worker_that_falls_behind(scene: Scene) -> Iterator[None]:
    made = scene.worker(max_batch=4)
    yield
    made.scores(range(8))
    yield
    made.log_is_slow_by_s = 224.0
    made.site.frames("a", range(8, 30))
    turn_until(made.worker, received(made.worker, 12))
    yield


def a_worker_that_hangs(scene: Scene) -> Iterator[None]:
    made = scene.worker()
    yield from _sent_and_not_scored(scene, made, lambda: None)


def a_worker_that_is_gone(scene: Scene) -> Iterator[None]:
    made = scene.worker()
    yield from _sent_and_not_scored(scene, made, lambda: scene.desks.pop("worker"))


def _sent_and_not_scored(scene: Scene, made: AWorker, harm: Callable[[], object]) -> Iterator[None]:
    taps = {"gate": Tap(10), "yard": Tap(40)}
    feeds = [CameraFeed(name, tap, pacing=LIVE) for name, tap in taps.items()]
    producer = Producer(feeds, made.site.bus.publisher())
    scene.shows("producer", SeenProducer(producer))
    producer.start()
    try:
        yield
        taps["gate"].flows.set()
        until(lambda: producer.snapshot()["gate"].counts.sent == 10)  # the worker's turns wait for nothing
        turn_until(made.worker, received(made.worker, 10))
        yield
        taps["yard"].flows.set()
        until(lambda: producer.snapshot()["yard"].counts.sent == 40)
        harm()
        yield
    finally:
        for tap in taps.values():
            tap.flows.set()
        producer.stop()


def retention_that_is_too_short(scene: Scene) -> Iterator[None]:
    made = scene.worker(max_batch=4)
    yield
    made.scores(range(8))
    yield
    made.site.frames("a", range(8, 60))
    turn_until(made.worker, received(made.worker, 12))
    for partition in made.site.bus._shared.topic("frames").partitions:  # type: ignore[attr-defined]
        while len(partition) > 2:
            partition.drop_oldest()
    turn_until(made.worker, lambda: made.worker.snapshot().tally.lost > 0)
    yield


def scores_that_come_seconds_late(scene: Scene) -> Iterator[None]:
    made = scene.worker()
    yield
    made.wall = START + timedelta(seconds=2)
    made.scores(range(20))
    yield
    made.wall = START + timedelta(seconds=24)
    made.scores(range(20, 40))
    yield


def a_record_that_is_no_image(scene: Scene) -> Iterator[None]:
    made = scene.worker()
    yield
    made.scores(range(8))
    yield
    made.handles(replace(frame_record(made.site.topics.frames, "a", 8), value=b"GIF89a"))
    yield


def a_proposal_that_is_none(scene: Scene) -> Iterator[None]:
    bench, coordinator = coordinated(scene, limit=None)
    yield
    _propose(bench, coordinator, 1)
    yield
    _propose(bench, coordinator, 2, 3)
    bench.send(replace(proposal(initial_bank(), "cam4")[0], value=b"short"))
    bench.pass_time(coordinator, 1)
    yield


def an_event_that_does_not_end(scene: Scene) -> Iterator[None]:
    rules = replace(FIXED_RULES, enter=0.0, exit=0.0, min_duration_s=0.0, max_duration_s=1e9)
    made = scene.worker(events=rules)
    yield
    made.wall = START + timedelta(seconds=2)
    made.scores(range(20))
    assert made.site.events()
    yield
    made.wall = START + timedelta(hours=2)
    yield


def a_camera_that_goes_away(scene: Scene) -> Iterator[None]:
    live = LiveOptions(
        open_timeout_s=5,
        stale_after_s=60,
        dead_after_s=60,
        backoff_first_s=0.05,
        backoff_max_s=0.2,
        backoff_jitter_s=0.01,
    )
    with mjpeg_camera() as camera:
        camera.num_sent, camera.goes_silent = 1, True  # what came between two looks would be sent, and not scored
        source = open_source(f"http://127.0.0.1:{camera.server_port}/video", SourceOptions(live=live))
        producer = Producer([CameraFeed("gate", source, pacing=replace(LIVE, fps=10))], MemoryPublisher())
        scene.shows("producer", SeenProducer(producer))
        producer.start()
        until(lambda: producer.snapshot()["gate"].counts.sent)
        yield
        yield
    until(lambda: producer.snapshot()["gate"].status.state != "online")
    yield
    producer.stop()


def a_way_to_the_log_that_is_too_narrow(scene: Scene) -> Iterator[None]:
    yield from _produced(scene, MemoryPublisher(room=2, holds=True), lambda _: None)


def a_log_that_is_away(scene: Scene) -> Iterator[None]:
    def harm(publisher: MemoryPublisher) -> None:
        publisher.away = TransientError("no broker")

    yield from _produced(scene, MemoryPublisher(), harm)


def _produced(scene: Scene, publisher: MemoryPublisher, harm: Callable[[MemoryPublisher], None]) -> Iterator[None]:
    tap = Tap(60)
    producer = Producer([CameraFeed("gate", tap, pacing=LIVE)], publisher, ProducerOptions(drain_timeout_s=0.1))
    scene.shows("producer", SeenProducer(producer))
    producer.start()
    try:
        yield
        yield
        harm(publisher)
        tap.flows.set()
        until(lambda: producer.snapshot()["gate"].counts.num_dropped > 50 or producer.is_log_away)
        yield
    finally:
        tap.flows.set()
        producer.stop()


def a_store_that_a_worker_does_not_reach(scene: Scene) -> Iterator[None]:
    made = scene.worker()
    made.scores(range(6))
    yield
    yield
    made.store.is_away = True
    made.clock.now_s += 60
    made.scores(range(6, 8))
    yield


def a_lease_of_one_that_hangs(scene: Scene) -> Iterator[None]:
    bench, coordinator = scene.coordinated
    yield
    yield
    coordinator.step_back()
    assert bench.store.acquire(leadership(options().group), "one that hangs", 1e6)
    coordinator.step()
    yield


def no_coordinator(scene: Scene) -> Iterator[None]:
    yield
    yield
    del scene.desks["coordinator"]
    yield


def a_memory_that_somebody_froze(scene: Scene) -> Iterator[None]:
    bench, coordinator = coordinated(scene, limit=None)
    bench.send(proposal(initial_bank())[0])
    bench.pass_time(coordinator, 1)
    yield
    yield
    bench.store.freeze(BANK_ID, *FREEZE)
    bench.pass_time(coordinator, 5)
    yield


def a_memory_that_wanders_off(scene: Scene) -> Iterator[None]:
    record, sums, _ = proposal(initial_bank())
    reached = distance_to_anchor(sums.updated(np.asarray(INITIAL.items_MC)), INITIAL.items_MC)
    bench, coordinator = coordinated(scene, limit=reached / 0.9)
    bench.send(replace(record, value=b"short"))  # a first word on the bank, which makes it
    bench.pass_time(coordinator, 1)
    yield
    yield
    bench.send(record)
    bench.pass_time(coordinator, 1)
    yield


def proposals_to_a_frozen_memory(scene: Scene) -> Iterator[None]:
    bench, coordinator = coordinated(scene, limit=None)
    yield
    _propose(bench, coordinator, 1)
    yield
    bench.store.freeze(BANK_ID, *FREEZE)
    bench.pass_time(coordinator, 5)
    _propose(bench, coordinator, 2, 3, 4, 5)
    yield


def _propose(bench: Bench, coordinator: Coordinator, *seeds: int) -> None:
    """One after another, each on the newest version."""
    for seed in seeds:
        base: Bank = bench.store.read(BANK_ID) or initial_bank()
        bench.send(proposal(base, f"cam{seed}", seed=seed)[0])
        bench.pass_time(coordinator, 1)
