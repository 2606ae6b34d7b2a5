"""What is read off a JPEG's header is what it was encoded with, and nonsense is never more than refused."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.jpeg import Encoding, encoding_of
from schemas.errors import BadMessageError

COLOURS = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)


def jpeg(quality: int = 90, grey: bool = False, progressive: bool = False) -> bytes:
    image = COLOURS[..., 0] if grey else COLOURS
    wanted = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]
    ok, encoded = cv2.imencode(".jpg", image, wanted)
    assert ok
    return encoded.tobytes()


WHOLE = jpeg()


def with_table(segment: bytes, number_of_first: int = 0) -> bytes:
    """A colour JPEG's start whose tables are this segment's; what follows the frame header is not looked at."""
    frame = bytes([8, 0, 48, 0, 64, 3, 1, 0x11, number_of_first, 2, 0x11, 1, 3, 0x11, 1])
    tables = b"\xff\xdb" + (2 + len(segment)).to_bytes(2, "big") + segment
    return b"\xff\xd8" + tables + b"\xff\xc0" + (2 + len(frame)).to_bytes(2, "big") + frame


@pytest.mark.parametrize("grey", [False, True])
def test_quality_and_components_are_those_it_was_encoded_with(grey: bool) -> None:
    for quality in range(1, 101):
        assert encoding_of(jpeg(quality, grey)) == Encoding(1 if grey else 3, quality)


def test_a_progressive_one_tells_the_same() -> None:
    assert encoding_of(jpeg(60, progressive=True)) == Encoding(3, 60)


def test_the_table_of_the_brightness_counts_whatever_its_number_and_width() -> None:
    coarse, fine = bytes([255] * 64), bytes([1] * 64)
    assert encoding_of(with_table(b"\x00" + coarse + b"\x01" + fine)).quality == 1
    assert encoding_of(with_table(b"\x00" + coarse + b"\x01" + fine, number_of_first=1)).quality == 100
    wide = b"".join(value.to_bytes(2, "big") for value in [1] * 64)
    assert encoding_of(with_table(b"\x10" + wide)).quality == 100


def test_tables_of_another_encoder_are_placed_on_the_same_scale() -> None:
    flat = bytes([20] * 64)
    quality = encoding_of(with_table(b"\x00" + flat)).quality
    assert quality is not None
    assert 80 <= quality <= 85  # libjpeg's mean at 83


@pytest.mark.parametrize("segment", [b"", b"\x00", b"\x00" + bytes(63), b"\x05" + bytes([9] * 64)])
def test_a_table_that_is_missing_or_cut_off_tells_nothing(segment: bytes) -> None:
    assert encoding_of(with_table(segment)) == Encoding(3, None)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(2, 700), st.integers(0, 255)), max_size=20), st.integers(0, len(WHOLE)))
def test_whatever_stands_in_a_header_gives_an_encoding_or_is_refused(changes: list[tuple[int, int]], kept: int) -> None:
    changed = bytearray(WHOLE)
    for place, value in changes:
        changed[place] = value
    try:
        found = encoding_of(bytes(changed[:kept]))
    except BadMessageError as error:
        assert error.reason == "truncated"
    else:
        assert found.quality is None or 1 <= found.quality <= 100
