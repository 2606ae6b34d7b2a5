"""Atomic output: all or nothing, states handed over, stale writers refused."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from deploy.local.wait import wait_until
from messaging.dead_letters import LEFT_OUT, REASON
from messaging.ports import Bus, OutRecord, Progress, Record, TooLargeError
from schemas.errors import BadMessageError, FatalError, OwnershipLostError
from tests.contract.messaging.members import Member, together

Topic = Callable[..., str]
Name = Callable[[str], str]


def publish(bus: Bus, name: str, num_records: int, num_keys: int = 1) -> None:
    publisher = bus.publisher()
    for number in range(num_records):
        publisher.publish(OutRecord(name, f"k{number % num_keys}", str(number).encode()))
    publisher.close(60)


def read_all(bus: Bus, *names: str, at_least: int = 0) -> list[bytes | None]:
    """All there is once it is so many: a broker marks the partitions one by one after it has taken the commit."""
    values: list[bytes | None] = []

    def is_enough() -> bool:
        reader = bus.reader(list(names), from_beginning=True)
        values[:] = [record.value for record in reader.read_to_end(60)]
        reader.close()
        return len(values) >= at_least

    wait_until(is_enough, 30)
    return values


def test_records_and_positions_become_visible_together(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    frames, scores, events, group = topic("frames"), topic("scores", 2), topic("events"), fresh_name("group")
    publish(bus, frames, 5)
    member = Member(bus.subscription([frames], group)).until_received(5)
    outbox = bus.outbox(member.subscription, fresh_name("writer"))
    outbox.commit(
        [OutRecord(scores, f"k{n}", f"s{n}".encode()) for n in range(4)] + [OutRecord(events, "k", b"e")],
        [Progress(member.claims[frames, 0], 3, 2)],
    )
    assert sorted(value or b"" for value in read_all(bus, scores, events, at_least=5)) == [
        b"e",
        b"s0",
        b"s1",
        b"s2",
        b"s3",
    ]
    member.subscription.close()
    after = Member(bus.subscription([frames], group)).until_received(3)
    assert after.assigned[0].committed_offset == 3
    assert [(d.record.offset, d.is_replay) for d in after.deliveries] == [(2, True), (3, False), (4, False)]


def test_many_commits_in_a_row_lose_and_repeat_nothing(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    frames, scores = topic("frames", 2), topic("scores", 2)
    publish(bus, frames, 200, num_keys=8)
    member = Member(bus.subscription([frames], fresh_name("group")))
    outbox = bus.outbox(member.subscription, fresh_name("writer"))

    def handle() -> None:
        batch = member.step(max_records=9)
        if batch:
            outbox.commit([OutRecord(scores, "k", d.record.value) for d in batch], member.progress())

    while len(member.deliveries) < 200:
        handle()
    assert sorted(int(value or b"") for value in read_all(bus, scores, at_least=200)) == list(range(200))


def test_states_go_to_the_next_owner(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    frames, states, group = topic("frames", 3), topic("states", 3, compacted=True), fresh_name("group")
    publish(bus, frames, 30, num_keys=10)
    first = Member(bus.subscription([frames], group, states)).until_owning(3).until_received(30)
    assert all(assigned.states == {} for assigned in first.assigned)
    outbox = bus.outbox(first.subscription, fresh_name("writer"))
    outbox.commit([OutRecord(states, f"k{n}", b"old") for n in range(10)], first.progress())
    outbox.commit([OutRecord(states, f"k{n}", f"state {n}".encode()) for n in range(9)], [])
    outbox.commit([OutRecord(states, "k9", None)], [])
    places = {d.record.key: d.record.partition for d in first.deliveries}
    first.subscription.close()
    second = Member(bus.subscription([frames], group, states)).until_owning(3)
    for assigned in second.assigned:
        mine = {
            f"k{n}": f"state {n}".encode() for n in range(9) if places[f"k{n}".encode()] == assigned.claim.partition
        }
        assert assigned.states == mine


def test_a_state_with_a_flaw_is_as_if_it_were_not_there(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    frames, states, group = topic("frames"), topic("states", compacted=True), fresh_name("group")
    publish(bus, frames, 1)
    first = Member(bus.subscription([frames], group, states)).until_received(1)
    outbox = bus.outbox(first.subscription, fresh_name("writer"))
    outbox.commit([OutRecord(states, key, b"honest") for key in ("a", "b")], first.progress())
    publisher = bus.publisher()
    for key in ("b", "c"):
        publisher.publish(OutRecord(states, key, b"forged", partition=0))
    assert publisher.flush(30.0)
    outbox.commit([OutRecord(states, "d", b"honest")], [])
    first.subscription.close()

    def look(record: Record) -> Record:
        return replace(record, flaw=BadMessageError("bad_mac", "no")) if record.value == b"forged" else record

    (found,) = Member(bus.subscription([frames], group, states, look=look)).until_owning(1).assigned
    assert set(found.states.values()) == {b"honest"}
    assert found.states.keys() - {"b"} == {"a", "d"}
    # A log that holds one record a key has lost the honest one of b.
    assert found.doubted == dict.fromkeys({"b", "c"} - found.states.keys(), b"forged")


def test_states_outlive_many_owners_though_nobody_writes_them_again(
    bus: Bus, topic: Topic, fresh_name: Name, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An adapter may write states again of its own accord; nobody must see a difference."""
    monkeypatch.setattr("messaging.kafka.states.FAR_RECORDS", 3)
    monkeypatch.setattr("messaging.kafka.states.FAR_PER_KEY", 1)
    frames, states, group = topic("frames"), topic("states", compacted=True), fresh_name("group")
    publish(bus, frames, 60)
    truth = {f"silent-{number}": str(number).encode() for number in range(5)} | {"forgotten": b"soon"}
    for turn in range(4):
        member = Member(bus.subscription([frames], group, states)).until_owning(1)
        claim, outbox = member.claims[frames, 0], bus.outbox(member.subscription, fresh_name("writer"))
        assert member.assigned[0].states == (truth if turn else {})
        assert member.assigned[0].committed_offset == 15 * turn
        for number in range(15 * turn, 15 * turn + 15):
            changed: dict[str, bytes | None] = {"busy": str(number).encode()}
            if number == 0:
                changed |= truth
            if number == 20:
                changed |= {"forgotten": None}
            records = [OutRecord(states, key, value, partition=0) for key, value in changed.items()]
            outbox.commit(records, [Progress(claim, number + 1, number + 1)])
            truth = {key: value for key, value in {**truth, **changed}.items() if value is not None}
        member.subscription.close()
    assert truth == {f"silent-{number}": str(number).encode() for number in range(5)} | {"busy": b"59"}


def test_a_state_goes_where_it_says_whatever_its_key(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    frames, states, group = topic("frames", 3), topic("states", 3, compacted=True), fresh_name("group")
    first = Member(bus.subscription([frames], group, states)).until_owning(3)
    outbox = bus.outbox(first.subscription, fresh_name("writer"))
    outbox.commit([OutRecord(states, "cam", str(number).encode(), partition=number) for number in range(3)], [])
    outbox.commit([OutRecord(states, "cam", None, partition=1)], [])
    first.subscription.close()
    second = Member(bus.subscription([frames], group, states)).until_owning(3)
    found = {assigned.claim.partition: dict(assigned.states) for assigned in second.assigned}
    assert found == {0: {"cam": b"0"}, 1: {}, 2: {"cam": b"2"}}


def test_a_stale_claim_loses_and_nothing_is_published(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    frames, scores, group = topic("frames", 2), topic("scores"), fresh_name("group")
    publish(bus, frames, 40, num_keys=8)
    first = Member(bus.subscription([frames], group)).until_received(40)
    outbox = bus.outbox(first.subscription, fresh_name("writer"))
    stale = first.progress()
    second = Member(bus.subscription([frames], group))
    together([first, second], lambda: len(first.claims) == len(second.claims) == 1, "one claim each")
    with pytest.raises(OwnershipLostError):
        outbox.commit([OutRecord(scores, "k", b"stale")], stale)
    assert read_all(bus, scores) == []
    first.subscription.rewind()
    first.forget()
    first.until(lambda: bool(first.assigned), "the remaining claim")
    assert first.assigned[0].committed_offset == 0
    outbox.commit([OutRecord(scores, "k", b"fresh")], [])
    assert read_all(bus, scores, at_least=1) == [b"fresh"]


def test_a_claim_from_before_a_rewind_loses(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    frames, scores = topic("frames"), topic("scores")
    publish(bus, frames, 3)
    member = Member(bus.subscription([frames], fresh_name("group"))).until_received(3)
    outbox = bus.outbox(member.subscription, fresh_name("writer"))
    before = member.progress()
    member.subscription.rewind()
    with pytest.raises(OwnershipLostError):
        outbox.commit([OutRecord(scores, "k", b"x")], before)
    member.forget()
    member.until_received(3)
    outbox.commit([OutRecord(scores, "k", b"y")], member.progress())
    assert read_all(bus, scores, at_least=1) == [b"y"]


def test_a_newer_outbox_of_the_same_writer_fences_the_old(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    frames, scores, writer = topic("frames"), topic("scores"), fresh_name("writer")
    publish(bus, frames, 3)
    member = Member(bus.subscription([frames], fresh_name("group"))).until_received(3)
    old = bus.outbox(member.subscription, writer)
    old.commit([OutRecord(scores, "k", b"1")], [])
    new = bus.outbox(member.subscription, writer)
    with pytest.raises(OwnershipLostError):
        old.commit([OutRecord(scores, "k", b"stale")], member.progress())
    new.commit([OutRecord(scores, "k", b"2")], member.progress())
    assert read_all(bus, scores, at_least=2) == [b"1", b"2"]


def test_outboxes_of_the_same_writer_id_in_two_groups_both_commit(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    frames, scores, writer = topic("frames"), topic("scores"), fresh_name("worker-0")
    publish(bus, frames, 3)
    members = [Member(bus.subscription([frames], fresh_name("group"))).until_received(3) for _ in range(2)]
    outboxes = [bus.outbox(member.subscription, writer) for member in members]
    for turn in range(2):
        for number, (outbox, member) in enumerate(zip(outboxes, members, strict=True)):
            outbox.commit([OutRecord(scores, "k", f"{number}:{turn}".encode())], member.progress())
    assert read_all(bus, scores, at_least=4) == [b"0:0", b"1:0", b"0:1", b"1:1"]


def test_outboxes_of_the_same_writer_id_and_group_on_other_topics_both_commit(
    bus: Bus, topic: Topic, fresh_name: Name
) -> None:
    sites, scores, writer, group = (topic("a"), topic("b")), topic("scores"), fresh_name("worker-0"), fresh_name("g")
    subscriptions = [bus.subscription([site], group) for site in sites]
    outboxes = [bus.outbox(subscription, writer) for subscription in subscriptions]
    for outbox in outboxes:
        outbox.commit([OutRecord(scores, "k", b"x")], [])
    assert read_all(bus, scores, at_least=2) == [b"x", b"x"]


def test_one_record_too_large_and_nothing_is_published(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    frames, scores, events = topic("frames"), topic("scores", max_message_bytes=10_000), topic("events")
    publish(bus, frames, 3)
    member = Member(bus.subscription([frames], fresh_name("group"))).until_received(3)
    outbox = bus.outbox(member.subscription, fresh_name("writer"))
    large = [OutRecord(events, "k", b"e"), OutRecord(scores, "k", b"x" * 20_000)]
    with pytest.raises(BadMessageError) as caught:
        outbox.commit(large, member.progress())
    assert caught.value.reason == "too_large"
    assert read_all(bus, scores, events) == []
    member.subscription.rewind()
    member.forget()
    member.until_received(3)
    assert member.assigned[0].committed_offset == 0
    outbox.commit([OutRecord(events, "k", b"small")], member.progress())
    assert read_all(bus, scores, events, at_least=1) == [b"small"]


def test_a_closed_outbox_refuses(bus: Bus, topic: Topic, fresh_name: Name) -> None:
    member = Member(bus.subscription([topic("frames")], fresh_name("group"))).until_owning(1)
    outbox = bus.outbox(member.subscription, fresh_name("writer"))
    outbox.close()
    with pytest.raises(FatalError, match="closed"):
        outbox.commit([], [])


def test_writers_of_one_id_in_different_groups_or_on_different_topics_leave_each_other_alone(
    bus: Bus, topic: Topic, fresh_name: Name
) -> None:
    """Two sites on one cluster, both with a worker-0."""
    here, there, scores, group = topic("here"), topic("there"), topic("scores"), fresh_name("group")
    memberships = [(here, group), (there, group), (here, fresh_name("other"))]
    outboxes = [bus.outbox(bus.subscription([name], of_group), "worker-0") for name, of_group in memberships]
    for turn in range(2):
        for number, outbox in enumerate(outboxes):
            outbox.commit([OutRecord(scores, "k", f"{number}:{turn}".encode())], [])
    assert read_all(bus, scores, at_least=6) == [b"0:0", b"1:0", b"2:0", b"0:1", b"1:1", b"2:1"]


def test_a_letter_that_its_topic_does_not_take_is_published_without_its_value(
    bus: Bus, topic: Topic, fresh_name: Name
) -> None:
    frames, letters, events = topic("frames"), topic("letters", max_message_bytes=10_000), topic("events")
    publish(bus, frames, 3)
    member = Member(bus.subscription([frames], fresh_name("group"))).until_received(3)
    outbox = bus.outbox(member.subscription, fresh_name("writer"))
    reasons = [(REASON, b"bad_header")]
    long = [OutRecord(letters, f"k{number}", b"x" * 20_000, tuple(reasons)) for number in range(3)]
    outbox.commit([OutRecord(events, "k", b"e"), *long, OutRecord(letters, "k", b"short", tuple(reasons))], [])
    reader = bus.reader([letters], from_beginning=True)
    found = [(record.value, record.header(LEFT_OUT)) for record in reader.read_to_end(20)]
    reader.close()
    assert sorted(found, key=str) == sorted([(b"", b"20000")] * 3 + [(b"short", None)], key=str)
    assert read_all(bus, events, at_least=1) == [b"e"]


def test_the_record_that_is_too_large_is_named_and_the_others_can_go_without_it(
    bus: Bus, topic: Topic, fresh_name: Name
) -> None:
    frames, scores = topic("frames"), topic("scores", max_message_bytes=10_000)
    publish(bus, frames, 3)
    member = Member(bus.subscription([frames], fresh_name("group"))).until_received(3)
    outbox = bus.outbox(member.subscription, fresh_name("writer"))
    records = [OutRecord(scores, "a", b"1"), OutRecord(scores, "large", b"x" * 20_000), OutRecord(scores, "b", b"2")]
    with pytest.raises(TooLargeError) as caught:
        outbox.commit(records, member.progress())
    assert caught.value.record is records[1]
    outbox.commit([record for record in records if record is not caught.value.record], member.progress())
    assert read_all(bus, scores, at_least=2) == [b"1", b"2"]
