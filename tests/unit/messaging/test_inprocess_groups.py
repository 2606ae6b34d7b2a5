"""Groups, writers and readers of the in-process bus, and what is told at their edges."""

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from messaging.dead_letters import LEFT_OUT, dead_letter
from messaging.inprocess.group import Group, Position, balance
from messaging.ports import Claim, Lost, OutRecord, Progress, Record, TooLargeError, TopicSpec
from schemas.errors import BadMessageError, BufferFullError, FatalError, OwnershipLostError
from tests.unit.messaging.small_bus import made, out

NOBODY: Callable[[int], int] = lambda _: 10**9  # noqa: E731 - no group needs any offset
EVERYTHING: Callable[[int], int] = lambda _: 0  # noqa: E731


def test_partitions_left_over_go_to_those_who_hold_most() -> None:
    assert balance(range(5), {0: "b", 1: "b", 2: "b"}, ["a", "b"]) == {0: "b", 1: "b", 2: "b", 3: "a", 4: "a"}
    assert balance(range(2), {}, ["a", "b", "c"]) == {0: "a", 1: "b"}
    assert balance([], {}, ["a"]) == {}


def test_progress_never_replays_from_beyond_itself() -> None:
    group = Group()
    member = group.join({"t": 1})
    (claim,) = member.claims.values()
    assert group.position(("t", 0)) == Position(0, 0)
    group.commit(member, [Progress(claim, next_offset=5, replay_from=9)])
    assert group.position(("t", 0)) == Position(5, 5)
    group.commit(member, [Progress(claim, 7, 2), Progress(Claim("t", 0, claim.epoch + 1), 8, 8)])
    assert group.position(("t", 0)) == Position(7, 2)


def test_members_are_given_the_partitions_of_their_own_topics_only() -> None:
    group = Group()
    one, both = group.join({"a": 2}), group.join({"a": 2, "b": 3})
    assert sorted(one.claims) != sorted(both.claims)
    assert [len([where for where in member.claims if where[0] == "a"]) for member in (one, both)] == [1, 1]
    assert sorted(where for where in both.claims if where[0] == "b") == [("b", 0), ("b", 1), ("b", 2)]
    group.leave(both)
    group.leave(both)  # once more does no harm
    assert sorted(one.claims) == [("a", 0), ("a", 1)]
    assert both.claims == {}


def test_each_ownership_has_its_own_epoch() -> None:
    group = Group()
    first = group.join({"t": 1})
    group.rewind(first)
    group.leave(first)
    second = group.join({"t": 1})
    assert [claim.epoch for claim in second.claims.values()] == [3]


def test_a_closed_part_of_a_bus_says_that_it_is_closed() -> None:
    bus = made(TopicSpec("t", 1))
    subscription, reader, publisher = bus.subscription(["t"], "g"), bus.reader(["t"], True), bus.publisher()
    outbox = bus.outbox(subscription, "w")
    bus.close()
    for use in (
        lambda: subscription.receive(1, 0),
        lambda: reader.read(1, 0),
        lambda: reader.read_to_end(0),
        lambda: publisher.publish(out()),
        lambda: outbox.commit([], []),
    ):
        with pytest.raises(FatalError, match=r"must be open to .*, this one was closed"):
            use()
    assert [record.value for record in bus.reader(["t"], True).read_to_end(0)] == []


def test_closing_wakes_a_reader_that_waits() -> None:
    reader = made(TopicSpec("t", 1)).reader(["t"], True)
    ended: list[BaseException] = []

    def wait() -> None:
        try:
            reader.read(1, 60)
        except FatalError as error:
            ended.append(error)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    reader.close()
    thread.join(10)
    assert len(ended) == 1


def test_what_is_published_wakes_a_receiver_and_a_reader() -> None:
    bus = made(TopicSpec("t", 1))
    subscription, reader = bus.subscription(["t"], "g"), bus.reader(["t"], True)
    subscription.receive(1, 0)
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(subscription.receive(1, 60).deliveries[0].record.value)),
        threading.Thread(target=lambda: found.append(reader.read(1, 60)[0].value)),
    ]
    for thread in threads:
        thread.start()
    bus.publisher().publish(out(value=b"news"))
    for thread in threads:
        thread.join(20)
    assert found == [b"news", b"news"]


def test_an_outbox_of_the_same_writer_takes_over_and_another_writer_does_not() -> None:
    bus = made(TopicSpec("t", 1), TopicSpec("scores", 1))
    subscription = bus.subscription(["t"], "g")
    first, other = bus.outbox(subscription, "w"), bus.outbox(subscription, "v")
    second = bus.outbox(subscription, "w")
    with pytest.raises(OwnershipLostError, match=r"writer 't/g/w' must be the newest of its id, another took over"):
        first.commit([out(topic="scores")], [])
    first.close()  # must not take the second's place with it
    second.commit([out(topic="scores", value=b"2")], [])
    other.commit([out(topic="scores", value=b"3")], [])
    assert [each.value for each in bus.reader(["scores"], True).read_to_end(0)] == [b"2", b"3"]
    second.close()
    assert bus.outbox(subscription, "w") is not second


def test_an_outbox_refuses_all_if_one_claim_has_ended() -> None:
    bus = made(TopicSpec("t", 2), TopicSpec("scores", 1))
    subscription = bus.subscription(["t"], "g")
    outbox = bus.outbox(subscription, "w")
    live, ended = (assigned.claim for assigned in subscription.receive(1, 0).assigned)
    stale = Claim(ended.topic, ended.partition, ended.epoch - 1)
    with pytest.raises(OwnershipLostError, match="one has ended: rewind"):
        outbox.commit([out(topic="scores")], [Progress(live, 1, 1), Progress(stale, 1, 1)])
    assert list(bus.reader(["scores"], True).read_to_end(0)) == []
    subscription.rewind()
    assert {assigned.committed_offset for assigned in subscription.receive(1, 0).assigned} == {0}


def test_states_are_those_of_the_partition_with_the_same_number() -> None:
    bus = made(TopicSpec("t", 2), TopicSpec("states", 2, compacted=True))
    for partition in (0, 1):
        bus.publisher().publish(out(f"cam{partition}", b"s%d" % partition, "states", partition))
    bus.publisher().publish(out("gone", None, "states", 0))
    with_states = bus.subscription(["t"], "g", "states").receive(1, 0).assigned
    assert {each.claim.partition: dict(each.states) for each in with_states} == {0: {"cam0": b"s0"}, 1: {"cam1": b"s1"}}
    assert [dict(each.states) for each in bus.subscription(["t"], "other").receive(1, 0).assigned] == [{}, {}]


def test_partitions_take_turns_so_that_a_busy_one_does_not_starve_the_other() -> None:
    bus = made(TopicSpec("t", 2))
    subscription = bus.subscription(["t"], "g")
    for partition in [0] * 10 + [1] * 3:
        bus.publisher().publish(out(partition=partition))
    first_four = [subscription.receive(1, 0).deliveries[0].record.partition for _ in range(4)]
    assert sorted(first_four) == [0, 0, 1, 1]


def test_lag_counts_what_was_not_received_even_before_the_claim_is_known() -> None:
    bus = made(TopicSpec("t", 2))
    for partition in (0, 0, 0, 1):
        bus.publisher().publish(out(partition=partition))
    subscription = bus.subscription(["t"], "g")
    assert subscription.lag() == 4
    claim = next(each for each in subscription.receive(0, 0).assigned if each.claim.partition == 0).claim
    subscription.receive(3, 0)
    assert subscription.lag() == 1
    subscription.commit([Progress(claim, 2, 1)])
    subscription.rewind()
    assert subscription.lag() == 2 + 1  # from where it will replay


def test_a_group_that_comes_late_begins_with_what_there_is_and_misses_nothing_that_it_could_have_had() -> None:
    bus = made(TopicSpec("t", 1), ring_records=3)
    for number in range(8):
        bus.publisher().publish(out(value=b"%d" % number))
    intake = bus.subscription(["t"], "late").receive(9, 0)
    assert [each.record.value for each in intake.deliveries] == [b"5", b"6", b"7"]
    assert intake.lost == ()


def test_what_was_gone_before_a_member_came_is_told_to_it(caplog: pytest.LogCaptureFixture) -> None:
    bus = made(TopicSpec("t", 1))
    first = bus.subscription(["t"], "g")
    for _ in range(6):
        bus.publisher().publish(out())
    claim = first.receive(9, 0).assigned[0].claim
    first.commit([Progress(claim, 2, 2)])
    first.close()
    for _ in range(5):
        bus._shared.topics["t"].partitions[0].drop_oldest()
    intake = bus.subscription(["t"], "g").receive(9, 0)
    assert intake.lost == (Lost(intake.assigned[0].claim, 2, 3),)
    assert [each.record.offset for each in intake.deliveries] == [5]
    assert "3 records of t/0 were gone" in caplog.text


def test_a_reader_that_is_in_time_hears_of_no_loss_and_a_compacted_topic_never_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus = made(TopicSpec("t", 1), TopicSpec("c", 1, compacted=True), ring_records=2)
    late, compacted = bus.reader(["t"], True), bus.reader(["c"], True)
    for number in range(2):
        bus.publisher().publish(out(value=b"%d" % number))
    with caplog.at_level(logging.WARNING):
        assert len(late.read_to_end(0)) == 2
        for _ in range(5):
            bus.publisher().publish(out(topic="c"))
        assert len(compacted.read_to_end(0)) == 1
        assert caplog.text == ""
        for number in range(2, 7):
            bus.publisher().publish(out(value=b"%d" % number))
        assert [each.value for each in late.read(9, 0)] == [b"5", b"6"]
    assert "a reader of t/0 was too slow: 3 records were gone" in caplog.text


def test_a_letter_that_is_too_large_is_published_without_its_value_and_other_records_are_not() -> None:
    bus = made(TopicSpec("letters", 1, max_message_bytes=600), TopicSpec("t", 1))
    source = Record("t", 0, 3, b"cam1", b"x" * 5000, (("own", b"y" * 200),), 0)
    letter = dead_letter(source, BadMessageError("foreign", "not ours"), "letters", "w1")
    publisher = bus.publisher()
    publisher.publish(letter)
    (found,) = bus.reader(["letters"], True).read_to_end(0)
    assert (found.value, found.header(LEFT_OUT), found.header("own")) == (b"", b"5000", None)
    with pytest.raises(TooLargeError, match="'letters' must have at most 600 bytes"):
        publisher.publish(OutRecord("letters", "k", b"x" * 700))
    long = dead_letter(source, BadMessageError("foreign", "n" * 900), "letters", "w1")
    with pytest.raises(TooLargeError):  # not even without its value
        publisher.publish(long)


def test_of_several_topics_none_is_written_where_one_is_full_or_missing() -> None:
    bus = made(TopicSpec("t", 1), TopicSpec("scores", 1), max_topic_bytes=1000)
    subscription = bus.subscription(["t", "scores"], "g")
    outbox = bus.outbox(subscription, "w")
    outbox.commit([out(topic="scores")] * 3, [])
    with pytest.raises(BufferFullError, match=r"topic 'scores' is full of records .* not handled yet: wait"):
        outbox.commit([out(), out(topic="scores")], [])
    with pytest.raises(FatalError, match=r"topic 'none' must exist, there are \['scores', 't'\]; run `engram topics"):
        outbox.commit([out(), out(topic="none")], [])
    assert [each.topic for each in bus.reader(["t", "scores"], True).read_to_end(0)] == ["scores"] * 3


def test_what_an_on_done_raises_is_logged_and_the_record_is_there(caplog: pytest.LogCaptureFixture) -> None:
    bus = made(TopicSpec("t", 1))

    def broken(_: Exception | None) -> None:
        raise ValueError("the caller's mistake")

    bus.publisher().publish(out(), broken)
    assert "on_done of a published record failed" in caplog.text
    assert len(bus.reader(["t"], True).read_to_end(0)) == 1
