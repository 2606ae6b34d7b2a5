"""From where on a new owner reads the states: far behind what is old, never behind what it needs."""

import logging
import re
import subprocess
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from deploy.local.kafka import LocalKafka
from deploy.local.requirements import find_java
from deploy.local.wait import wait_until
from messaging.kafka import handover, states
from messaging.kafka.bus import KafkaBus
from messaging.kafka.handover import StateTopic
from messaging.kafka.marks import Checkpoint, committed_as, read_mark
from messaging.kafka.outbox import KafkaOutbox
from messaging.ports import OutRecord, Progress, TopicSpec
from schemas.errors import TransientError
from tests.contract.messaging.members import DEADLINE_S, Member
from tests.integration.messaging.pipeline import Names, Worker, perfect, publish_frames, scores_by_key

MakeBus = Callable[..., KafkaBus]
VERY_MANY = 200_000
BUSY, SILENT = 20, 150
READ = re.compile(r"(\d+) state records of partition 0 were read")


@pytest.fixture
def one(make_bus: MakeBus, fresh_name: Callable[[str], str]) -> Names:
    """Topics of one partition; the states are never compacted, as where the broker does not come to it."""
    made = Names(fresh_name("frames"), fresh_name("states"), fresh_name("scores"), fresh_name("group"))
    make_bus().create_topics([TopicSpec(made.frames, 1), TopicSpec(made.states, 1), TopicSpec(made.scores, 1)])
    return made


@pytest.fixture
def close_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is not of the last few records is far behind."""
    monkeypatch.setattr(states, "FAR_RECORDS", 4)
    monkeypatch.setattr(states, "FAR_PER_KEY", 1)


@pytest.fixture
def num_read(caplog: pytest.LogCaptureFixture) -> Callable[[], int]:
    """How many state records were read at the last take-over."""
    caplog.set_level(logging.INFO, "messaging.kafka.handover")
    return lambda: int([found[1] for found in map(READ.fullmatch, caplog.messages) if found][-1])


class Owner(Member):
    """A member with an outbox, which commits one frame after the other with states of its choice."""

    def __init__(self, bus: KafkaBus, names: Names, timeout_s: float = DEADLINE_S) -> None:
        super().__init__(bus.subscription([names.frames], names.group, names.states))
        self._topic = names.states
        self.until(lambda: bool(self.claims), "its claim", timeout_s)
        self.outbox: KafkaOutbox = bus.outbox(self.subscription, names.group)
        self.next_offset = self.assigned[0].committed_offset

    @property
    def states(self) -> dict[str, bytes]:
        return dict(self.assigned[0].states)

    def commit(self, **values: bytes | None) -> None:
        (claim,) = self.claims.values()
        self.next_offset += 1
        records = [OutRecord(self._topic, key, value, partition=0) for key, value in values.items()]
        self.outbox.commit(records, [Progress(claim, self.next_offset, self.next_offset)])

    def close(self) -> None:
        self.outbox.close()
        self.subscription.close()


def committed(kafka: LocalKafka, names: Names) -> OffsetAndMetadata:
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap_servers, group_id=names.group, enable_auto_commit=False)
    found = consumer.committed(TopicPartition(names.frames, 0), metadata=True)
    consumer.close()
    assert found is not None
    return found


def commit_by_hand(kafka: LocalKafka, names: Names, what: OffsetAndMetadata) -> None:
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap_servers, group_id=names.group, enable_auto_commit=False)
    partition = TopicPartition(names.frames, 0)
    consumer.assign([partition])
    consumer.commit({partition: what})
    consumer.close()


def publish_states(bus: KafkaBus, names: Names, keys: range) -> dict[str, bytes]:
    publisher = bus.publisher()
    values = {f"camera-{number}": f"state {number}".encode() for number in keys}
    for key, value in values.items():
        publisher.publish(OutRecord(names.states, key, value))
    publisher.close(30)
    return values


def write_very_many(kafka: LocalKafka, jars: Path, names: Names) -> dict[str, bytes]:
    """As days of work leave it: some cameras that soon fell silent, then very many states of a few; the newest."""
    keys = [f"silent-{number}" for number in range(SILENT)]
    keys += [f"busy-{number % BUSY}" for number in range(VERY_MANY - SILENT)]
    command = [str(find_java()), "-Xmx128m", "-cp", f"{jars}/*", "org.apache.kafka.tools.ConsoleProducer"]
    command += ["--bootstrap-server", kafka.bootstrap_servers, "--topic", names.states, "--batch-size", "200000"]
    command += ["--reader-property", "parse.key=true", "--reader-property", "key.separator=:"]
    lines = "".join(f"{key}:{number}\n" for number, key in enumerate(keys))
    subprocess.run(command, input=lines.encode(), check=True, timeout=200, capture_output=True)
    return {key: str(number).encode() for number, key in enumerate(keys)}


@pytest.mark.faults
def test_a_take_over_reads_what_lies_behind_the_checkpoint_of_very_many(
    kafka: LocalKafka,
    make_bus: MakeBus,
    one: Names,
    kafka_requirements: Path,
    num_read: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slices = count()
    newest_of = StateTopic.newest
    monkeypatch.setattr(StateTopic, "newest", lambda *given: (next(slices), newest_of(*given))[1])
    monkeypatch.setattr(handover, "_SLICE_S", 0.1)
    bus = make_bus(max_poll_interval_s=10.0)
    publish_frames(bus, one, 1, range(1, 11))
    newest = write_very_many(kafka, kafka_requirements, one)
    first = Owner(bus, one, timeout_s=120)
    assert next(slices) > 3, "between two slices it polls"
    consumer = first.subscription._poller._consumer  # type: ignore[attr-defined]
    assert consumer.group_metadata().generation_id == 1, "it never left its group for that"
    assert first.states == newest
    assert num_read() == VERY_MANY
    for _ in range(4):
        first.commit()
    first.close()
    second = Owner(bus, one)
    assert second.states == newest
    assert SILENT + BUSY <= num_read() < SILENT + 2 * BUSY
    checkpoint = read_mark(committed(kafka, one)).checkpoint
    assert checkpoint is not None
    assert checkpoint.offset >= VERY_MANY - BUSY


@pytest.mark.usefixtures("close_behind")
def test_states_outlive_many_owners_and_each_reads_few(
    make_bus: MakeBus, one: Names, num_read: Callable[[], int]
) -> None:
    bus = make_bus()
    publish_frames(bus, one, 1, range(1, 101))
    truth: dict[str, bytes] = {}
    for turn in range(5):
        owner = Owner(bus, one)
        assert owner.states == truth
        assert turn < 2 or num_read() <= 2 * len(truth) + 4
        for number in range(15):
            changed: dict[str, bytes | None] = {"busy": f"{turn} {number}".encode()}
            if number == 0:
                changed |= {f"new-{turn}-{each}": str(turn).encode() for each in range(3)}
                changed |= {f"new-{turn - 2}-0": None, f"new-{turn - 3}-0": b"again"}
            owner.commit(**changed)
            truth |= {key: value for key, value in changed.items() if value is not None}
            for key in changed:
                if changed[key] is None:
                    truth.pop(key, None)
        owner.close()
    assert {"new-0-0", "new-0-1", "new-4-2"} <= truth.keys()


@pytest.mark.usefixtures("close_behind")
def test_workers_take_over_from_each_other_exactly_while_states_are_written_again(
    make_bus: MakeBus, names: Names
) -> None:
    """Eleven of twelve cameras fall silent; their counts pass through five owners who never hear of them again."""
    bus, keys, num_scores = make_bus(), 12, 0
    for turn in range(5):
        new = range(1, 4) if turn == 0 else range(4 + 20 * (turn - 1), 4 + 20 * turn)
        num_scores += keys * 3 if turn == 0 else 20
        publish_frames(bus, names, keys if turn == 0 else 1, new)
        worker = Worker(bus, names, names.group, batch=5)
        while sum(map(len, scores_by_key(bus, names).values())) < num_scores:
            worker.step()
        counts = {key: count for each in worker.counts.values() for key, count in each.items()}
        assert counts == {f"camera-{key}": 3 for key in range(keys)} | {"camera-0": new[-1]}
        worker.close()
    assert scores_by_key(bus, names) == perfect(keys, 3) | perfect(1, 83)


@pytest.mark.parametrize(
    "told",
    [
        "1",
        "1;2",
        "senseless",
        "1;0;30@{other}",
        "1;0;30@",
        "1;0;31@{id}",
        "1;0;{huge}@{id}",
        "1;0;-1@{id}",
        "1;0;@{id}",
    ],
)
def test_an_unusable_checkpoint_is_no_reason_to_miss_a_state(
    kafka: LocalKafka, make_bus: MakeBus, one: Names, num_read: Callable[[], int], told: str
) -> None:
    bus = make_bus()
    publish_frames(bus, one, 1, range(1, 4))
    newest = publish_states(bus, one, range(30))
    topic_id = bus._topics().id_of(one.states)
    text = told.format(other=bus._topics().id_of(one.frames), huge="9" * 18, id=topic_id)
    commit_by_hand(kafka, one, OffsetAndMetadata(1, text, -1))
    owner = Owner(bus, one)
    assert owner.states == newest
    assert num_read() == 30
    assert owner.next_offset == 1
    owner.commit(fresh=b"x")
    assert read_mark(committed(kafka, one)).checkpoint == Checkpoint(0, topic_id)


def test_a_checkpoint_that_lies_within_the_log_is_believed(
    kafka: LocalKafka, make_bus: MakeBus, one: Names, num_read: Callable[[], int]
) -> None:
    bus = make_bus()
    publish_frames(bus, one, 1, range(1, 4))
    publish_states(bus, one, range(30))
    commit_by_hand(kafka, one, OffsetAndMetadata(1, f"1;0;28@{bus._topics().id_of(one.states)}", -1))
    owner = Owner(bus, one)
    assert owner.states == {"camera-28": b"state 28", "camera-29": b"state 29"}
    assert num_read() == 2


def test_a_checkpoint_below_the_beginning_of_the_log_means_the_beginning(
    kafka: LocalKafka, make_bus: MakeBus, one: Names, num_read: Callable[[], int]
) -> None:
    bus = make_bus()
    publish_frames(bus, one, 1, range(1, 4))
    publish_states(bus, one, range(30))
    commit_by_hand(kafka, one, OffsetAndMetadata(1, f"1;0;3@{bus._topics().id_of(one.states)}", -1))
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    admin.delete_records({TopicPartition(one.states, 0): 25})
    admin.close()
    assert Owner(bus, one).states.keys() == {f"camera-{number}" for number in range(25, 30)}
    assert num_read() == 5


def test_a_state_topic_that_was_made_again_is_read_from_its_beginning(
    kafka: LocalKafka, make_bus: MakeBus, one: Names, num_read: Callable[[], int]
) -> None:
    bus = make_bus()
    publish_frames(bus, one, 1, range(1, 4))
    publish_states(bus, one, range(8))
    first = Owner(bus, one)
    first.commit(**{f"camera-{number}": b"newer" for number in range(8)})
    first.commit()
    first.close()
    before = read_mark(committed(kafka, one)).checkpoint
    assert before is not None
    assert before.offset == 8
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    admin.delete_topics([one.states])
    admin.close()
    other = make_bus()
    assert wait_until(lambda: one.states not in other.existing_topics(), 30)
    other.create_topics([TopicSpec(one.states, 1)])
    newest = publish_states(other, one, range(30))  # the old checkpoint lies within the new log
    assert Owner(other, one).states == newest
    assert num_read() == 30


def test_marks_of_attempts_carry_the_checkpoint_along(
    kafka: LocalKafka, make_bus: MakeBus, one: Names, num_read: Callable[[], int]
) -> None:
    bus = make_bus()
    publish_frames(bus, one, 1, range(1, 4))
    publish_states(bus, one, range(30))
    checkpoint = Checkpoint(28, bus._topics().id_of(one.states))
    commit_by_hand(kafka, one, OffsetAndMetadata(1, f"1;0;28@{checkpoint.topic_id}", -1))
    for attempts in range(3):
        member = Member(bus.subscription([one.frames], one.group, one.states)).until_received(1)
        assert (member.deliveries[0].attempts, num_read()) == (attempts, 2)
        member.subscription.abandon()
        member.subscription.close()
        assert committed(kafka, one).metadata == f"1;{attempts + 1};28@{checkpoint.topic_id}"
    member = Member(bus.subscription([one.frames], one.group, one.states)).until_received(1)
    member.subscription.close()  # lives to hand over: its own mark is taken back
    mark = read_mark(committed(kafka, one))
    assert committed_as(mark).metadata == f"1;3;28@{checkpoint.topic_id}"


@pytest.mark.usefixtures("close_behind")
def test_a_state_that_its_topic_takes_no_more_stays_where_it_is(
    kafka: LocalKafka, make_bus: MakeBus, one: Names, num_read: Callable[[], int]
) -> None:
    bus = make_bus()
    publish_frames(bus, one, 1, range(1, 21))
    owner = Owner(bus, one)
    owner.commit(large=b"x" * 20_000)
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, one.states, {"max.message.bytes": "10000"})])
    admin.close()
    for number in range(10):
        owner.commit(small=str(number).encode())
    assert read_mark(committed(kafka, one)).checkpoint is None
    owner.close()
    second = Owner(bus, one)
    assert second.states == {"large": b"x" * 20_000, "small": b"9"}
    assert second.next_offset == 11


def test_after_a_commit_of_unknown_end_there_is_no_checkpoint_until_claims_begin_anew(
    kafka: LocalKafka, make_bus: MakeBus, one: Names
) -> None:
    """What was in it may have become the newest state, or not."""
    bus = make_bus()
    publish_frames(bus, one, 1, range(1, 11))
    owner = Owner(bus, one)
    owner.commit(a=b"1")
    owner.commit(a=b"2")
    assert read_mark(committed(kafka, one)).checkpoint is not None
    inbox = owner.subscription._inbox  # type: ignore[attr-defined]
    real = inbox._membership
    inbox._membership = real._replace(generation_id=real.generation_id + 7)
    with pytest.raises(TransientError, match="group has moved on"):
        owner.commit(a=b"3")
    inbox._membership = real
    owner.commit(b=b"4")
    assert read_mark(committed(kafka, one)).checkpoint is None
    owner.close()
    second = Owner(bus, one)
    assert second.states == {"a": b"2", "b": b"4"}
    second.commit()
    assert read_mark(committed(kafka, one)).checkpoint is not None
