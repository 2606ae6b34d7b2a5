"""Topics: creating, checking."""

from collections.abc import Callable

import pytest

from messaging.ports import Bus, TopicSpec
from schemas.errors import FatalError

Topic = Callable[..., str]


def test_only_what_is_missing_is_created(bus: Bus, fresh_name: Callable[[str], str]) -> None:
    first, second = fresh_name("a"), fresh_name("b")
    specs = [TopicSpec(first, 3), TopicSpec(second, 2, compacted=True, max_message_bytes=5000)]
    assert list(bus.create_topics(specs[:1])) == [first]
    assert list(bus.create_topics(specs)) == [second]
    assert list(bus.create_topics(specs)) == []
    existing = bus.existing_topics()
    assert (existing[first], existing[second]) == (3, 2)


def test_another_number_of_partitions_is_fatal_and_changes_nothing(bus: Bus, fresh_name: Callable[[str], str]) -> None:
    name, other = fresh_name("a"), fresh_name("b")
    bus.create_topics([TopicSpec(name, 3)])
    with pytest.raises(FatalError, match="4 partitions, it has 3"):
        bus.create_topics([TopicSpec(other, 1), TopicSpec(name, 4)])
    assert other not in bus.existing_topics()


def test_subscribing_to_a_missing_topic_is_fatal(bus: Bus, fresh_name: Callable[[str], str]) -> None:
    with pytest.raises(FatalError, match="engram topics create"):
        bus.subscription([fresh_name("none")], fresh_name("group"))


def test_a_state_topic_needs_as_many_partitions(bus: Bus, topic: Topic, fresh_name: Callable[[str], str]) -> None:
    frames, states = topic("frames", 3), topic("states", 2, compacted=True)
    with pytest.raises(FatalError, match=r"as many partitions.*topics grow 3"):
        bus.subscription([frames], fresh_name("group"), states)
    with pytest.raises(FatalError, match="engram topics create"):
        bus.subscription([frames], fresh_name("group"), fresh_name("none"))
