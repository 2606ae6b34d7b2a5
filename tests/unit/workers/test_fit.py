"""A rate or a size that is not the bundle's is told, once a session, in words."""

from collections.abc import Sequence

import pytest

from tests.small_bundle import small_bundle
from tests.unit.workers.arriving import START, header
from workers.fit import NUM_STEPS, Rate, misfits, noted

MANIFEST = small_bundle().manifest  # 10 frames a second, 32 x 24


def told_of(real_fps: float, declared_fps: float, size: tuple[int, int] = (64, 48), frames: int = 50) -> Sequence[str]:
    rate: Rate | None = None
    for index in range(frames):
        at = header(0).captured_at + (header(10).captured_at - START) * index / real_fps
        each = header(index, size=size).model_copy(update={"captured_at": at, "fps": declared_fps})
        rate = noted(rate, each)
        found = misfits(rate, each, MANIFEST)
        if found is not None:
            assert index == NUM_STEPS
            return found
    pytest.fail(f"{frames} frames must be enough")


def test_what_fits_is_not_worth_a_word() -> None:
    assert told_of(10.0, 10.0) == []
    assert told_of(9.0, 10.0) == []


@pytest.mark.parametrize("fps", [1.0, 2.0, 5.0, 25.0])
def test_another_rate_is_told_with_what_to_do(fps: float) -> None:
    (text,) = told_of(fps, fps)
    assert f"{fps:.3g} frames a second come, the bundle was trained on 10" in text
    assert "--fps 10" in text


def test_a_rate_that_is_only_declared_is_told_too() -> None:
    (text,) = told_of(2.0, 10.0)
    assert "2 frames a second come, declared are 10" in text


def test_frames_smaller_than_the_networks_are_told() -> None:
    (text,) = told_of(10.0, 10.0, size=(16, 12))
    assert "16 x 12 pixels, the bundle takes 32 x 24" in text


def test_a_new_session_is_looked_at_anew() -> None:
    rate = noted(noted(None, header(0)), header(1))
    assert len(rate.steps_s) == 1
    assert noted(rate, header(0, session="s2")).steps_s == ()
