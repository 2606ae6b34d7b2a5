"""A clip is only ever made of consecutive frames of one size."""

from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.formats import ClipFormat
from workers.continuity import Position
from workers.windows import Window, WindowFrame

START = datetime(2026, 1, 5, tzinfo=timezone.utc)


def frame(
    index: int, offset: int | None = None, size: tuple[int, int] = (4, 3), session: str = "s1", pause_s: float = 0.0
) -> WindowFrame:
    image = np.full((3, 4, 1), index % 256, np.uint8)
    at = START + timedelta(seconds=index / 10 + pause_s)
    return WindowFrame(Position(session, index, at, *size, 10.0), index if offset is None else offset, image)


def filled(*frames: WindowFrame, length: int = 5, stride: int = 1) -> Window:
    window = Window(ClipFormat(length, stride))
    for each in frames:
        window.push(each)
    return window


def test_warms_until_the_clip_is_full() -> None:
    window = filled(*map(frame, range(4)))
    assert window.clip() is None
    window.push(frame(4))
    clip = window.clip()
    assert clip is not None
    assert clip.shape == (5, 3, 4, 1)
    assert clip[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]


def test_slides_by_one() -> None:
    clip = filled(*map(frame, range(7))).clip()
    assert clip is not None
    assert clip[:, 0, 0, 0].tolist() == [2, 3, 4, 5, 6]


def test_a_gap_starts_over() -> None:
    window = filled(*map(frame, [0, 1, 2, 3, 4, 6]))
    assert [each.position.frame_index for each in window.frames] == [6]


def test_a_new_size_starts_over() -> None:
    window = filled(*map(frame, range(4)), frame(4, size=(8, 6)))
    assert window.clip() is None
    assert len(window.frames) == 1


def test_the_clip_is_a_copy() -> None:
    window = filled(*map(frame, range(5)))
    clip = window.clip()
    assert clip is not None
    clip[:] = 99
    again = window.clip()
    assert again is not None
    assert again.max() == 4


def test_needed_from_is_where_the_next_clip_begins() -> None:
    window = filled(*(frame(index, offset=100 + 7 * index) for index in range(9)))
    assert window.needed_from() == 100 + 7 * 5


def test_an_empty_window_needs_nothing() -> None:
    assert Window(ClipFormat(5)).needed_from() is None
    assert filled(frame(3), length=1).needed_from() is None


def test_a_stride_leaves_frames_out_of_the_clip_but_not_of_the_window() -> None:
    window = filled(*map(frame, range(6)), length=3, stride=3)
    assert window.clip() is None
    window.push(frame(6))
    window.push(frame(7))
    clip = window.clip()
    assert clip is not None
    assert clip[:, 0, 0, 0].tolist() == [1, 4, 7]
    window.push(frame(9))
    assert window.clip() is None


@given(st.lists(st.integers(0, 12), max_size=60), st.integers(2, 4), st.integers(1, 3))
def test_every_clip_is_consecutive_and_replaying_from_needed_gives_it_again(
    indices: list[int], length: int, stride: int
) -> None:
    window = Window(ClipFormat(length, stride))
    log = [frame(index, offset=offset) for offset, index in enumerate(indices)]
    for position, each in enumerate(log):
        needed = window.needed_from()
        window.push(each)
        held = [kept.position.frame_index for kept in window.frames]
        assert held == list(range(held[0], held[0] + len(held)))
        rebuilt = filled(*log[position if needed is None else needed : position + 1], length=length, stride=stride)
        assert [kept.position.frame_index for kept in rebuilt.frames] == held
        clip = window.clip()
        assert (clip is None) == (len(held) < (length - 1) * stride + 1)
        if clip is not None:
            assert np.diff(clip[:, 0, 0, 0].astype(int)).tolist() == [stride] * (length - 1)


@pytest.mark.parametrize(
    "other",
    [
        frame(5, session="s2"),
        frame(5, pause_s=60.0),
        frame(5, pause_s=-60.0),
        frame(6),
        frame(4),
        frame(5, size=(8, 6)),
    ],
)
def test_what_does_not_continue_starts_over(other: WindowFrame) -> None:
    window = filled(*map(frame, range(5)), other)
    assert list(window.frames) == [other]
