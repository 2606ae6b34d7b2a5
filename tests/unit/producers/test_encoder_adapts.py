"""How an encoder gives way to a log that takes less than the picture needs: quality, then worse, then size."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.encoding import EncodingOptions, FrameEncoder, encode_frame
from producers.masking import Mask
from producers.sources import Image
from schemas.errors import BadMessageError, SettingsError
from tests.unit.producers.scripted_source import noisy, plain

SMALL = EncodingOptions(max_bytes=2048)


def size_at(image: Image, quality: int) -> int:
    return len(encode_frame(image, EncodingOptions(quality=quality, min_quality=quality)).jpeg)


def qualities_tried(quality: int, min_quality: int) -> list[int]:
    """By which quality a picture is sent as room shrinks, each once, the best first."""
    image, seen = noisy(64, 64), list[int]()
    for limit in sorted({size_at(image, q) for q in range(min_quality, quality + 1)}, reverse=True):
        options = EncodingOptions(quality=quality, min_quality=min_quality, max_bytes=max(1024, limit))
        try:
            used = encode_frame(image, options).quality
        except BadMessageError:
            continue
        if used not in seen:
            seen.append(used)
    return seen


def test_quality_sinks_in_four_equal_steps_and_each_is_tried_once() -> None:
    assert qualities_tried(90, 40) == [90, 78, 65, 52, 40]
    assert qualities_tried(60, 60) == [60]
    assert qualities_tried(61, 59) == [61, 60, 59]


def test_a_picture_that_just_fits_is_sent_as_it_was_asked_for() -> None:
    image = noisy(64, 64)
    exact = size_at(image, 90)
    assert encode_frame(image, EncodingOptions(max_bytes=exact)).quality == 90
    assert encode_frame(image, EncodingOptions(max_bytes=exact - 1)).quality == 78


@pytest.mark.parametrize(("num_bytes", "limit"), [(100_000, 75_000), (1400, 1050), (1000, 1024), (10, 1024)])
def test_after_a_refusal_frames_get_three_quarters_of_it_and_never_less_than_anything(
    num_bytes: int, limit: int, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = FrameEncoder("gate", EncodingOptions())
    encoder.refuse(num_bytes, "too large for the topic")
    assert f"refuses a frame of {num_bytes} bytes, the next ones get {limit} at most" in caplog.text
    encoded = encoder.encode(plain())
    assert len(encoded.jpeg) <= limit


def test_a_refusal_never_gives_more_room_than_there_was(caplog: pytest.LogCaptureFixture) -> None:
    encoder = FrameEncoder("gate", EncodingOptions(max_bytes=3000))
    encoder.refuse(10_000, "late answers")
    encoder.refuse(4000, "the same room")
    assert caplog.text == ""
    encoder.refuse(3996, "a byte less")
    assert caplog.text.count("get 2997 at most") == 1
    encoder.refuse(3996, "again")
    assert caplog.text.count("refuses") == 1


def test_two_pictures_that_do_not_fit_are_lost_and_the_third_is_made_smaller(caplog: pytest.LogCaptureFixture) -> None:
    encoder, outcomes = FrameEncoder("gate", SMALL), list[object]()
    for seed in range(5):
        try:
            encoded = encoder.encode(noisy(seed=seed))
            outcomes.append((encoded.width, encoded.height))
        except BadMessageError as error:
            outcomes.append(error.reason)
    assert outcomes[:2] == ["too_large", "too_large"]
    size = outcomes[2]
    assert isinstance(size, tuple)
    assert outcomes[3:] == [size, size], "once smaller, it stays so: every change of size costs a window"
    assert size[0] / 320 == pytest.approx(size[1] / 240, rel=0.02)
    assert np.log2((320 / size[0]) ** 2) == pytest.approx(round(np.log2((320 / size[0]) ** 2)), abs=0.1)
    assert caplog.text.count("they are sent as") == 1


def test_one_picture_that_fits_between_forgives_the_misses_before_it() -> None:
    encoder = FrameEncoder("gate", SMALL)
    for image in (noisy(), noisy(), plain(), noisy(), noisy()):
        if image.std() > 10:
            with pytest.raises(BadMessageError, match="at most 2048 bytes"):
                encoder.encode(image)
        else:
            assert encoder.encode(image).width == 64


def test_what_cannot_be_encoded_is_no_miss() -> None:
    encoder, nothing = FrameEncoder("gate", SMALL), np.zeros((0, 0, 3), np.uint8)
    for _ in range(5):
        with pytest.raises(BadMessageError) as caught:
            encoder.encode(nothing)
        assert caught.value.reason == "encode_failed"
    with pytest.raises(BadMessageError) as caught:
        encoder.encode(noisy())
    assert caught.value.reason == "too_large"


def test_full_size_comes_back_after_a_hundred_calm_frames(caplog: pytest.LogCaptureFixture) -> None:
    encoder, calm = FrameEncoder("gate", EncodingOptions(max_bytes=2048, size=(160, 120))), plain(width=160, height=120)
    for seed in range(2):
        with pytest.raises(BadMessageError):
            encoder.encode(noisy(160, 120, seed=seed))
    small = encoder.encode(noisy(160, 120, seed=2)).width
    assert small < 160
    with caplog.at_level(logging.INFO):
        for _ in range(99):
            assert encoder.encode(calm).width == small
        assert "room again" not in caplog.text
        assert encoder.encode(calm).width == small
        assert caplog.text.count("room again") == 1
        assert encoder.encode(calm).width == 160


def test_the_size_asked_for_holds_whatever_comes() -> None:
    encoder = FrameEncoder("gate", EncodingOptions(size=(48, 32)))
    for width, height in ((64, 48), (20, 20), (48, 32), (300, 10)):
        encoded = encoder.encode(plain(width=width, height=height))
        assert (encoded.width, encoded.height) == (48, 32)


@settings(max_examples=30, deadline=None)
@given(st.integers(16, 80), st.integers(16, 80), st.integers(8, 90), st.integers(8, 90))
def test_what_is_hidden_is_black_at_any_size_and_the_picture_itself_is_left_alone(
    width: int, height: int, to_width: int, to_height: int
) -> None:
    """Hidden: the left half. Nothing of it may shine through, at whatever size it is sent."""
    image = plain(255, width, height)
    hidden = Mask.from_polygons([[(0, 0), (0.5, 0), (0.5, 1), (0, 1)]]).hide(image)
    assert image.min() == 255
    assert hidden[:, : width // 2].max() == 0
    assert hidden[:, -(-width // 2) + 1 :].min(initial=255) == 255
    small = EncodingOptions(size=(to_width, to_height), mask=Mask(np.ones((1, 1), bool)))
    dark = encode_frame(image, small)
    assert size_at(np.zeros((to_height, to_width, 3), np.uint8), 90) == len(dark.jpeg)


@pytest.mark.parametrize(
    "fields",
    [
        {"size": (7, 8)},
        {"size": (8, 16385)},
        {"max_bytes": 1023},
        {"quality": 101},
        {"min_quality": 0},
        {"quality": 39},
    ],
)
def test_options_beyond_their_bounds(fields: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        EncodingOptions(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields", [{"size": (8, 16384)}, {"max_bytes": 1024}, {"quality": 100}, {"min_quality": 1}, {"quality": 40}]
)
def test_options_at_their_bounds(fields: dict[str, object]) -> None:
    assert EncodingOptions(**fields)  # type: ignore[arg-type]
