"""Broken, hostile and foreign bytes are refused with a reason before they cost anything."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.decode import DecodeLimits, check_jpeg, decode_frame
from inference.formats import FrameFormat
from schemas.errors import BadMessageError

GREY = FrameFormat(width=48, height=32, channels=1)
COLOUR = FrameFormat(width=48, height=32, channels=3)
LIMITS = DecodeLimits()


def jpeg(width: int = 96, height: int = 64, progressive: bool = False, seed: int = 0) -> bytes:
    image = np.random.default_rng(seed).integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    smooth = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    ok, encoded = cv2.imencode(".jpg", smooth, [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)])
    assert ok
    return encoded.tobytes()


def claiming(width: int, height: int) -> bytes:
    """A small JPEG whose frame header claims another size."""
    data = bytearray(jpeg())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(data)


def reason_of(data: bytes, limits: DecodeLimits = LIMITS) -> str:
    with pytest.raises(BadMessageError) as refused:
        decode_frame(data, GREY, limits)
    return refused.value.reason


@pytest.mark.parametrize("progressive", [False, True])
def test_reads_the_size_without_decoding(progressive: bool) -> None:
    assert check_jpeg(jpeg(120, 88, progressive), LIMITS) == (120, 88)


@pytest.mark.parametrize("target", [GREY, COLOUR])
def test_gives_model_size_and_channels(target: FrameFormat) -> None:
    image = decode_frame(jpeg(), target, LIMITS)
    assert image.shape == (32, 48, target.channels)
    assert image.dtype == np.uint8


def test_resizes_as_opencv_does_on_8_bit_images() -> None:
    data = jpeg()
    full = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert full is not None
    expected = cv2.resize(full, (48, 32), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(decode_frame(data, COLOUR, LIMITS), expected)


def test_refuses_each_kind_of_bad_bytes_by_its_name() -> None:
    assert reason_of(b"") == "empty"
    assert reason_of(b"\x89PNG\r\n\x1a\n" + bytes(100)) == "not_jpeg"
    assert reason_of(jpeg()[:20]) == "truncated"
    assert reason_of(jpeg()[: len(jpeg()) // 2]) == "truncated"
    assert reason_of(jpeg(), DecodeLimits(max_bytes=100)) == "oversized"
    assert reason_of(claiming(30000, 30000)) == "oversized"
    assert reason_of(claiming(0, 64)) == "oversized"


def test_a_claimed_size_within_the_limits_that_the_body_does_not_fill_still_gives_an_image_or_a_refusal() -> None:
    data = claiming(640, 480)
    try:
        assert decode_frame(data, GREY, LIMITS).shape == (32, 48, 1)
    except BadMessageError as error:
        assert error.reason == "undecodable"


@given(st.binary(max_size=400))
def test_arbitrary_bytes_never_raise_anything_else(data: bytes) -> None:
    with pytest.raises(BadMessageError):
        decode_frame(data, GREY, LIMITS)


@given(st.binary(min_size=1, max_size=300))
def test_arbitrary_bytes_after_a_jpeg_start_never_raise_anything_else(data: bytes) -> None:
    with pytest.raises(BadMessageError):
        decode_frame(b"\xff\xd8\xff" + data, GREY, LIMITS)


@given(st.integers(2, 2000), st.integers(0, 255))
def test_a_flipped_byte_gives_an_image_or_a_refusal(position: int, value: int) -> None:
    data = bytearray(jpeg(seed=3))
    data[position % len(data)] = value
    try:
        assert decode_frame(bytes(data), GREY, LIMITS).shape == (32, 48, 1)
    except BadMessageError as error:
        assert error.reason
