"""A bad day: workers killed, the broker restarted, Redis full, foreign records everywhere, two cameras of one name.

Whatever happens, every record that reached the log comes to exactly one end, and what became of it can be read from the
topics alone: a score, a dead letter, or a count in its camera's state.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from deploy.local.kafka import LocalKafka
from deploy.local.redis import LocalRedis
from engram.build.adapters import open_bus, open_store
from engram.build.shipped import WALKWAY, shipped_bundle
from engram.build.topics import topic_specs
from engram.demo.fleet import Fleet
from messaging.ports import Bus, OutRecord
from schemas.codec import HEADER
from schemas.settings import AllSettings, load_settings
from schemas.settings.layers import as_environment
from schemas.topics import TopicNames
from tests.faults.ledger import Deadline, Ledger

CAMERAS = {"gate": 301, "west": 302, "north": 303, "south": 304}
SECONDS = 40.0
FPS = 5.0
DAY_S = 420.0
"""For all that is waited for until the fleet is told to end; the test's own time-out leaves room for what follows."""
READ_S = 60.0
FOREIGN: Sequence[tuple[str, bytes | None, tuple[tuple[str, bytes], ...]]] = (
    ("gate", b"not a JPEG", ()),
    ("gate", b'{"schema_version": 1}', ((HEADER, b'{"schema_version": 1}'),)),
    ("nobody", b"{}", ((HEADER, b"[" * 1100 + b"]" * 1100),)),
    ("nobody", b"[" * 1100 + b"]" * 1100, (("other", b"\xff" * 5000),)),
    ("x" * 5000, b"", ((HEADER, b'{"captured_at": "9999-12-31T23:59:59-12:00"}'),)),
)
"""Key, value and headers of records that anybody might put on any topic."""

ACCOUNT = re.compile(r"(\d+) captured, (\d+) sent, (\d+) in flight, (\d+) sampled out, (\d+) dropped")


@dataclass(frozen=True, slots=True)
class Place:
    """Addresses and names of one day, as settings of all its processes."""

    kafka: LocalKafka
    store: LocalRedis
    overrides: dict[str, object]

    @property
    def settings(self) -> AllSettings:
        return load_settings(AllSettings, None, self.overrides)

    @property
    def environment(self) -> dict[str, str]:
        return {as_environment(path): str(value) for path, value in self.overrides.items()}

    @property
    def topics(self) -> TopicNames:
        return TopicNames.with_prefix(self.settings.kafka.topic_prefix)


@pytest.fixture
def place(own_kafka: LocalKafka, own_redis: LocalRedis, fresh_name: Callable[[str], str]) -> Place:
    prefix = fresh_name("chaos") + "."
    overrides: dict[str, object] = {
        "kafka.bootstrap_servers": own_kafka.bootstrap_servers,
        "store.url": own_redis.url,
        "kafka.topic_prefix": prefix,
        "kafka.group": f"{prefix}workers",
        "kafka.frames_partitions": len(CAMERAS),
        "kafka.session_timeout_s": 6.0,
        "producer.fps": FPS,
        "worker.bundle": str(shipped_bundle(WALKWAY)),
        "worker.threads": 1,
        "coordinator.round_s": 3.0,
        "coordinator.quarantine_s": 1.0,
    }
    return Place(own_kafka, own_redis, overrides)


def put_foreign_records(bus: Bus, topics: TopicNames) -> None:
    """The same rubbish on every topic."""
    publisher = bus.publisher()
    for topic in topics.all():
        for key, value, headers in FOREIGN:
            publisher.publish(OutRecord(topic, key, value, headers))
    assert publisher.flush(READ_S)
    publisher.close(READ_S)


def live_through(place: Place, fleet: Fleet, bus: Bus) -> list[str]:
    """The day. Returns the names of the producers, which have ended."""
    ledger, deadline = Ledger(bus, place.topics), Deadline(DAY_S)
    num_started: Counter[str] = Counter()
    alive: dict[str, str] = {}

    def start_worker(worker_id: str) -> None:
        num_started[worker_id] += 1
        alive[worker_id] = f"{worker_id}-{num_started[worker_id]}"
        fleet.start(alive[worker_id], ["work", "--worker-id", worker_id])

    def replace(worker_id: str) -> None:
        fleet.kill(alive[worker_id])
        start_worker(worker_id)

    def look() -> None:
        fleet.require_running(["coordinator", *alive.values()])

    def wait_scored(more: int) -> None:
        wanted = ledger.scored.total() + more
        ledger.follow(lambda: ledger.scored.total() >= wanted, look, deadline)

    fleet.start("coordinator", ["coordinate"])
    start_worker("worker-1")
    start_worker("worker-2")
    fleet.wait_until_logged(list(alive.values()), "is ours", deadline.left_s)
    sources = [f"synthetic://walkway?seed={seed}&seconds={SECONDS:g}&fps={FPS:g}" for seed in CAMERAS.values()]
    named = [part for camera in CAMERAS for part in ("--camera", camera)]
    fleet.start("cameras", ["produce", *sources, *named])
    wait_scored(40)
    replace("worker-1")
    with redis.Redis.from_url(place.store.url) as store:
        store.config_set("maxmemory", 1)  # every write is refused from here on
        wait_scored(60)
        put_foreign_records(bus, place.topics)
        fleet.start("twin", ["produce", f"synthetic://walkway?seed=7&seconds=8&fps={FPS:g}", "--camera", "gate"])
        wait_scored(60)
        replace("worker-2")
        wait_scored(60)
        place.kafka.kill()
        place.kafka.start()
        wait_scored(60)
        store.config_set("maxmemory", 0)
    replace("worker-1")
    producers = ["cameras", "twin"]
    for name in producers:
        fleet.wait(name, deadline.left_s)
    ledger.read_to_end(READ_S)  # all that was sent
    ledger.follow(ledger.is_settled, look, deadline)
    codes = fleet.end(["coordinator", *alive.values()])
    assert not any(codes.values()), "\n".join(fleet.told(name) for name, code in codes.items() if code)
    return producers


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_on_a_bad_day_every_frame_comes_to_one_end(place: Place, tmp_path: Path) -> None:
    with ExitStack() as opened:
        bus = opened.enter_context(open_bus(place.settings.kafka))
        bus.create_topics(topic_specs(place.settings.kafka, place.settings.worker.max_frame_bytes))
        fleet = opened.enter_context(Fleet(tmp_path, place.environment))
        producers = live_through(place, fleet, bus)

        ledger = Ledger(bus, place.topics)  # read anew, now that all is over
        ledger.read_to_end(READ_S)
        assert not ledger.open(), str(ledger)
        assert len(ledger.letters) == ledger.letters.total() == len(FOREIGN), str(ledger)
        sent = {one.frame for one in ledger.sent if one.frame}
        assert not [frame for frame, count in ledger.scored.items() if count > 1]
        assert ledger.scored.keys() <= sent
        for camera in set(CAMERAS) - {"gate"}:  # nobody took their name, so nothing of theirs may be missing
            assert {frame for frame in sent if frame[0] == camera} == {
                frame for frame in ledger.scored if frame[0] == camera
            }

        for name in producers:
            told = ACCOUNT.findall(fleet.log_path(name).read_text("utf-8"))
            assert told, fleet.told(name)
            for captured, delivered, in_flight, sampled_out, dropped in (map(int, each) for each in told):
                assert captured == delivered + in_flight + sampled_out + dropped
        assert len(sent) >= sum(int(each[1]) for name in producers for each in last_accounts(fleet, name))

        with open_store(place.settings.store) as store:
            assert store.log(place.settings.memory.bank_id), "the coordinator went on after Redis was full"


def last_accounts(fleet: Fleet, name: str) -> list[tuple[str, ...]]:
    """The accounts of the last line that has any: one for each camera."""
    lines = fleet.log_path(name).read_text("utf-8").splitlines()
    return next(found for line in reversed(lines) if (found := ACCOUNT.findall(line)))
