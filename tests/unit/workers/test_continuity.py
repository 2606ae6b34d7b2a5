"""One rule for what continues what."""

from dataclasses import replace
from datetime import timedelta

import pytest

from inference.sampling import LEAST_PAUSE_S, longest_step
from tests.unit.workers.arriving import header
from workers.continuity import Position, follows, position_of

LAST = position_of(header(7))
NEXT = position_of(header(8))


def test_the_next_frame_continues() -> None:
    assert follows(LAST, NEXT)
    assert follows(LAST, replace(NEXT, captured_at=LAST.captured_at)), "two frames of one burst"


@pytest.mark.parametrize(
    "other",
    [
        replace(NEXT, session_id="s2"),
        replace(NEXT, frame_index=9),
        replace(NEXT, frame_index=7),
        replace(NEXT, width=8),
        replace(NEXT, height=8),
        replace(NEXT, captured_at=LAST.captured_at + timedelta(seconds=60)),
        replace(NEXT, captured_at=LAST.captured_at - timedelta(milliseconds=1)),
    ],
    ids=["session", "gap", "repeat", "width", "height", "pause", "clock set back"],
)
def test_whatever_breaks_breaks(other: Position) -> None:
    assert not follows(LAST, other)


@pytest.mark.parametrize(("fps", "seconds"), [(1.0, 3.0), (5.0, 0.6), (30.0, LEAST_PAUSE_S)])
def test_what_a_pause_is_depends_on_the_rate(fps: float, seconds: float) -> None:
    assert longest_step(fps) == timedelta(seconds=seconds)
    at = LAST.captured_at + timedelta(seconds=seconds)
    assert follows(LAST, replace(NEXT, fps=fps, captured_at=at))
    assert not follows(LAST, replace(NEXT, fps=fps, captured_at=at + timedelta(milliseconds=1)))
