"""Whatever kills a worker kills the next owner: attempts at a record are counted across deaths."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from deploy.local.kafka import LocalKafka
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection, KafkaOptions
from messaging.ports import OutRecord, TopicSpec
from tests.contract.messaging.members import Member
from tests.integration.messaging.pipeline import Names, Worker

MakeBus = Callable[..., KafkaBus]
DEADLY = b"7 "
ENOUGH = 3
QUICK = KafkaOptions(session_timeout_s=3.0, transaction_timeout_s=3.0)


def work_until_dead(bootstrap: str, names: Names, writer_id: str) -> None:
    """A worker that tells the attempts at the deadly record and waits to be killed; the others it commits."""
    worker = Worker(KafkaBus(KafkaConnection(bootstrap), QUICK), names, writer_id)
    receive = worker.subscription.receive

    def die_of_it(max_records: int, timeout_s: float) -> object:
        intake = receive(max_records, timeout_s)
        for delivery in intake.deliveries:
            if delivery.record.value == DEADLY and not delivery.is_replay:
                print(f"ATTEMPTS {delivery.attempts}", flush=True)
                sys.stdin.readline()
        return intake

    worker.subscription.receive = die_of_it  # type: ignore[assignment,method-assign]
    while True:
        worker.step()


def attempts_before_death(kafka: LocalKafka, names: Names, number: int) -> int:
    arguments = [kafka.bootstrap_servers, names.frames, names.states, names.scores, names.group, f"w{number}"]
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        return int(next(line for line in process.stdout if line.startswith("ATTEMPTS")).split()[1])
    finally:
        process.kill()
        process.communicate(timeout=60)


@pytest.fixture
def one(make_bus: MakeBus, fresh_name: Callable[[str], str]) -> Names:
    made = Names(fresh_name("frames"), fresh_name("states"), fresh_name("scores"), fresh_name("group"))
    make_bus().create_topics(
        [TopicSpec(made.frames, 1), TopicSpec(made.states, 1, compacted=True), TopicSpec(made.scores, 1)]
    )
    return made


def publish(bus: KafkaBus, names: Names, count: int) -> None:
    publisher = bus.publisher()
    for number in range(1, count + 1):
        publisher.publish(OutRecord(names.frames, "camera-0", f"{number} ".encode()))
    publisher.close(20)


def test_attempts_grow_with_each_death_and_batch_mates_pass(kafka: LocalKafka, make_bus: MakeBus, one: Names) -> None:
    bus = make_bus()
    publish(bus, one, 12)
    seen = [attempts_before_death(kafka, one, number) for number in range(2 + ENOUGH)]
    # The first death is counted at the head of the batch, the second isolates the killer at the committed offset.
    assert seen == [0, 0, 1, 2, 3]
    member = Member(bus.subscription([one.frames], one.group, one.states))
    member.until(lambda: bool(member.deliveries), "the deadly record")
    first = member.deliveries[0]
    assert (first.record.value, first.attempts) == (DEADLY, 4)
    assert member.assigned[0].committed_offset == first.record.offset == 6
    assert [d.record.value for d in member.deliveries] == [DEADLY]  # alone, until it is dealt with
    while len(member.deliveries) < 6:
        member.subscription.commit(member.progress())
        member.step()
    assert [d.attempts for d in member.deliveries] == [4, 0, 0, 0, 0, 0]


def test_clean_hand_overs_and_idle_deaths_do_not_count(make_bus: MakeBus, one: Names) -> None:
    bus = make_bus()
    publish(bus, one, 4)
    for _ in range(3):
        member = Member(bus.subscription([one.frames], one.group, one.states)).until_received(4)
        assert {d.attempts for d in member.deliveries} == {0}
        member.subscription.close()
    members = [Member(bus.subscription([one.frames], one.group, one.states)).until_received(4)]
    members[0].subscription.rewind()
    members[0].forget()
    members[0].until_received(4)
    assert {d.attempts for d in members[0].deliveries} == {0}


def test_a_member_that_dies_of_a_fault_of_its_own_counts_though_it_leaves_the_group(
    make_bus: MakeBus, one: Names
) -> None:
    """An exception closes the subscription as a good end does; only ``abandon`` tells the two apart."""
    bus = make_bus()
    publish(bus, one, 4)
    seen = []
    for _ in range(3):
        member = Member(bus.subscription([one.frames], one.group, one.states))
        member.until(lambda member=member: bool(member.deliveries), "a record")  # type: ignore[misc]
        seen.append(member.deliveries[0].attempts)
        member.subscription.abandon()
        member.subscription.close()
    assert seen == [0, 1, 2]


if __name__ == "__main__":
    work_until_dead(sys.argv[1], Names(*sys.argv[2:6]), sys.argv[6])
