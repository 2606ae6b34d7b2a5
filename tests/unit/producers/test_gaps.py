"""Losses become gaps: few, whole, never lost themselves."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from producers import gaps
from producers.gaps import LONGEST_S, QUIET_S, GapBook
from schemas.cameras import gap_event
from tests.unit.producers.spools import header


class Turned:
    """A clock."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_stretch_is_one_gap_once_it_is_over() -> None:
    clock = Turned()
    book = GapBook(monotonic=clock)
    for index in range(10, 30):
        book.add(header(index), "broker_away")
    assert book.take() == []
    clock.now_s = QUIET_S
    (gap,) = book.take()
    assert (gap.first_frame, gap.last_frame, gap.num_frames, gap.cause) == (10, 29, 20, "broker_away")
    assert (gap.first_at, gap.last_at) == (header(10).captured_at, header(29).captured_at)
    assert book.take() == []


def test_gaps_of_other_cameras_sessions_and_causes_are_others() -> None:
    book = GapBook(monotonic=Turned())
    book.add(header(1), "a")
    book.add(header(2), "b")
    book.add(header(3, session="s2"), "a")
    book.add(header(4, camera="yard"), "a")
    assert len(book.take(is_last=True)) == 4


def test_losses_far_apart_are_two_gaps_and_a_long_one_is_told_in_pieces() -> None:
    clock = Turned()
    book = GapBook(monotonic=clock)
    for index in (0, 1, 300, 301):
        book.add(header(index), "too_large")
    assert [(gap.first_frame, gap.last_frame) for gap in book.take(is_last=True)] == [(0, 1), (300, 301)]
    for index in range(int(2.5 * LONGEST_S)):
        clock.now_s += 1.0
        book.add(header(index * 10), "broker_away")
        assert len(book.take()) <= 1
    assert clock.now_s > 2 * LONGEST_S


def test_the_same_gap_has_the_same_id() -> None:
    book = GapBook(monotonic=Turned())
    book.add(header(7), "stale")
    (gap,) = book.take(is_last=True)
    event = gap_event(gap)
    assert event.id == "gate:s1:gap:stale:7-7"
    assert event.type == "dev.engram.camera.gap.v1"
    assert event.time == gap.last_at


def test_what_was_not_told_outlives_the_process(tmp_path: Path) -> None:
    file = tmp_path / "gaps.json"
    first = GapBook(file, Turned())
    for index in range(5):
        first.add(header(index), "spool_full")
    first.save()
    second = GapBook(file, Turned())
    (gap,) = second.take()
    assert gap.num_frames == 5
    second.save()
    assert GapBook(file).take() == [gap], "taken is not told"
    second.told(gap)
    second.save()
    assert GapBook(file).take() == []


def test_a_file_that_is_none_of_ours_is_no_gap(tmp_path: Path) -> None:
    file = tmp_path / "gaps.json"
    for content in (b"", b"[1]", b"\xff\xfe", b'[{"camera_id": "x"}]'):
        file.write_bytes(content)
        assert GapBook(file).take() == []


@given(st.lists(st.integers(0, 30), max_size=60))
def test_no_loss_is_forgotten_however_many_wait(steps: list[int]) -> None:
    book, num_lost, index = GapBook(monotonic=Turned()), 0, 0
    most, gaps.MOST_KEPT = gaps.MOST_KEPT, 3
    try:
        for step in steps:
            index += step * 10
            book.add(header(index), "broker_away")
            num_lost += 1
            for gap in book.take(is_last=step % 3 == 0):
                book.back(gap)
        told = book.take(is_last=True)
    finally:
        gaps.MOST_KEPT = most
    assert sum(gap.num_frames for gap in told) == num_lost
    assert len(told) <= 5
