"""Pictures out of streams of bytes, whatever stands between them."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.sources.jpeg_frames import JpegSplitter
from tests.unit.producers.scripted_source import noisy


def jpeg(seed: int, *flags: int) -> bytes:
    return cv2.imencode(".jpg", noisy(64, 48, seed), list(flags))[1].tobytes()


JPEGS = [
    jpeg(1),
    jpeg(2, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    jpeg(3, cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
    jpeg(4, cv2.IMWRITE_JPEG_QUALITY, 100),
]
THUMBNAIL = JPEGS[0][:2] + b"\xff\xe1" + (len(JPEGS[3][:3000]) + 2).to_bytes(2, "big") + JPEGS[3][:3000] + JPEGS[0][2:]


def pictures(data: bytes, step: int, splitter: JpegSplitter | None = None) -> list[bytes]:
    splitter = splitter or JpegSplitter()
    return [one for at in range(0, len(data), step) for one in splitter.feed(data[at : at + step])]


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000, 10**7])
@pytest.mark.parametrize(
    "between", [b"", b"--b\r\nContent-Type: image/jpeg\r\n\r\n", b"\n--b\n\n", b"\xff", b"\xff\xd8"]
)
def test_whatever_stands_between(step: int, between: bytes) -> None:
    wanted = [*JPEGS, THUMBNAIL, *JPEGS]
    data = b"preamble " + b"".join(between + one for one in wanted) + between
    assert pictures(data, step) == wanted


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 3), st.integers(4, 2000), st.integers(1, 5000))
def test_a_picture_that_breaks_off_costs_itself_alone(number: int, cut: int, step: int) -> None:
    whole = JPEGS[number]
    splitter = JpegSplitter()
    got = pictures(
        whole + whole[: min(cut, len(whole) - 2)] + b"\r\n--b\r\n\r\n" + b"".join([whole] * 40), step, splitter
    )
    assert got[0] == whole
    # A length that was cut may swallow what comes in its place, 64 KiB at most.
    assert got.count(whole) >= 41 - 65536 // len(whole) - 2


@settings(deadline=None)
@given(st.lists(st.binary(max_size=400), max_size=30))
def test_no_bytes_break_it(pieces: list[bytes]) -> None:
    splitter = JpegSplitter(max_bytes=2000)
    for piece in pieces:
        for one in splitter.feed(b"\xff\xd8\xff" + piece):
            assert one.startswith(b"\xff\xd8\xff")
        assert len(splitter._held) <= 2000


def test_a_picture_without_end_is_given_up() -> None:
    splitter = JpegSplitter(max_bytes=10_000)
    endless = JPEGS[0][:-2] + bytes(np.random.default_rng(0).integers(0, 255, 50_000).astype(np.uint8))
    assert pictures(endless, 1000, splitter) == []
    assert splitter.num_broken >= 1
    assert pictures(b"\r\n" + JPEGS[1] + JPEGS[2], 1000, splitter)[-1] == JPEGS[2]
