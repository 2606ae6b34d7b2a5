"""A rate, size, quality or colour that is not the bundle's is told, once a session, in words."""

from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from inference.fit import GREY_TOLERANCE, NUM_STEPS, QUALITY_TOLERANCE, Rate, image_misfits, misfits, noted
from tests.small_bundle import small_bundle
from tests.unit.workers.arriving import START, header

MANIFEST = small_bundle().manifest  # 10 frames a second, 32 x 24, grey, of unknown quality
AT_90 = MANIFEST.model_copy(update={"jpeg_quality": 90})
COLOUR = MANIFEST.model_copy(update={"channels": 3})


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


@pytest.mark.parametrize(("fps", "fits"), [(12.5, True), (12.7, False), (8.0, True), (7.9, False)])
def test_a_rate_may_differ_by_a_quarter(fps: float, fits: bool) -> None:
    assert (told_of(fps, fps) == []) == fits


@pytest.mark.parametrize(("size", "fits"), [((32, 24), True), ((31, 24), False), ((32, 23), False)])
def test_frames_must_be_as_large_as_the_networks_both_ways(size: tuple[int, int], fits: bool) -> None:
    assert (told_of(10.0, 10.0, size=size) == []) == fits


def test_a_pause_within_the_first_frames_is_not_taken_for_their_rate() -> None:
    rate: Rate | None = None
    for index in range(NUM_STEPS + 1):
        rate = noted(rate, header(index, pause_s=60.0 if index > 5 else 0.0))
    assert rate is not None
    assert misfits(rate, header(NUM_STEPS, size=(64, 48)), MANIFEST) == []


def test_what_was_told_is_measured_no_further() -> None:
    told = Rate("s1", header(0).captured_at, (0.1,) * NUM_STEPS, is_told=True)
    assert noted(told, header(1)) is told
    assert misfits(told, header(1, size=(1, 1)), MANIFEST) is None


def images(depth: int = 3, grey: bool = False) -> NDArray[np.uint8]:
    """A clip of two images of noise."""
    clip_THWC = np.random.default_rng(0).integers(0, 255, (2, 24, 32, depth), dtype=np.uint8)
    return np.repeat(clip_THWC[..., :1], depth, axis=-1) if grey else clip_THWC


def encoded(image: NDArray[np.uint8], quality: int = 90) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def test_a_quality_markedly_below_the_bundles_is_told_with_both() -> None:
    clip_THWC = images(1)
    (text,) = image_misfits(encoded(clip_THWC[-1], 40), clip_THWC, AT_90)
    assert "a JPEG quality of about 40, the bundle was trained at 90" in text
    assert "--jpeg-quality 90" in text


@pytest.mark.parametrize("quality", [90 - QUALITY_TOLERANCE, 90, 100])
def test_about_the_bundles_quality_or_better_is_not_worth_a_word(quality: int) -> None:
    clip_THWC = images(1)
    assert image_misfits(encoded(clip_THWC[-1], quality), clip_THWC, AT_90) == []


def test_a_bundle_that_does_not_know_its_quality_says_nothing() -> None:
    clip_THWC = images(1)
    assert image_misfits(encoded(clip_THWC[-1], 5), clip_THWC, MANIFEST) == []


def test_grey_frames_are_told_where_the_bundle_has_colour() -> None:
    grey = images(1)
    (text,) = image_misfits(encoded(grey[-1]), None, COLOUR)
    assert "frames are grey, the bundle was trained on colour" in text
    assert image_misfits(encoded(grey[-1]), grey, MANIFEST) == []


def test_colour_images_without_colour_are_grey_too() -> None:
    colourless = images(grey=True)
    noisy = colourless.copy()
    noisy[..., 0] -= np.minimum(noisy[..., 0], GREY_TOLERANCE)
    for clip_THWC in (colourless, noisy):
        assert len(image_misfits(encoded(clip_THWC[-1]), clip_THWC, COLOUR)) == 1
        assert image_misfits(encoded(clip_THWC[-1]), None, COLOUR) == []


def test_one_colour_in_the_clip_is_enough() -> None:
    clip_THWC = images(grey=True)
    clip_THWC[0, 3, 4] = (0, 0, 200)
    assert image_misfits(encoded(clip_THWC[-1]), clip_THWC, COLOUR) == []
    assert image_misfits(encoded(images()[-1]), images(), COLOUR) == []
