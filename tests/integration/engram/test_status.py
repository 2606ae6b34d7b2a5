"""``engram status`` over a real Kafka: lag, owners and newest scores are those of the topics and the group."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from engram.cli.app import app
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection
from messaging.kafka.tail import TailReader
from messaging.kafka.topics import GrowthWatch, KafkaTopics
from messaging.ports import Assigned, OutRecord, Progress, TopicSpec
from schemas.codec import encode_message
from schemas.topics import TopicNames
from tests.unit.consumers.samples import score

DEADLINE_TURNS = 600


@pytest.fixture
def names(fresh_name: Callable[[str], str]) -> TopicNames:
    return TopicNames.with_prefix(f"{fresh_name('p')}.")


@pytest.fixture
def bus(kafka_bootstrap: str, names: TopicNames) -> Iterator[KafkaBus]:
    made = KafkaBus(KafkaConnection(kafka_bootstrap, client_id="engram.w1"))
    spread = {names.frames: 2, names.frame_scores: 2, names.memory_updates: 1}
    made.create_topics([TopicSpec(name, count) for name, count in spread.items()])
    yield made
    made.close()


@pytest.fixture
def status(kafka_bootstrap: str, names: TopicNames, tmp_path: Path) -> Callable[..., Result]:
    environment = {
        "ENGRAM_KAFKA__BOOTSTRAP_SERVERS": kafka_bootstrap,
        "ENGRAM_KAFKA__TOPIC_PREFIX": names.frames.removesuffix("frames"),
        "ENGRAM_STORE__URL": f"sqlite:///{tmp_path / 'banks.db'}",
        "COLUMNS": "200",
        "TERM": "dumb",
        "NO_COLOR": "1",
    }
    return lambda *words, **more: CliRunner(env=environment | more).invoke(app, ["status", *words])


def publish(bus: KafkaBus, *records: OutRecord) -> None:
    with_room = bus.publisher()
    for record in records:
        with_room.publish(record)
    assert with_room.flush(60)


def joined(bus: KafkaBus, names: TopicNames) -> tuple[list[Assigned], Callable[[list[Progress]], None]]:
    """A member of the workers' group that has all partitions."""
    member = bus.subscription([names.frames], names.frames.removesuffix("frames") + "engram-workers")
    found: list[Assigned] = []
    for _ in range(DEADLINE_TURNS):
        found += member.receive(100, 0.2).assigned
        if len(found) == 2:
            return found, member.commit
    raise AssertionError(f"two partitions must be assigned, got {found}")


def test_lag_owner_and_newest_scores_are_shown(bus: KafkaBus, names: TopicNames, status: Callable[..., Result]) -> None:
    publish(bus, *(OutRecord(names.frames, "gate", b"jpeg", partition=1) for _ in range(7)))
    scores = [score(number, camera_id="gate", worker_id="w1") for number in range(3)]
    publish(bus, *(OutRecord(names.frame_scores, "gate", encode_message(each), partition=1) for each in scores))
    claims, commit = joined(bus, names)
    commit([Progress(each.claim, 4, 4) for each in claims if each.claim.partition == 1])
    told = json.loads(status("-o", "json").stdout)
    group = told["groups"][names.frames.removesuffix("frames") + "engram-workers"]
    assert group["state"] == "Stable"
    assert [(each["owner"], each["committed"], each["end"], each["lag"]) for each in group["partitions"]] == [
        ("engram.w1", None, 0, 0),
        ("engram.w1", 4, 7, 3),
    ]
    assert group["lag"] == 3
    gate = told["cameras"]["gate"]
    assert (gate["partition"], gate["worker_id"], gate["scored_at"]) == (1, "w1", "2026-03-01 08:00:00.200000+00:00")
    assert gate["state"].startswith("no score for")
    assert (told["banks"], told["trouble"]) == ({}, {})


def test_a_group_that_nobody_has_joined_is_shown_with_what_waits(
    bus: KafkaBus, names: TopicNames, status: Callable[..., Result]
) -> None:
    publish(bus, *(OutRecord(names.frames, "gate", b"jpeg", partition=0) for _ in range(5)))
    done = status(ENGRAM_STORE__URL="redis://127.0.0.1:1/0")
    assert done.exit_code == 0, done.output
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert any(line.startswith("store: ") for line in lines), "a store that is away ends nothing"
    assert f"│ {names.frames}/0 │ nobody │ - │ 5 │ 5 │ │" in lines


def test_the_newest_records_of_each_partition_come_first(
    bus: KafkaBus, names: TopicNames, kafka_bootstrap: str
) -> None:
    for partition, count in ((0, 9), (1, 2)):
        values = [str(number).encode() for number in range(count)]
        publish(bus, *(OutRecord(names.frame_scores, "gate", value, partition=partition) for value in values))
    connection = KafkaConnection(kafka_bootstrap)
    wanted = {names.frame_scores: 2}
    with closing(KafkaTopics(connection, -1)) as topics:
        reader = TailReader(connection, wanted, 3, GrowthWatch(topics, wanted))
        with closing(reader):
            found = reader.read_to_end(60)
            assert sorted((record.partition, record.value) for record in found) == [
                (0, b"6"),
                (0, b"7"),
                (0, b"8"),
                (1, b"0"),
                (1, b"1"),
            ]
            publish(bus, OutRecord(names.frame_scores, "gate", b"new", partition=0))
            assert [record.value for record in reader.read_to_end(60)] == [b"new"]


def test_topics_that_are_missing_are_named(kafka_bootstrap: str, fresh_name: Callable[[str], str]) -> None:
    environment = {
        "ENGRAM_KAFKA__BOOTSTRAP_SERVERS": kafka_bootstrap,
        "ENGRAM_KAFKA__TOPIC_PREFIX": f"{fresh_name('none')}.",
    }
    done = CliRunner(env=environment).invoke(app, ["status"])
    assert done.exit_code == 2
    assert "run `engram topics create`" in done.stderr
