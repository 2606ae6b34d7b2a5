"""A bad day: workers killed, the broker restarted, Redis full, foreign records everywhere, two cameras of one name.

Whatever happens, every record that reached the log comes to exactly one end, and what became of it can be read from the
topics alone: a score, a dead letter, or a count in its camera's state.
"""

import json
import re
import threading
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
from engram.build.bundles import shipped_bundle
from engram.build.topics import topic_specs
from engram.demo.fleet import Fleet
from engram.demo.progress import Progress
from messaging.dead_letters import SOURCE
from messaging.ports import Bus, OutRecord, Record
from schemas.codec import HEADER, decode_message
from schemas.errors import BadMessageError
from schemas.messages import FrameHeader, FrameScore
from schemas.settings import AllSettings, load_settings
from schemas.settings.layers import as_environment
from schemas.topics import TopicNames

CAMERAS = {"gate": 301, "west": 302, "north": 303, "south": 304}
SECONDS = 40.0
FPS = 5.0
DEADLINE_S = 240.0
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
        "worker.bundle": str(shipped_bundle()),
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
    progress = Progress(bus, place.topics.frame_scores, DEADLINE_S, threading.Event())
    num_started: Counter[str] = Counter()
    alive: dict[str, str] = {}

    def start_worker(worker_id: str) -> None:
        num_started[worker_id] += 1
        alive[worker_id] = f"{worker_id}-{num_started[worker_id]}"
        fleet.start(alive[worker_id], ["work", "--worker-id", worker_id])

    def replace(worker_id: str) -> None:
        fleet.kill(alive[worker_id])
        start_worker(worker_id)

    def wait_scored(more: int) -> None:
        progress.wait_scored(
            progress.num_scored + more, lambda: fleet.require_running(["coordinator", *alive.values()])
        )

    fleet.start("coordinator", ["coordinate"])
    start_worker("worker-1")
    start_worker("worker-2")
    fleet.wait_until_logged(list(alive.values()), "is ours", DEADLINE_S)
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
        fleet.wait(name, DEADLINE_S)
    wait_until_accounted(place, bus, fleet, ["coordinator", *alive.values()])
    codes = fleet.end(["coordinator", *alive.values()])
    assert not any(codes.values()), "\n".join(fleet.told(name) for name, code in codes.items() if code)
    return producers


def wait_until_accounted(place: Place, bus: Bus, fleet: Fleet, running: Sequence[str]) -> None:
    """Until as many ends as records are there; which they are is looked at afterwards."""
    stop, waited = threading.Event(), 0.0
    while accounted(place, bus).total() < len(read(bus, place.topics.frames)):
        fleet.require_running(running)
        assert waited < DEADLINE_S, f"{accounted(place, bus)} of {len(read(bus, place.topics.frames))} records"
        stop.wait(1.0)
        waited += 1.0


def read(bus: Bus, topic: str) -> Sequence[Record]:
    reader = bus.reader([topic], from_beginning=True)
    try:
        return reader.read_to_end(READ_S)
    finally:
        reader.close()


def scores_of(place: Place, bus: Bus) -> list[FrameScore]:
    found = []
    for record in read(bus, place.topics.frame_scores):
        try:
            found.append(decode_message(FrameScore, record.value))
        except BadMessageError:
            continue  # one of the foreign ones
    return found


def accounted(place: Place, bus: Bus) -> Counter[str]:
    """What became of the records on ``frames``: scores, letters about them, and what the cameras' states count."""
    ends: Counter[str] = Counter(scored=len(scores_of(place, bus)))
    for letter in read(bus, place.topics.dead_letters):
        source = (letter.header(SOURCE) or b"").decode()
        ends["dead"] += source.startswith(f"{place.topics.frames}/")
    states = {record.key: record.value for record in read(bus, place.topics.camera_states)}
    for value in states.values():
        try:
            counts = json.loads(value or b"{}")["counts"]
        except (ValueError, KeyError, TypeError, RecursionError):
            continue  # one of the foreign ones
        ends["ended"] += counts["session_ends"]
        ends.update(counts["skipped"])
    return ends


def headers_of(records: Sequence[Record]) -> list[FrameHeader]:
    found = []
    for record in records:
        try:
            found.append(decode_message(FrameHeader, record.header(HEADER)))
        except BadMessageError:
            continue
    return found


def test_on_a_bad_day_every_frame_comes_to_one_end(place: Place, tmp_path: Path) -> None:
    with ExitStack() as opened:
        bus = opened.enter_context(open_bus(place.settings.kafka))
        bus.create_topics(topic_specs(place.settings.kafka, place.settings.worker.max_frame_bytes))
        fleet = opened.enter_context(Fleet(tmp_path, place.environment))
        producers = live_through(place, fleet, bus)

        records = read(bus, place.topics.frames)
        ends = accounted(place, bus)
        assert ends.total() == len(records), (ends, len(records))
        assert ends["dead"] == len(FOREIGN)

        scored = Counter((score.camera_id, score.session_id, score.frame_index) for score in scores_of(place, bus))
        sent = {(one.camera_id, one.session_id, one.frame_index) for one in headers_of(records) if one.kind == "frame"}
        assert not [key for key, count in scored.items() if count > 1]
        assert scored.keys() <= sent
        for camera in set(CAMERAS) - {"gate"}:  # nobody took their name, so nothing of theirs may be missing
            assert {key for key in scored if key[0] == camera} == {key for key in sent if key[0] == camera}

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
