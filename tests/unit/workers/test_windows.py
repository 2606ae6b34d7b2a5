"""A clip is only ever made of consecutive frames of one size."""

from datetime import datetime, timedelta, timezone

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from workers.windows import Window, WindowFrame

START = datetime(2026, 1, 5, tzinfo=timezone.utc)


def frame(index: int, offset: int | None = None, size: tuple[int, int] = (4, 3)) -> WindowFrame:
    image = np.full((3, 4, 1), index % 256, np.uint8)
    at = START + timedelta(seconds=index / 10)
    return WindowFrame(index, at, size, index if offset is None else offset, image)


def filled(*frames: WindowFrame, clip_length: int = 5) -> Window:
    window = Window(clip_length)
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
    assert [each.frame_index for each in window.frames] == [6]


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
    assert Window(5).needed_from() is None
    assert filled(frame(3), clip_length=1).needed_from() is None


@given(st.lists(st.integers(0, 12), max_size=60), st.integers(2, 6))
def test_every_clip_is_consecutive_and_replaying_from_needed_gives_it_again(indices: list[int], length: int) -> None:
    window = Window(length)
    log = [frame(index, offset=offset) for offset, index in enumerate(indices)]
    for position, each in enumerate(log):
        needed = window.needed_from()
        window.push(each)
        held = [kept.frame_index for kept in window.frames]
        assert held == list(range(held[0], held[0] + len(held)))
        rebuilt = filled(*log[position if needed is None else needed : position + 1], clip_length=length)
        assert [kept.frame_index for kept in rebuilt.frames] == held
