"""What only the in-process bus promises: bounded memory, and who pays for it."""

import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.inprocess.bus import InProcessBus
from messaging.inprocess.group import balance
from messaging.ports import Assigned, Lost, OutRecord, Progress, TopicSpec
from schemas.errors import BadMessageError, BufferFullError, FatalError

KIB = 1024


def full(bus: InProcessBus, topic: str, value: bytes = b"x" * 10 * KIB) -> int:
    """How many records fit until the publisher is refused."""
    publisher = bus.publisher()
    for number in range(1000):
        try:
            publisher.publish(OutRecord(topic, "k", value))
        except BufferFullError:
            return number
    raise AssertionError("it was never full")


def make(max_topic_bytes: int = 400 * KIB, ring_records: int = 1000) -> InProcessBus:
    bus = InProcessBus(max_topic_bytes, ring_records, clock=lambda: 12.5)
    bus.create_topics([TopicSpec("frames", 2), TopicSpec("states", 2, compacted=True), TopicSpec("scores", 1)])
    return bus


def test_a_topic_that_a_group_has_not_handled_fills_up() -> None:
    bus = make()
    bus.subscription(["frames"], "workers")
    assert full(bus, "frames") == 39


def test_small_records_count_too() -> None:
    bus = make(max_topic_bytes=100 * KIB)
    bus.subscription(["frames"], "workers")
    assert full(bus, "frames", b"") < 400


def test_handled_records_make_room_but_not_those_needed_for_replay() -> None:
    bus = make()
    subscription = bus.subscription(["frames"], "workers")
    num_records = full(bus, "frames")
    deliveries = subscription.receive(1000, 1).deliveries
    assert len(deliveries) == num_records
    subscription.commit([Progress(deliveries[0].claim, next_offset=num_records, replay_from=10)])
    assert full(bus, "frames") == 10
    subscription.commit([Progress(deliveries[0].claim, next_offset=num_records, replay_from=num_records)])
    assert full(bus, "frames") == num_records - 10


def test_the_slowest_group_decides() -> None:
    bus = make()
    fast, _slow = bus.subscription(["frames"], "fast"), bus.subscription(["frames"], "slow")
    num_records = full(bus, "frames")
    claim = fast.receive(1000, 1).deliveries[0].claim
    fast.commit([Progress(claim, num_records, num_records)])
    assert full(bus, "frames") == 0


def test_a_group_whose_members_all_left_still_has_its_records_kept() -> None:
    bus = make()
    bus.subscription(["frames"], "workers").close()
    num_records = full(bus, "frames")
    assert len(bus.subscription(["frames"], "workers").receive(1000, 1).deliveries) == num_records


def test_a_topic_without_a_group_keeps_a_ring_and_a_slow_reader_hears_of_it(caplog: pytest.LogCaptureFixture) -> None:
    bus = make(ring_records=5)
    reader = bus.reader(["scores"], from_beginning=True)
    publisher = bus.publisher()
    for number in range(20):
        publisher.publish(OutRecord("scores", "k", str(number).encode()))
    assert [record.value for record in reader.read_to_end(1)] == [b"15", b"16", b"17", b"18", b"19"]
    assert "15 records were gone" in caplog.text


def test_a_compacted_topic_keeps_the_newest_of_each_key_only() -> None:
    bus = make()
    publisher = bus.publisher()
    for number in range(10_000):
        publisher.publish(OutRecord("states", f"k{number % 3}", b"x" * 1000 + str(number).encode()))
    values = [record.value or b"" for record in bus.reader(["states"], from_beginning=True).read_to_end(1)]
    assert sorted(value[1000:] for value in values) == [b"9997", b"9998", b"9999"]


def test_an_outbox_that_finds_no_room_publishes_nothing_and_commits_nothing() -> None:
    bus = make()
    subscription = bus.subscription(["frames"], "workers")
    bus.subscription(["scores"], "readers")
    bus.publisher().publish(OutRecord("frames", "k", b"frame"))
    claim = subscription.receive(10, 1).deliveries[0].claim
    full(bus, "scores")
    before = len(bus.reader(["states"], from_beginning=True).read_to_end(1))
    with pytest.raises(BufferFullError, match="scores"):
        bus.outbox(subscription, "w").commit(
            [OutRecord("states", "k", b"s"), OutRecord("scores", "k", b"x" * 10 * KIB)], [Progress(claim, 1, 1)]
        )
    assert len(bus.reader(["states"], from_beginning=True).read_to_end(1)) == before == 0
    subscription.rewind()
    assert subscription.receive(10, 1).assigned[0].committed_offset == 0


def test_a_record_larger_than_the_whole_bound_can_never_be_sent() -> None:
    bus = make(max_topic_bytes=5 * KIB)
    with pytest.raises(BadMessageError, match="send a smaller one"):
        bus.publisher().publish(OutRecord("frames", "k", b"x" * 6 * KIB))


def test_the_clock_is_the_callers() -> None:
    bus = make()
    bus.publisher().publish(OutRecord("scores", "k", b"x"))
    assert bus.reader(["scores"], from_beginning=True).read_to_end(1)[0].timestamp_ms == 12_500


def test_an_outbox_needs_a_subscription_of_its_own_kind() -> None:
    with pytest.raises(FatalError, match="same bus"):
        make().outbox(object(), "w")  # type: ignore[arg-type]


def test_many_threads_lose_nothing() -> None:
    bus = make(max_topic_bytes=200 * KIB)
    subscription = bus.subscription(["frames"], "workers")
    num_records = 2000
    taken: list[bytes | None] = []
    refused = threading.Event()

    def produce(key: str) -> None:
        publisher = bus.publisher()
        for number in range(num_records):
            while True:
                try:
                    publisher.publish(OutRecord("frames", key, f"{key}:{number}".encode()))
                    break
                except BufferFullError:
                    refused.set()
                    threading.Event().wait(0.001)

    threads = [threading.Thread(target=produce, args=(f"k{n}",), daemon=True) for n in range(3)]
    for thread in threads:
        thread.start()
    assert refused.wait(30)
    while len(taken) < 3 * num_records:
        deliveries = subscription.receive(200, 5).deliveries
        assert deliveries, "nothing more came"
        taken += [delivery.record.value for delivery in deliveries]
        subscription.commit([Progress(d.claim, d.record.offset + 1, d.record.offset + 1) for d in deliveries])
    for key in ("k0", "k1", "k2"):
        mine = [value for value in taken if value is not None and value.startswith(key.encode())]
        assert mine == [f"{key}:{number}".encode() for number in range(num_records)]


def test_a_claim_that_came_and_went_unheard_is_not_mentioned() -> None:
    bus = make()
    first = bus.subscription(["frames"], "g")
    first.rewind()
    intake = first.receive(1, 0)
    assert intake.revoked == ()
    assert [type(assigned) for assigned in intake.assigned] == [Assigned, Assigned]
    assert {assigned.claim.epoch for assigned in intake.assigned} == {2}


@given(
    num_partitions=st.integers(1, 24),
    before=st.lists(st.sampled_from("abcdef"), max_size=24),
    members=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6, unique=True),
)
def test_partitions_are_spread_evenly_and_few_move(
    num_partitions: int, before: Sequence[str], members: list[str]
) -> None:
    partitions = range(num_partitions)
    owners = dict(zip(partitions, before, strict=False))
    after = balance(partitions, owners, members)
    counts = [list(after.values()).count(member) for member in members]
    assert sorted(after) == list(partitions)
    assert max(counts) - min(counts) <= 1
    for partition, owner in owners.items():
        over_quota = list(owners.values()).count(owner) > num_partitions // len(members)
        assert after[partition] == owner or owner not in members or over_quota


def test_what_the_log_let_go_of_before_it_was_read_is_told_once() -> None:
    bus = make()
    subscription = bus.subscription(["scores"], "workers")
    publisher = bus.publisher()
    for _ in range(5):
        publisher.publish(OutRecord("scores", "k", b"x"))
    first = subscription.receive(1, 0)
    log = bus._shared.topics["scores"].partitions[0]
    for _ in range(3):
        log.drop_oldest()
    intake = subscription.receive(10, 0)
    assert intake.lost == (Lost(first.assigned[0].claim, 1, 2),)
    assert [delivery.record.offset for delivery in intake.deliveries] == [3, 4]
    assert subscription.receive(10, 0).lost == ()
