"""Membership: claims, positions, replay, rebalance, backpressure."""

import threading
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from messaging.ports import Bus, OutRecord, Progress
from schemas.errors import BufferFullError, FatalError
from tests.contract.messaging.conftest import SESSION_S
from tests.contract.messaging.members import Member, together

Topic = Callable[..., str]
Name = Callable[[str], str]


def publish(bus: Bus, name: str, num_records: int, num_keys: int = 1, first: int = 0) -> None:
    publisher = bus.publisher()
    for number in range(first, first + num_records):
        publisher.publish(OutRecord(name, f"k{number % num_keys}", str(number).encode()))
    publisher.close(20)


def test_a_lone_member_gets_everything_in_order(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    name = topic("frames", 3)
    publish(bus, name, 60, num_keys=6)
    member = Member(bus.subscription([name], fresh_name("group"))).until_owning(3).until_received(60)
    assert {assigned.committed_offset for assigned in member.assigned} == {0}
    assert not any(delivery.is_replay for delivery in member.deliveries)
    for key in range(6):
        mine = [int(d.record.value or b"") for d in member.deliveries if d.record.key == f"k{key}".encode()]
        assert mine == list(range(key, 60, 6))


def test_what_was_published_before_the_group_existed_is_delivered(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    name = topic("frames")
    publish(bus, name, 3)
    member = Member(bus.subscription([name], fresh_name("group"))).until_received(3)
    publish(bus, name, 2, first=3)
    assert member.until_received(5).values() == [b"0", b"1", b"2", b"3", b"4"]


def test_progress_resumes_after_close(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    name, group = topic("frames"), fresh_name("group")
    publish(bus, name, 10)
    first = Member(bus.subscription([name], group)).until_received(10)
    first.subscription.commit([Progress(first.claims[name, 0], 4, 4)])
    first.subscription.close()
    second = Member(bus.subscription([name], group)).until_received(6)
    assert second.assigned[0].committed_offset == 4
    assert second.values() == [str(number).encode() for number in range(4, 10)]
    assert not any(delivery.is_replay for delivery in second.deliveries)


def test_replay_from_brings_earlier_records_marked_as_such(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    name, group = topic("frames"), fresh_name("group")
    publish(bus, name, 10)
    first = Member(bus.subscription([name], group)).until_received(10)
    first.subscription.commit([Progress(first.claims[name, 0], next_offset=8, replay_from=5)])
    first.subscription.close()
    second = Member(bus.subscription([name], group)).until_received(5)
    assert second.assigned[0].committed_offset == 8
    assert [(d.record.offset, d.is_replay) for d in second.deliveries] == [
        (5, True), (6, True), (7, True), (8, False), (9, False),
    ]  # fmt: skip


@pytest.mark.parametrize("by", ["itself", "its outbox"])
@pytest.mark.parametrize("num_read", [0, 1, 3])
def test_a_replay_that_was_not_read_to_its_end_is_not_lost_to_the_next_owner(
    bus: Bus, topic: Topic, fresh_name: Name, num_read: int, by: str
) -> None:
    """Whoever has not read it yet cannot know what of it is needed, and may die before."""
    name, group = topic("frames"), fresh_name("group")
    publish(bus, name, 10)
    first = Member(bus.subscription([name], group)).until_received(10)
    first.subscription.commit([Progress(first.claims[name, 0], next_offset=8, replay_from=5)])
    first.subscription.close()
    second = Member(bus.subscription([name], group))
    while not second.claims:
        second.step(max_records=0)
    while len(second.deliveries) < num_read:
        second.step(max_records=1)
    assert len(second.deliveries) == num_read
    progress = [Progress(second.claims[name, 0], next_offset=8, replay_from=8)]
    if by == "itself":
        second.subscription.commit(progress)
    else:
        with closing(bus.outbox(second.subscription, fresh_name("writer"))) as outbox:
            outbox.commit([], progress)
    second.subscription.close()
    third = Member(bus.subscription([name], group)).until_received(5 - num_read)
    assert [(each.record.offset, each.is_replay) for each in third.deliveries] == [
        (offset, offset < 8) for offset in range(5 + num_read, 10)
    ]


def test_rewind_ends_the_claims_and_delivers_from_the_committed_offset(
    bus: Bus, topic: Topic, fresh_name: Name
) -> None:
    name = topic("frames")
    publish(bus, name, 10)
    member = Member(bus.subscription([name], fresh_name("group"))).until_received(10)
    before = member.claims[name, 0]
    member.subscription.commit([Progress(before, 6, 4)])
    member.forget()
    member.subscription.rewind()
    member.until_received(6)
    after = member.claims[name, 0]
    assert member.revoked == [before]
    assert after.epoch > before.epoch
    assert [d.record.offset for d in member.deliveries] == [4, 5, 6, 7, 8, 9]
    assert [d.is_replay for d in member.deliveries] == [True, True, False, False, False, False]
    member.subscription.commit([Progress(before, 10, 10)])  # skipped: that claim has ended
    member.forget()
    member.subscription.rewind()
    assert [d.record.offset for d in member.until_received(6).deliveries] == [4, 5, 6, 7, 8, 9]


def test_two_members_split_the_partitions_and_each_record_goes_to_one(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    name, group = topic("frames", 4), fresh_name("group")
    first = Member(bus.subscription([name], group)).until_owning(4)
    second = Member(bus.subscription([name], group))
    together([first, second], lambda: len(first.claims) == len(second.claims) == 2, "two claims each")
    assert not first.claims.keys() & second.claims.keys()
    publish(bus, name, 80, num_keys=16)
    together([first, second], lambda: len(first.deliveries) + len(second.deliveries) >= 80, "all records")
    assert sorted(map(int, [v or b"" for v in first.values() + second.values()])) == list(range(80))
    assert {d.record.partition for d in first.deliveries} == {partition for _, partition in first.claims}


def test_a_member_that_leaves_hands_over_at_once(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    name, group = topic("frames", 2), fresh_name("group")
    first, second = (Member(bus.subscription([name], group)) for _ in range(2))
    together([first, second], lambda: len(first.claims) == len(second.claims) == 1, "one claim each")
    first.subscription.close()
    # Long before the time-out of the session, after which a silent member is put out.
    second.until(lambda: len(second.claims) == 2, "the claims of the one that left", timeout_s=SESSION_S / 2)


def test_commits_under_ended_claims_are_skipped(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    name, group = topic("frames", 2), fresh_name("group")
    publish(bus, name, 40, num_keys=8)
    first = Member(bus.subscription([name], group)).until_received(40)
    stale = first.progress()
    second = Member(bus.subscription([name], group))
    together([first, second], lambda: len(first.claims) == len(second.claims) == 1, "one claim each")
    moved = next(iter(second.claims))
    first.subscription.commit([item for item in stale if (item.claim.topic, item.claim.partition) == moved])
    second.forget()
    second.subscription.rewind()
    second.until(lambda: bool(second.assigned), "the claim again")
    assert second.assigned[0].committed_offset == 0


def test_groups_do_not_disturb_each_other(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    name = topic("frames")
    publish(bus, name, 5)
    one, other = (Member(bus.subscription([name], fresh_name("group"))).until_received(5) for _ in range(2))
    one.subscription.commit(one.progress())
    other.forget()
    other.subscription.rewind()
    assert other.until_received(5).assigned[0].committed_offset == 0


@pytest.mark.parametrize("group", ["", "  ", "a\nb"])
def test_a_group_has_a_name(bus: Bus, topic: Topic, group: str) -> None:
    name = topic("frames")
    with pytest.raises(FatalError, match="a consumer group must have a name of printable letters, got "):
        bus.subscription([name], group)


def test_several_topics_in_one_subscription(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    events, updates = topic("events", 2), topic("updates", 1)
    publish(bus, events, 4, num_keys=4)
    publish(bus, updates, 3)
    member = Member(bus.subscription([events, updates], fresh_name("group"))).until_owning(3).until_received(7)
    assert {d.record.topic for d in member.deliveries} == {events, updates}


def test_receive_takes_no_more_than_asked(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    name = topic("frames", 2)
    publish(bus, name, 30, num_keys=4)
    member = Member(bus.subscription([name], fresh_name("group")))
    deadline = time.monotonic() + 60
    while len(member.deliveries) < 30 and time.monotonic() < deadline:
        assert len(member.step(max_records=7)) <= 7
    assert len(member.deliveries) == 30


def test_lag_falls_to_nothing(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    name = topic("frames", 2)
    member = Member(bus.subscription([name], fresh_name("group"))).until_owning(2)
    publish(bus, name, 50, num_keys=4)
    deadline = time.monotonic() + 60
    while member.subscription.lag() < 50 and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    assert member.subscription.lag() == 50
    member.until_received(50).until(lambda: member.subscription.lag() == 0, "no lag")


def test_what_is_not_received_is_bounded_and_not_lost(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    """The bound is 400 kB in both adapters; 2 MB are offered."""
    name = topic("frames", 2)
    member = Member(bus.subscription([name], fresh_name("group"))).until_owning(2)
    publisher = bus.publisher()
    offered, num_records = 0, 200
    deadline = time.monotonic() + 60
    while offered < num_records or len(member.deliveries) < num_records:
        assert time.monotonic() < deadline, f"{offered} offered, {member}"
        try:
            while offered < num_records:
                publisher.publish(OutRecord(name, f"k{offered % 5}", bytes([offered]) * 10_000))
                offered += 1
        except BufferFullError:
            pass
        member.step(timeout_s=0.05, max_records=10)
        member.subscription.commit(member.progress())
    assert len({(d.record.partition, d.record.offset) for d in member.deliveries}) == num_records


def test_closing_wakes_a_waiting_receiver(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    member = Member(bus.subscription([topic("frames")], fresh_name("group"))).until_owning(1)
    returned = threading.Event()

    def wait() -> None:
        member.subscription.receive(1, 60)
        returned.set()

    threading.Thread(target=wait, daemon=True).start()
    member.subscription.close()
    assert returned.wait(30)
    with pytest.raises(FatalError, match="closed"):
        member.subscription.receive(1, 0.1)
    member.subscription.close()  # once more does no harm


def test_a_group_may_begin_with_what_is_newest(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    name, group = topic("events"), fresh_name("group")
    publish(bus, name, 3)
    member = Member(bus.subscription([name], group, begin="newest")).until_owning(1)
    assert member.assigned[0].committed_offset == 3
    member.subscription.commit([Progress(member.claims[name, 0], 3, 3)])
    member.subscription.close()
    publish(bus, name, 2, first=3)
    again = Member(bus.subscription([name], group, begin="newest")).until_received(2)
    assert again.values() == [b"3", b"4"]
