"""What a fleet shows of itself is what lies on the topics, and a worker that falls behind is seen by all who look."""

import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from deploy.local.wait import wait_until
from engram.build.adapters import open_bus, open_store
from engram.build.shipped import WALKWAY, shipped_bundle
from engram.build.topics import topic_specs
from engram.run.process import connected
from memory_store.bank import Bank
from messaging.dead_letters import REASON
from messaging.ports import Bus, OutRecord, Record
from schemas.codec import HEADER, decode_message
from schemas.messages import AnomalyEvent, FrameHeader, FrameScore
from schemas.settings import AllSettings, load_settings
from schemas.topics import TopicNames
from tests.faults.watched_fleet import AWAY, CAMERAS, DEADLINE_S, SEEN, WORKERS, Flood, Watched, until, watched_fleet
from tests.integration.workers.conftest import frame_record

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1500)]

SECONDS = 20.0
FPS = 5
FRAMES = round(SECONDS * FPS)
NUM_TRASH = 3
LATE_S = 12.0
Samples = dict[tuple[str, ...], float]


@dataclass
class Evidence:
    """What was seen at the end, and what lay on the topics.

    Attributes:
        looks: metrics of each process, when all was handled.
        headers: of the records of frames that have one.
        letters: dead letters by reason.
        num_proposals: on ``memory-updates``.
        bank: as the store has it.
        lags: of the groups, as ``engram status`` has them.
        accounts: name, whole and parts, as the console has them.
        sent: frames by camera.
        first_seen_s: after how long a worker that fell behind was seen, by who saw it.
        in_prometheus: answers to sums over the fleet.
    """

    looks: dict[str, Samples]
    headers: list[FrameHeader]
    scores: list[FrameScore]
    events: list[AnomalyEvent]
    letters: Counter[str]
    num_proposals: int
    bank: Bank
    lags: dict[str, object]
    accounts: list[dict[str, object]]
    sent: dict[str, int]
    first_seen_s: dict[str, float]
    in_prometheus: dict[str, float | None]

    def total(self, *names: str) -> float:
        """Over all processes and further labels."""
        return sum(value for look in self.looks.values() for key, value in look.items() if key[: len(names)] == names)


@pytest.fixture(scope="module")
def evidence(kafka_bootstrap: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evidence]:
    prefix = f"seen-{secrets.token_hex(4)}."
    settings: dict[str, object] = {
        "kafka.bootstrap_servers": kafka_bootstrap,
        "kafka.topic_prefix": prefix,
        "kafka.frames_partitions": 6,
        "kafka.session_timeout_s": 30.0,
        "store.url": redis_url,
        "store.key_prefix": f"{prefix}bank",
        "worker.bundle": shipped_bundle(WALKWAY).absolute(),
        "worker.threads": 1,
        "producer.fps": FPS,
        "events.target_false_alarms_per_day": 1440.0,
        "coordinator.round_s": 2.0,
        "coordinator.quarantine_s": 1.0,
    }
    chosen = load_settings(AllSettings, None, settings)
    topics = TopicNames.with_prefix(prefix)
    with open_bus(chosen.kafka) as bus:
        specs = topic_specs(chosen.kafka, chosen.worker.max_frame_bytes)
        connected(lambda: bus.create_topics(specs), threading.Event())  # a broker that is busy is waited for
        with watched_fleet(settings, tmp_path_factory.mktemp("fleet"), SECONDS) as watched:
            _publish_trash(bus, topics)
            until(lambda: watched.total("worker_frames_scored_total") > 4 * len(CAMERAS), "frames are scored")
            flood = Flood(bus, topics.frames)
            first_seen_s = _fall_behind(watched, flood, prefix)
            flood.end()
            sent = dict.fromkeys(CAMERAS, FRAMES) | {flood.name: flood.num_sent}
            _wait_for_the_end(watched, sum(sent.values()) + len(sent) + NUM_TRASH)
            found = _found(watched, bus, topics, chosen)
            found.sent, found.first_seen_s = sent, first_seen_s
        yield found


def _publish_trash(bus: Bus, topics: TopicNames) -> None:
    publisher = bus.publisher()
    publisher.publish(OutRecord(topics.frames, "trash", b"who knows"))
    publisher.publish(frame_record(topics.frames, "trash", 0, value=b"GIF89a"))
    publisher.publish(frame_record(topics.frames, "trash", 1, value=b""))
    assert publisher.flush(DEADLINE_S)


def _fall_behind(watched: Watched, flood: Flood, prefix: str) -> dict[str, float]:
    """Flood a worker until it is late; after how long each who looks sees it."""
    began_s = time.monotonic()
    flood.more()
    newest = ("worker_camera_frame_timestamp_seconds", flood.name)
    until(lambda: any(newest in watched.samples(name) for name in WORKERS), "a worker has the flood")
    (victim,) = (name for name in WORKERS if newest in watched.samples(name))
    client = f"engram.{victim}"

    def in_metrics() -> bool:
        look = watched.samples(victim)
        return look["worker_lag_records",] > 0 and look["worker_lag_seconds",] > 5

    def in_status() -> bool:
        partitions = watched.status()["groups"][f"{prefix}engram-workers"]["partitions"]
        assert isinstance(partitions, list)
        behind: Counter[str] = Counter()
        for each in partitions:
            behind[each["owner"]] += each["lag"]
        return behind[client] > 20 and behind[client] == max(behind.values())

    def in_console() -> bool:
        lags = watched.console.get("/api/v1/plumbing").json()["lags"]
        waiting = next(lag["waiting"] for lag in lags if lag["name"] == f"{prefix}engram-workers")
        return bool(waiting.get(client, 0) > 20 and waiting[client] == max(waiting.values()))

    def in_log() -> bool:
        return "this worker is slower than its cameras" in watched.fleet.log_path(victim).read_text("utf-8", "replace")

    looks: dict[str, Callable[[], bool]] = {
        "metrics": in_metrics,
        "status": in_status,
        "console": in_console,
        "log": in_log,
    }
    first: dict[str, float] = {}

    def look() -> bool:
        if watched.samples(victim)["worker_lag_seconds",] < LATE_S:
            flood.more()
        for name in looks.keys() - first.keys():
            if looks[name]():
                first[name] = round(time.monotonic() - began_s, 1)
        return len(first) == len(looks)

    assert wait_until(look, DEADLINE_S), f"seen by {first} only"
    print(f"{victim} was seen to be behind after {first} s")
    return first


def _wait_for_the_end(watched: Watched, num_records: int) -> None:
    """Until every record was sent and handled, and every proposal decided."""
    sent = len(CAMERAS) * FRAMES
    until(lambda: watched.total("producer_frames_sent_total") >= sent, "all films are sent")
    until(lambda: watched.total("worker_records_received_total") >= num_records, "all records are handled")

    def is_settled() -> bool:
        proposed = watched.total("worker_proposals_total", "published")
        received, held = (watched.total(f"coordinator_proposals_{name}") for name in ("received_total", "held"))
        versions = {watched.samples(name)["worker_bank_version", "shared"] for name in WORKERS}
        newest = watched.samples("coordinator")["coordinator_bank_version", "shared"]
        return received >= proposed > 0 and held == 0 and versions == {newest}

    until(is_settled, "all proposals are decided, and all workers have the newest bank")
    until(lambda: watched.total("worker_lag_records") == 0, "nothing waits")


def _found(watched: Watched, bus: Bus, topics: TopicNames, settings: AllSettings) -> Evidence:
    frames = _all(bus, topics.frames)
    sums = ("worker_frames_scored_total", "producer_frames_sent_total", "coordinator_commits_total")
    in_prometheus: dict[str, float | None] = {}
    if watched.prometheus is not None:
        for name in sums:
            query, wanted = f"sum(engram_{name})", watched.total(name)
            assert wait_until(partial(_is_answer, watched, query, wanted), DEADLINE_S), query
            in_prometheus[name] = watched.asked(query)
        for query in ("sum(up)", f'count(ALERTS{{alertname="EngramCameraDown",camera="{AWAY}"}})'):
            in_prometheus[query] = watched.asked(query)
    group = f"{settings.kafka.topic_prefix}engram-workers"
    until(lambda: int(str(watched.status()["groups"][group]["lag"])) == 0, "the group is through")
    with open_store(settings.store) as store:
        bank = store.read("shared")
    assert bank is not None
    return Evidence(
        {process: watched.samples(process) for process in SEEN},
        [decode_message(FrameHeader, value) for one in frames if (value := one.header(HEADER)) is not None],
        [decode_message(FrameScore, record.value) for record in _all(bus, topics.frame_scores)],
        [decode_message(AnomalyEvent, record.value) for record in _all(bus, topics.anomaly_events)],
        Counter((record.header(REASON) or b"").decode() for record in _all(bus, topics.dead_letters)),
        len(_all(bus, topics.memory_updates)),
        bank,
        {name: group["lag"] for name, group in watched.status()["groups"].items()},
        watched.console.get("/api/v1/plumbing").json()["accounts"],
        {},
        {},
        in_prometheus,
    )


def _is_answer(watched: Watched, query: str, wanted: float) -> bool:
    return watched.asked(query) == wanted


def _all(bus: Bus, topic: str) -> list[Record]:
    reader = bus.reader([topic], from_beginning=True)
    try:
        return list(reader.read_to_end(DEADLINE_S))
    finally:
        reader.close()


def test_a_worker_that_falls_behind_is_seen_by_all_who_look(evidence: Evidence) -> None:
    assert set(evidence.first_seen_s) == {"metrics", "status", "console", "log"}


def test_frames_of_each_camera_add_up_from_capture_to_topic(evidence: Evidence) -> None:
    on_topic = Counter(header.camera_id for header in evidence.headers if header.kind == "frame")
    for camera in CAMERAS:
        sent = evidence.total("producer_frames_sent_total", camera)
        assert sent == on_topic[camera] == FRAMES
        parts = sum(
            evidence.total(f"producer_frames_{name}", camera)
            for name in ("sampled_out_total", "dropped_total", "in_flight", "spooled")
        )
        assert evidence.total("producer_frames_captured_total", camera) == sent + parts
        assert evidence.total("producer_camera_up", camera) == 0, "its film is over"
    assert evidence.looks["cameras"]["producer_camera_up", AWAY] == 0


def test_workers_count_what_lies_on_the_topics(evidence: Evidence) -> None:
    by_status = Counter(score.status for score in evidence.scores)
    ends = sum(header.kind == "end_of_session" for header in evidence.headers)
    assert evidence.total("worker_frames_scored_total") == by_status["scored"]
    assert evidence.total("worker_frames_warming_total") == by_status["warming"]
    frames = sum(evidence.sent.values())
    assert evidence.total("worker_session_ends_total") == ends == len(evidence.sent)
    assert evidence.total("worker_records_received_total") == frames + ends + NUM_TRASH
    assert evidence.total("worker_records_skipped_total") == evidence.total("worker_records_lost_total") == 0
    assert evidence.total("worker_capture_to_score_seconds_count") == by_status["scored"]
    computed = evidence.total("worker_batch_frames_sum")
    assert computed >= by_status["scored"], "what was computed and not committed is computed again"
    scored = {(score.camera_id, score.session_id, score.frame_index) for score in evidence.scores}
    assert len(scored) == len(evidence.scores) == frames
    for worker in WORKERS:
        mine = Counter(score.status for score in evidence.scores if score.worker_id == worker)
        assert evidence.looks[worker]["worker_frames_scored_total",] == mine["scored"]


def test_dead_letters_are_those_of_the_topic(evidence: Evidence) -> None:
    assert evidence.letters == {"missing_header": 1, "not_jpeg": 1, "empty": 1}
    for reason, number in evidence.letters.items():
        assert evidence.total("worker_records_dead_lettered_total", reason) == number
    assert evidence.total("worker_records_dead_lettered_total") == 3


def test_events_are_those_of_the_topic_and_each_has_its_end(evidence: Evidence) -> None:
    phases = Counter(event.data.phase for event in evidence.events)
    for phase in ("start", "update", "end"):
        assert evidence.total("worker_event_messages_total", phase) == phases[phase]
    assert phases["start"] == phases["end"] > 0
    assert evidence.total("worker_camera_event_seconds") == 0
    assert evidence.total("coordinator_events_received_total") == sum(phases.values())


def test_proposals_are_those_of_the_topic_and_of_the_store(evidence: Evidence) -> None:
    received = evidence.total("coordinator_proposals_received_total")
    assert evidence.total("worker_proposals_total", "published") == evidence.num_proposals == received
    parts = ("committed_total", "rejected_total", "returned_total", "held")
    assert received == sum(evidence.total(f"coordinator_proposals_{name}") for name in parts)
    assert evidence.total("coordinator_commits_total") == evidence.bank.version > 0
    assert evidence.looks["coordinator"]["coordinator_bank_version", "shared"] == evidence.bank.version
    for worker in WORKERS:
        assert evidence.looks[worker]["worker_bank_version", "shared"] == evidence.bank.version


def test_nothing_waits_in_the_end_and_nothing_is_missing_on_the_console(evidence: Evidence) -> None:
    assert evidence.total("worker_lag_records") == evidence.total("worker_lag_seconds") == 0
    assert all(isinstance(lag, int) and lag <= 6 for lag in evidence.lags.values()), evidence.lags
    for account in evidence.accounts:
        parts = account["parts"]
        assert isinstance(parts, dict)
        assert account["whole"] == sum(parts.values()), account
    sent = {account["name"]: account["parts"].get("sent") for account in evidence.accounts}  # type: ignore[attr-defined]
    assert {name: sent.get(name) for name in CAMERAS} == dict.fromkeys(CAMERAS, FRAMES)


def test_prometheus_has_the_same(evidence: Evidence) -> None:
    if not evidence.in_prometheus:
        pytest.skip("prometheus is missing (Debian: prometheus)")
    assert evidence.in_prometheus["worker_frames_scored_total"] == evidence.total("worker_frames_scored_total")
    assert evidence.in_prometheus["producer_frames_sent_total"] == len(CAMERAS) * FRAMES
    assert evidence.in_prometheus["coordinator_commits_total"] == evidence.bank.version
    assert evidence.in_prometheus["sum(up)"] == len(SEEN)
    assert next(value for name, value in evidence.in_prometheus.items() if "CameraDown" in name) == 1
