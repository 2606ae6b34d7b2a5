"""An outage on a real broker, stalled and then killed, with the producer killed in the middle: nothing is lost."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from deploy.local.kafka import LocalKafka
from deploy.local.wait import wait_until
from engram.build.topics import topic_specs
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection
from schemas.settings.connections import KafkaSection
from tests.outage import arrivals, in_order, on_disk
from tests.services import READY_TIMEOUT_S

DEADLINE_S = 120.0
CAMERAS = ("gate", "yard")
SCENE = "synthetic://walkway?seed={seed}&seconds=0"


@pytest.fixture
def bus(own_kafka: LocalKafka) -> Iterator[KafkaBus]:
    made = KafkaBus(KafkaConnection(own_kafka.bootstrap_servers))
    made.create_topics(topic_specs(KafkaSection(frames_partitions=2), 256 * 1024))
    yield made
    own_kafka.resume()
    made.close()


@pytest.fixture
def produce(own_kafka: LocalKafka, tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """A producer of both cameras with a spool; its log is ``<name>.log``."""
    running: list[subprocess.Popen[bytes]] = []
    environment: Mapping[str, str] = os.environ | {"ENGRAM_KAFKA__BOOTSTRAP_SERVERS": own_kafka.bootstrap_servers}

    def start(name: str) -> "subprocess.Popen[bytes]":
        sources = [SCENE.format(seed=seed) for seed in (1, 2)]
        named = [word for camera in CAMERAS for word in ("--camera", camera)]
        small = ["--width", "64", "--height", "48", "--spool-dir", str(tmp_path / "spool")]
        with (tmp_path / f"{name}.log").open("wb") as log:
            words = [sys.executable, "-m", "engram", "produce", *sources, *named, *small]
            running.append(subprocess.Popen(words, env=environment, stderr=log))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()


@pytest.mark.faults
def test_nothing_is_lost_and_order_holds(
    own_kafka: LocalKafka, bus: KafkaBus, produce: Callable[..., "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    spool = tmp_path / "spool"

    def told(name: str) -> str:
        return (tmp_path / f"{name}.log").read_text()

    first = produce("first")
    assert wait_until(lambda: all(len(one) >= 10 for one in arrivals(bus, CAMERAS).values()), DEADLINE_S), told("first")
    own_kafka.pause()
    assert wait_until(lambda: all(len(one) >= 60 for one in on_disk(spool, CAMERAS).values()), DEADLINE_S), told(
        "first"
    )
    first.kill()
    first.wait()
    kept_by_first = on_disk(spool, CAMERAS)

    second = produce("second")

    def sessions() -> list[int]:
        return [len({session for session, _ in frames}) for frames in on_disk(spool, CAMERAS).values()]

    assert wait_until(lambda: sessions() == [2, 2], DEADLINE_S), told("second")
    own_kafka.kill()
    own_kafka.start()
    own_kafka.wait_ready(READY_TIMEOUT_S)
    assert wait_until(lambda: told("second").count("has caught up") >= len(CAMERAS), DEADLINE_S), told("second")
    second.send_signal(signal.SIGTERM)
    assert second.wait(DEADLINE_S) == 0, told("second")
    assert told("second").count("the log takes no frames any more") == 1
    assert told("second").count("the log takes frames again after") == 1
    assert sum(map(len, on_disk(spool, CAMERAS).values())) == 0

    for camera, found in arrivals(bus, CAMERAS).items():
        # A repeat, of what was on its way when the producer or the broker was killed, is dropped by workers.
        order = [(one.header.session_id, one.header.kind, one.header.frame_index) for one in in_order(found)]
        names = list(dict.fromkeys(session for session, _, _ in order))
        assert len(names) == 2
        for name in names:
            own = [(kind, index) for session, kind, index in order if session == name]
            assert own == [("frame", index) for index in range(len(own) - 1)] + [("end_of_session", len(own) - 1)]
        assert [name for name, _, _ in order] == sorted((name for name, _, _ in order), key=names.index), (
            "one session after the other"
        )
        there = {(session, index) for session, kind, index in order if kind == "frame"}
        assert set(kept_by_first[camera]) <= there


def test_a_spool_in_use_is_named(
    own_kafka: LocalKafka, bus: KafkaBus, produce: Callable[..., "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    first = produce("first")
    until = time.monotonic() + DEADLINE_S
    while "is online" not in (tmp_path / "first.log").read_text():
        assert time.monotonic() < until
    second = produce("second")
    assert second.wait(DEADLINE_S) == 2
    assert (
        f"is used by process {first.pid}; stop it, or give each its own folder" in (tmp_path / "second.log").read_text()
    )
