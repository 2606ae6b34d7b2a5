"""``engram archive run`` as a process that is killed again and again: each message is in the archive exactly once."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from consumers.archive import Archive, Query
from deploy.local.wait import wait_until
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection
from messaging.ports import OutRecord, TopicSpec
from schemas.codec import encode_message
from schemas.errors import FatalError
from tests.unit.consumers.samples import event

ROOT = Path(__file__).parents[3]
DEADLINE_S = 120
NUM_EVENTS = 300
ROUNDS = 3


@pytest.fixture
def bus(kafka_bootstrap: str) -> Iterator[KafkaBus]:
    made = KafkaBus(KafkaConnection(kafka_bootstrap))
    yield made
    made.close()


def num_archived(path: Path) -> int:
    try:
        with closing(Archive(path, "read")) as archive:
            return archive.count()["phase"]
    except FatalError:  # not made yet
        return 0


@pytest.mark.faults
def test_whatever_kills_it_each_message_is_archived_once(
    bus: KafkaBus, settings: dict[str, str], tmp_path: Path
) -> None:
    topic, path = settings["ENGRAM_KAFKA__TOPIC_PREFIX"] + "anomaly-events", tmp_path / "events.db"
    bus.create_topics([TopicSpec(topic, 2)])
    publisher = bus.publisher()
    command = [sys.executable, "-m", "engram", "archive", "run", "--file", str(path)]
    for turn in range(ROUNDS):
        child = subprocess.Popen(command, env={**os.environ, **settings}, cwd=ROOT, stderr=subprocess.PIPE)
        try:
            before = num_archived(path)
            for number in range(turn * NUM_EVENTS, (turn + 1) * NUM_EVENTS):
                phases = (event(number, number), event(number, number + 1, "end", 1))
                for message in phases:
                    publisher.publish(OutRecord(topic, f"cam{number % 5}", encode_message(message)))
            assert wait_until(lambda seen=before: num_archived(path) > seen, DEADLINE_S)  # type: ignore[misc]
        finally:
            child.kill()
            child.communicate(timeout=30)
    assert publisher.flush(30)
    done = subprocess.run(
        [*command, "--once"],
        env={**os.environ, **settings},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with closing(Archive(path, "read")) as archive:
        assert archive.count() == {"event": ROUNDS * NUM_EVENTS, "phase": 2 * ROUNDS * NUM_EVENTS}
        assert {entry.phase for entry in archive.find(Query())} == {"end"}
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
