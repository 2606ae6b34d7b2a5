"""The table of states: what a new owner must read, and what is written again so that it need not read more."""

from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition

from messaging.kafka import states
from messaging.kafka.marks import Checkpoint
from messaging.kafka.states import AGAIN_RECORDS, StateTable
from messaging.ports import OutRecord, Record
from schemas.errors import BadMessageError

PLACE = TopicPartition("states", 3)


def record(offset: int, key: str | bytes | None, value: bytes | None = b"s") -> Record:
    return Record("states", 3, offset, key.encode() if isinstance(key, str) else key, value, (), 0)


def table_of(*records: Record) -> StateTable:
    table = StateTable(PLACE, "id", 0)
    for each in records:
        table.take(each)
    return table


def test_the_checkpoint_is_the_oldest_of_the_newest_records() -> None:
    table = table_of(record(0, "a"), record(1, "b"), record(2, "c"))
    assert table.checkpoint == Checkpoint(0, "id")
    table.take(record(5, "a", b"new"))
    assert table.checkpoint == Checkpoint(1, "id")
    assert table.values() == {"a": b"new", "b": b"s", "c": b"s"}


def test_a_tombstone_takes_its_key_out_of_the_table() -> None:
    table = table_of(record(0, "a"), record(1, "b"), record(2, "a", None))
    assert (table.values(), table.checkpoint) == ({"b": b"s"}, Checkpoint(1, "id"))
    table.take(record(3, "b", None))
    assert (table.values(), table.checkpoint) == ({}, Checkpoint(4, "id"))
    table.take(record(4, "never seen", None))
    assert (table.values(), table.checkpoint) == ({}, Checkpoint(5, "id"))


def test_a_key_that_comes_back_is_as_new() -> None:
    table = table_of(record(0, "a"), record(1, "b"), record(2, "a", None), record(3, "a", b"again"))
    assert (table.values(), table.checkpoint) == ({"b": b"s", "a": b"again"}, Checkpoint(1, "id"))


def test_a_record_with_a_flaw_takes_nothing_from_the_one_before_it() -> None:
    flaw = BadMessageError("bad_mac", "forged")
    forged = [replace(record(at, "a", value), flaw=flaw) for at, value in ((1, b"forged"), (2, None))]
    table = table_of(record(0, "a", b"honest"), *forged)
    assert (table.values(), table.doubted(), table.checkpoint) == ({"a": b"honest"}, {}, Checkpoint(0, "id"))
    table.take(record(3, "a", None))
    assert (table.values(), table.doubted()) == ({}, {}), "it is gone, whatever was said of it before"


def test_what_has_records_with_a_flaw_only_is_told_apart_and_holds_no_checkpoint_back() -> None:
    forged = replace(record(0, "a", b"forged"), flaw=BadMessageError("no_mac", "forged"))
    table = table_of(forged, record(1, "b"), replace(forged, offset=2, value=b"newer"))
    assert (table.values(), table.doubted()) == ({"b": b"s"}, {"a": b"newer"})
    assert table.checkpoint == Checkpoint(1, "id")
    table.take(record(3, "a", b"honest"))
    assert (table.values(), table.doubted()) == ({"b": b"s", "a": b"honest"}, {})


@pytest.mark.parametrize("key", [None, b"\xff\xfe"])
def test_what_no_outbox_can_have_written_is_passed_over(key: bytes | None) -> None:
    table = table_of(record(0, key), record(1, "a"))
    assert (table.values(), table.checkpoint) == ({"a": b"s"}, Checkpoint(1, "id"))


@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_a_record_that_does_not_come_behind_the_last_ends_all_trust(
    offset: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "FAR_RECORDS", 1)
    monkeypatch.setattr(states, "FAR_PER_KEY", 0)
    table = table_of(record(0, "a"), record(1, "b"))
    assert table.far_behind() != []
    table.take(record(offset, "c"))
    assert (table.checkpoint, table.far_behind()) == (None, [])
    table.take(record(9, "a"))
    assert (table.checkpoint, table.far_behind()) == (None, [])


def test_what_is_distrusted_is_still_told_to_its_owner() -> None:
    table = table_of(record(0, "a"))
    table.distrust()
    assert (table.checkpoint, table.values()) == (None, {"a": b"s"})


def test_only_what_lies_far_behind_is_written_again_unchanged_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "FAR_RECORDS", 20)
    table = table_of(record(0, "a", b"0"), record(1, "b", b"1"))
    table.take(record(20, "c"))
    assert table.far_behind() == [OutRecord("states", "a", b"0", partition=3)]
    assert table.far_behind(besides={"a"}) == []
    table.take(record(21, "c"))
    assert [each.key for each in table.far_behind()] == ["a", "b"]
    table.take(record(23, "a", b"0"))
    assert [each.key for each in table.far_behind()] == ["b"]
    assert table.checkpoint == Checkpoint(1, "id")


def test_many_keys_are_not_written_for_each_others_sake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "FAR_RECORDS", 10)
    table = StateTable(PLACE, "id", 0)
    for offset in range(1000):
        table.take(record(offset, f"camera-{offset % 50}"))
        assert table.far_behind() == [], "each is written every 50 records, which is no more than they are"


def test_one_commit_writes_a_bounded_number_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "FAR_RECORDS", 0)
    monkeypatch.setattr(states, "FAR_PER_KEY", 0)
    table = table_of(*(record(offset, f"camera-{offset}") for offset in range(3 * AGAIN_RECORDS)))
    assert [each.key for each in table.far_behind()] == [f"camera-{number}" for number in range(AGAIN_RECORDS)]
    monkeypatch.setattr(states, "AGAIN_BYTES", 1000)
    table = table_of(*(record(offset, f"camera-{offset}", b"s" * 400) for offset in range(10)))
    assert len(table.far_behind()) == 2
    table = table_of(record(0, "large", b"s" * 5000), record(1, "b"))
    assert [each.key for each in table.far_behind()] == ["large"], "one goes at any size, else none behind it would"


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans(), st.integers(1, 3)), max_size=60))
def test_from_any_checkpoint_ever_told_the_newest_states_are_found(writes: list[tuple[str, bool, int]]) -> None:
    """With a bound so small that nearly each commit writes states again."""
    log: list[Record] = []
    told: list[Checkpoint] = []
    truth: dict[str, bytes] = {}
    numbers = count()
    owner = StateTable(PLACE, "id", 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(states, "FAR_RECORDS", 2)
        patch.setattr(states, "FAR_PER_KEY", 1)
        for key, is_alive, gap in writes:
            value = str(next(numbers)).encode() if is_alive else None
            again = owner.far_behind(besides={key})
            assert owner.checkpoint is not None
            told.append(owner.checkpoint)
            at = owner.position + gap - 1  # markers of transactions lie between
            for offset, (one, what) in enumerate([(key, value), *((each.key, each.value) for each in again)], at):
                log.append(record(offset, one, what))
                owner.take(log[-1])
            truth.pop(key, None)
            truth |= {} if value is None else {key: value}
    assert owner.values() == truth
    for checkpoint in told:
        successor = StateTable(PLACE, "id", checkpoint.offset)
        for each in log:
            if each.offset >= checkpoint.offset:
                successor.take(each)
        assert successor.values() == truth
