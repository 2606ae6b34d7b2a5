"""``engram dead-letters`` and ``engram events`` over a real Kafka with foreign records on it."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from engram.cli.app import app
from messaging.dead_letters import dead_letter
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection
from messaging.ports import OutRecord, Record, TopicSpec
from schemas.codec import encode_message
from schemas.errors import BadMessageError
from schemas.topics import TopicNames
from tests.unit.consumers.samples import event

runner = CliRunner(env={"COLUMNS": "250", "TERM": "dumb", "NO_COLOR": "1"})


@pytest.fixture
def prefix(fresh_name: Callable[[str], str]) -> str:
    return f"{fresh_name('p')}."


@pytest.fixture
def bus(kafka_bootstrap: str) -> Iterator[KafkaBus]:
    made = KafkaBus(KafkaConnection(kafka_bootstrap))
    yield made
    made.close()


@pytest.fixture
def call(kafka_bootstrap: str, prefix: str) -> Callable[..., Result]:
    settings = {"ENGRAM_KAFKA__BOOTSTRAP_SERVERS": kafka_bootstrap, "ENGRAM_KAFKA__TOPIC_PREFIX": prefix}
    return lambda *arguments: runner.invoke(app, [str(part) for part in arguments], env=settings)


def publish(bus: KafkaBus, *records: OutRecord) -> None:
    publisher = bus.publisher()
    for record in records:
        publisher.publish(record)
    publisher.close(20)


def test_an_operator_can_look_into_the_dead_letters(
    bus: KafkaBus, prefix: str, call: Callable[..., Result], tmp_path: Path
) -> None:
    names = TopicNames.with_prefix(prefix)
    bus.create_topics([TopicSpec(names.dead_letters, 3)])
    empty = call("dead-letters")
    assert (empty.exit_code, "the newest 0 of 0" in empty.stdout) == (0, True)
    bad = BadMessageError("bad_frame", "the JPEG must be whole, it ends in the middle")
    for number, camera in enumerate(("gate", "yard", "gate")):
        given = Record(names.frames, 0, number, camera.encode(), b"\xff\xd8\xff%d" % number, (("engram", b"{}"),), 0)
        publish(bus, dead_letter(given, bad, names.dead_letters, "w1"))
    publish(bus, OutRecord(names.dead_letters, "stray", b"\x1b[2J"))

    listed = call("dead-letters")
    assert listed.exit_code == 0, listed.output
    assert "the newest 4 of 4" in listed.stdout
    assert f"{names.frames}/0/2" in listed.stdout
    lines = [json.loads(line) for line in call("dead-letters", "-o", "json", "--camera", "gate").stdout.splitlines()]
    assert [line["source"] for line in lines] == [f"{names.frames}/0/2", f"{names.frames}/0/0"]
    counted = json.loads(call("dead-letters", "--count", "-o", "json").stdout)
    assert counted == {"reasons": {"bad_frame": 3, "unknown": 1}, "topics": {names.frames: 3, "": 1}}

    folder = tmp_path / "letters"
    saved = call("dead-letters", "--reason", "bad_frame", "-n", "2", "--topic", "frames", "--save", folder)
    assert saved.exit_code == 0, saved.output
    assert sorted(path.read_bytes() for path in folder.glob("*.jpg")) == [b"\xff\xd8\xff1", b"\xff\xd8\xff2"]
    shown = call("dead-letters", "--show", lines[0]["place"])
    assert "it ends in the middle" in shown.stdout
    assert "engram" in shown.stdout
    nothing = call("dead-letters", "--show", "0/999")
    assert nothing.exit_code == 2
    assert "there is none" in nothing.stderr


@pytest.mark.parametrize("wrong", [("--show", "x"), ("--show", "1/2", "--count"), ("--follow", "--count")])
def test_what_does_not_go_together_is_refused(call: Callable[..., Result], wrong: tuple[str, ...]) -> None:
    assert call("dead-letters", *wrong).exit_code == 2


def test_events_go_past_whatever_lies_on_their_topic(bus: KafkaBus, prefix: str, call: Callable[..., Result]) -> None:
    names = TopicNames.with_prefix(prefix)
    bus.create_topics([TopicSpec(names.anomaly_events, 1)])
    good = encode_message(event(5, 5))
    foreign = [b'{"schema_version": 1}', b"[" * 3000, b"9" * 5000, b"\xff", b"", None, b"x" * 900_000]
    headers = (("engram", b"[" * 2000), ("engram", b""))
    publish(bus, *[OutRecord(names.anomaly_events, "k", value, headers) for value in foreign])
    publish(bus, OutRecord(names.anomaly_events, "k", good.replace(b'"schema_version":1', b'"schema_version":2')))
    publish(bus, OutRecord(names.anomaly_events, "k", good))
    done = call("events", "-o", "json")
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) == 1
    assert "1 future_version" in done.stderr.splitlines()[-1]
    assert "update Engram here first" in done.stderr


@pytest.mark.parametrize("name", ["events", "dead-letters"])
def test_a_follower_waits_for_a_broker_that_is_away_until_it_is_told_to_end(name: str) -> None:
    command = [sys.executable, "-m", "engram", name, "--follow", "--bootstrap-servers", "127.0.0.1:1"]
    follower = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert follower.stderr is not None
        line = follower.stderr.readline()
        assert "trying again" in line
        assert "127.0.0.1:1 takes no connection" in line
        follower.send_signal(signal.SIGTERM)
        assert follower.wait(30) == 0
    finally:
        follower.kill()
        follower.communicate()
