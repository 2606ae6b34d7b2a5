"""Retention that overtakes a slow worker: nothing is lost in silence."""

from collections.abc import Callable

import pytest
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaTimeoutError

from deploy.local.kafka import LocalKafka
from deploy.local.wait import wait_until
from messaging.kafka.bus import KafkaBus
from messaging.ports import Lost, OutRecord, Progress, TopicSpec
from tests.contract.messaging.members import Member

MakeBus = Callable[..., KafkaBus]


class Loser(Member):
    """A member that remembers what it was told is lost."""

    def __init__(self, subscription: object) -> None:
        super().__init__(subscription)  # type: ignore[arg-type]
        self.lost: list[Lost] = []
        receive = self.subscription.receive

        def remember(max_records: int, timeout_s: float) -> object:
            intake = receive(max_records, timeout_s)
            self.lost += intake.lost
            return intake

        self.subscription.receive = remember  # type: ignore[assignment,method-assign]


def publish(bus: KafkaBus, name: str, numbers: range, size: int = 1) -> None:
    publisher = bus.publisher()
    for number in numbers:
        publisher.publish(OutRecord(name, "k", str(number).encode().rjust(size)))
    publisher.close(20)


def delete_before(kafka: LocalKafka, name: str, offset: int) -> None:
    """As retention does, at once."""
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    admin.delete_records({TopicPartition(name, 0): offset})
    admin.close()


@pytest.fixture
def name(make_bus: MakeBus, fresh_name: Callable[[str], str]) -> str:
    made = fresh_name("frames")
    make_bus().create_topics([TopicSpec(made, 1)])
    return made


def handled(bus: KafkaBus, name: str, num_records: int, next_offset: int, replay_from: int) -> None:
    """Publish, and let a member take all of it, commit that progress and leave."""
    publish(bus, name, range(num_records))
    member = Member(bus.subscription([name], name)).until_received(num_records)
    member.subscription.commit([Progress(member.claims[name, 0], next_offset, replay_from)])
    member.subscription.close()


def test_what_was_deleted_before_a_take_over_is_told(kafka: LocalKafka, make_bus: MakeBus, name: str) -> None:
    bus = make_bus()
    handled(bus, name, 10, next_offset=3, replay_from=1)
    delete_before(kafka, name, 7)
    second = Loser(bus.subscription([name], name))
    second.until_received(3)
    assert second.lost == [Lost(second.claims[name, 0], 3, 4)]
    assert [d.record.offset for d in second.deliveries] == [7, 8, 9]
    assert not any(d.is_replay for d in second.deliveries)


def test_a_replay_that_is_gone_is_no_loss(kafka: LocalKafka, make_bus: MakeBus, name: str) -> None:
    bus = make_bus()
    handled(bus, name, 10, next_offset=7, replay_from=1)
    delete_before(kafka, name, 5)
    second = Loser(bus.subscription([name], name))
    second.until_received(5)
    assert second.lost == []
    assert [d.is_replay for d in second.deliveries] == [True, True, False, False, False]


def test_a_slow_member_is_told_what_went_under_it(kafka: LocalKafka, make_bus: MakeBus, name: str) -> None:
    """Its queue is full, so its position stands still while the log moves on; the sums agree."""
    bus = make_bus(queue_records=10)
    publish(bus, name, range(4000), size=1000)
    member = Loser(bus.subscription([name], name))
    member.until(lambda: member.subscription._poller._is_held_back, "the hold")  # type: ignore[attr-defined]
    delete_before(kafka, name, 3900)
    member.until(lambda: bool(member.deliveries) and member.deliveries[-1].record.offset == 3999, "the last record")
    assert sum(lost.num_records for lost in member.lost) > 0
    assert len(member.deliveries) + sum(lost.num_records for lost in member.lost) == 4000


def test_a_position_beyond_the_end_starts_over(make_bus: MakeBus, name: str) -> None:
    """As after a topic was deleted and made again under a group that kept its offsets."""
    bus = make_bus()
    handled(bus, name, 3, next_offset=50, replay_from=50)
    second = Loser(bus.subscription([name], name))
    second.until_received(3)
    assert second.lost == [Lost(second.claims[name, 0], 50, 0)]
    assert [d.record.offset for d in second.deliveries] == [0, 1, 2]


def test_records_in_hand_are_not_passed_over_for_want_of_a_count(
    make_bus: MakeBus, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker goes away between the two questions of one read."""
    bus = make_bus()
    publish(bus, name, range(3))
    reader = bus.reader([name], from_beginning=True)

    def away(*_: object, **__: object) -> int:
        raise KafkaTimeoutError

    monkeypatch.setattr(reader._consumer, "position", away)
    offsets: list[int] = []

    def read() -> bool:
        offsets.extend(record.offset for record in reader.read(10, 0.2))
        return len(offsets) >= 3

    assert wait_until(read, 60)
    assert offsets == [0, 1, 2]
