"""Following events as a member of a group, over both logs: what is missed, what comes again."""

import time
from collections.abc import Callable, Sequence

from consumers.group import GroupReader, Place, Received
from consumers.sieve import EventSieve
from messaging.ports import Begin, Bus, OutRecord
from schemas.codec import encode_message
from schemas.messages import AnomalyEvent
from tests.unit.consumers.samples import event

Topic = Callable[..., str]
Name = Callable[[str], str]
Found = list[Received[AnomalyEvent]]
DEADLINE_S = 60.0
EVENTS = [event(number, number) for number in range(6)]


def tell(bus: Bus, topic: str, messages: Sequence[AnomalyEvent | bytes]) -> None:
    publisher = bus.publisher()
    for message in messages:
        value = message if isinstance(message, bytes) else encode_message(message)
        publisher.publish(OutRecord(topic, "cam1", value))
    publisher.close(20)


def follower(bus: Bus, topic: str, group: str, begin: Begin = "oldest") -> GroupReader[AnomalyEvent]:
    return GroupReader(bus.subscription([topic], group, begin=begin), EventSieve())


def received(reader: GroupReader[AnomalyEvent], number: int) -> Found:
    found: Found = []
    deadline = time.monotonic() + DEADLINE_S
    while len(found) < number:
        assert time.monotonic() < deadline, found
        found += reader.receive(0.2, 100)
    return found


def places(found: Found) -> list[Place]:
    return [one.place for one in found]


def messages(found: Found) -> list[AnomalyEvent]:
    return [one.message for one in found]


def test_what_was_settled_and_committed_does_not_come_again(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    name, group = topic("events"), fresh_name("group")
    tell(bus, name, EVENTS[:3])
    first = follower(bus, name, group)
    reader_found = received(first, 3)
    assert messages(reader_found) == EVENTS[:3]
    first.settle(places(reader_found))
    first.commit()
    first.close()
    tell(bus, name, EVENTS[3:])
    assert messages(received(follower(bus, name, group), 3)) == EVENTS[3:]


def test_the_position_waits_for_the_oldest_open_message(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    name, group = topic("events"), fresh_name("group")
    tell(bus, name, EVENTS)
    first = follower(bus, name, group)
    found = received(first, 6)
    first.settle(places([*found[:2], *found[3:]]))
    assert first.num_open == 1
    first.commit()
    first.close()
    second = follower(bus, name, group)
    assert messages(received(second, 4)) == EVENTS[2:]


def test_without_a_commit_all_come_again(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    """As after a SIGKILL."""
    name, group = topic("events"), fresh_name("group")
    tell(bus, name, EVENTS)
    first = follower(bus, name, group)
    first.settle(places(received(first, 6)))
    first.close()
    assert messages(received(follower(bus, name, group), 6)) == EVENTS


def test_what_is_left_out_holds_nothing_up(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    name, group = topic("events"), fresh_name("group")
    tell(bus, name, [b"no json", EVENTS[0], EVENTS[0], EVENTS[1]])
    first = follower(bus, name, group)
    found = received(first, 2)
    assert messages(found) == EVENTS[:2]
    assert (first.counts.bad, first.counts.repeated) == ({"foreign": 1}, 1)
    first.settle(places(found))
    first.commit()
    first.close()
    tell(bus, name, EVENTS[2:3])
    assert messages(received(follower(bus, name, group), 1)) == EVENTS[2:3]


def test_a_new_group_keeps_the_place_at_which_it_began(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    name, group = topic("events"), fresh_name("group")
    tell(bus, name, EVENTS[:2])
    first = follower(bus, name, group, "newest")
    deadline = time.monotonic() + DEADLINE_S
    while first.num_partitions == 0:
        assert time.monotonic() < deadline
        assert first.receive(0.2, 100) == []
    first.close()
    tell(bus, name, EVENTS[2:4])
    assert messages(received(follower(bus, name, group, "newest"), 2)) == EVENTS[2:4]


def test_members_share_the_work_and_open_messages_go_over(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    name, group = topic("events", 2), fresh_name("group")
    tell(bus, name, EVENTS)
    first = follower(bus, name, group)
    taken = received(first, 6)
    first.settle(places(taken[:1]))
    first.commit()
    second = follower(bus, name, group)
    first.close()
    assert messages(received(second, 5)) == EVENTS[1:]


def test_an_open_message_that_comes_again_is_handed_out_once(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    name, group = topic("events"), fresh_name("group")
    tell(bus, name, EVENTS[:3])
    subscription = bus.subscription([name], group)
    reader = GroupReader(subscription, EventSieve())
    found = received(reader, 3)
    reader.settle(places(found[1:2]))
    subscription.rewind()
    tell(bus, name, EVENTS[3:4])
    assert messages(received(reader, 1)) == EVENTS[3:4]
    assert reader.num_open == 3
    reader.commit()
    reader.close()
    assert messages(received(follower(bus, name, group), 4)) == EVENTS[:4]
