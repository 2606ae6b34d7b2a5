"""The metadata of committed offsets: written, read back, and whatever else may stand there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import OffsetAndMetadata, TopicPartition

from messaging.kafka.marks import Checkpoint, Mark, committed_as, offsets_of, read_mark

ID = "6f1c9a52-3d1e-4f6b-9a50-1f2e3d4c5b6a"
NUMBERS = st.integers(0, 10**18 - 1)


@pytest.mark.parametrize(
    ("mark", "told"),
    [
        (Mark(50, 40), "40"),
        (Mark(50, 40, 2), "40;2"),
        (Mark(50, 40, 0, Checkpoint(1900, ID)), f"40;0;1900@{ID}"),
        (Mark(50, 40, 2, Checkpoint(0, ID)), f"40;2;0@{ID}"),
    ],
)
def test_what_is_committed_reads_the_same_on_paper(mark: Mark, told: str) -> None:
    assert committed_as(mark) == OffsetAndMetadata(50, told, -1)
    assert read_mark(committed_as(mark)) == mark


@given(NUMBERS, NUMBERS, NUMBERS, st.none() | NUMBERS)
def test_what_was_committed_is_found_again(first: int, second: int, attempts: int, states_from: int | None) -> None:
    checkpoint = None if states_from is None else Checkpoint(states_from, ID)
    mark = Mark(max(first, second), min(first, second), attempts, checkpoint)
    assert read_mark(committed_as(mark)) == mark


@pytest.mark.parametrize("told", [None, "", "x", "-1", "4.0", "٣", " 40", "4" * 30, "{}", ";;", "@", ";;@"])
def test_what_makes_no_sense_says_nothing(told: str | None) -> None:
    assert read_mark(OffsetAndMetadata(50, told, -1)) == Mark(50, 50)


@pytest.mark.parametrize("told", ["40", "40;", "40;0", "40;-2", "40;two", "40;٣", f"40;{'9' * 5000}", "40;1e3"])
def test_senseless_attempts_are_none(told: str) -> None:
    assert read_mark(OffsetAndMetadata(50, told, -1)) == Mark(50, 40)


@pytest.mark.parametrize(
    "states",
    ["", "1900", "@", f"@{ID}", "1900@", f"-1@{ID}", f"x@{ID}", f"19 00@{ID}", f"٣@{ID}", f"{'9' * 5000}@{ID}", ID],
)
def test_a_senseless_checkpoint_is_none_and_the_rest_is_believed(states: str) -> None:
    assert read_mark(OffsetAndMetadata(50, f"40;2;{states}", -1)) == Mark(50, 40, 2)


def test_fields_are_believed_one_by_one_and_those_of_a_newer_engram_are_left_alone() -> None:
    told = OffsetAndMetadata(50, f"senseless;;1900@{ID};more", -1)
    assert read_mark(told) == Mark(50, 50, 0, Checkpoint(1900, ID))


def test_replay_never_begins_behind_the_offset() -> None:
    assert read_mark(OffsetAndMetadata(50, "60", -1)).replay_from == 50


@given(st.text())
def test_reading_is_total(told: str) -> None:
    mark = read_mark(OffsetAndMetadata(50, told, -1))
    assert mark.next_offset == 50
    assert 0 <= mark.replay_from <= 50


def test_marks_of_several_partitions_are_committed_together() -> None:
    assert offsets_of({("t", 1): Mark(50, 40), ("t", 2): Mark(7, 7, 1)}) == {
        TopicPartition("t", 1): OffsetAndMetadata(50, "40", -1),
        TopicPartition("t", 2): OffsetAndMetadata(7, "7;1", -1),
    }
